package shape

import "slices"

// Symbol gives the name of a dimension that is a symbol alone.
func (d Dim) Symbol() (name string, ok bool) {
	names, ok := d.Sum()
	if !ok || len(names) != 1 {
		return "", false
	}
	return names[0], true
}

// Sum gives the symbols that a sum adds up, each as often as it does; false for what is
// no sum of symbols alone.
func (d Dim) Sum() (names []string, ok bool) {
	if d.c != 0 {
		return nil, false
	}
	for _, t := range d.terms {
		if t.coef < 0 || t.coef > mostTimes || len(t.factors) != 1 {
			return nil, false
		}
		names = append(names, slices.Repeat(t.factors, t.coef)...)
	}
	return names, true
}

// mostTimes bounds how often a symbol may occur in what Sum takes for a sum.
const mostTimes = 16

// SolveSum gives a symbol that has to be the sum of several others for x and y to be
// equal, with that sum.
func SolveSum(x, y Dim) (name string, sum Dim, ok bool) {
	rest := x.Sub(y)
	for i, t := range rest.terms {
		if t.coef != 1 && t.coef != -1 || len(t.factors) != 1 {
			continue
		}
		others := Dim{c: rest.c, terms: slices.Delete(slices.Clone(rest.terms), i, i+1)}
		if t.coef == 1 {
			others = others.Neg()
		}
		names, isSum := others.Sum()
		if isSum && len(names) > 1 && !slices.Contains(names, t.factors[0]) {
			return t.factors[0], others, true
		}
	}
	return "", Dim{}, false
}
