package shape

import "slices"

// Symbol gives the name of a dimension that is a symbol alone.
func (d Dim) Symbol() (name string, ok bool) {
	names, c, ok := d.Sum()
	if !ok || c != 0 || len(names) != 1 {
		return "", false
	}
	return names[0], true
}

// Sum gives the symbols that a sum adds up, each as often as it does, and the constant;
// false for what is no sum of symbols and a constant of at least 0.
func (d Dim) Sum() (names []string, c int, ok bool) {
	if d.c < 0 {
		return nil, 0, false
	}
	for _, t := range d.terms {
		if t.coef < 0 || t.coef > mostTimes || len(t.factors) != 1 {
			return nil, 0, false
		}
		names = append(names, slices.Repeat(t.factors, t.coef)...)
	}
	return names, d.c, true
}

// mostTimes bounds how often a symbol may occur in what Sum takes for a sum.
const mostTimes = 16

// SolveSum gives a symbol that has to be a sum of several others, or of one and a
// constant, for x and y to be equal, with that sum.
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
		names, c, isSum := others.Sum()
		if isSum && len(names) > 0 && (len(names) > 1 || c > 0) && !slices.Contains(names, t.factors[0]) {
			return t.factors[0], others, true
		}
	}
	return "", Dim{}, false
}
