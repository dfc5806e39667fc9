package op

import (
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/shape"
)

// TieSizes gives a copy of g in which symbols are the sums that they have to be where tensors
// are broadcast; nil if there are none. An exported decoder has a mask of "total" columns,
// which it adds to scores of "past" and "seq": unless one of the two is 1, total is
// past+seq, and only a graph that says so can be optimized well. Who runs the copy has to
// compare the inputs' sizes with those sums, and needs g for others.
//
// Only sums of several sizes are tied: of two plain names that meet, such as two lengths,
// either may well be 1, and so may the size that is another and a constant.
func TieSizes(g *ir.Graph) (tied *ir.Graph) {
	for range mostTies {
		name, sum, ok := findTie(g)
		if !ok {
			break
		}
		g = g.Clone()
		for _, v := range g.Inputs {
			v.Type.Shape = slices.Clone(v.Type.Shape)
			for i, d := range v.Type.Shape {
				if s, ok := d.Symbol(); ok && s == name {
					v.Type.Shape[i] = sum
				}
			}
		}
		if InferTypes(g) != nil {
			break // other parts of the graph contradict it
		}
		tied = g
	}
	return tied
}

// mostTies bounds how many symbols are tied, as types are inferred again for each.
const mostTies = 4

// broadcasting are the operators between whose inputs sizes are compared.
var broadcasting = map[string]bool{"Add": true, "Sub": true, "Mul": true, "Div": true, "Where": true, "And": true, "Or": true,
	"Equal": true, "Less": true, "Greater": true, "LessOrEqual": true, "GreaterOrEqual": true}

// findTie finds two dimensions that are broadcast and can be equal if a symbol of the inputs
// is a sum of others. First dimensions have no part in that: they count rows.
func findTie(g *ir.Graph) (name string, sum shape.Dim, ok bool) {
	free, rows, summed := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, v := range g.Inputs {
		for i, d := range v.Type.Shape {
			if s, ok := d.Symbol(); ok {
				free[s] = true
				rows[s] = rows[s] || i == 0
			} else if names, ok := d.Sum(); ok {
				for _, s := range names {
					summed[s] = true
				}
			}
		}
	}
	if len(free) < 2 {
		return "", shape.Dim{}, false
	}
	fits := func(x, y shape.Dim) bool {
		if name, sum, ok = shape.SolveSum(x, y); !ok {
			return false
		}
		names, _ := sum.Sum()
		ok = !summed[name] && !slices.ContainsFunc(append(names, name), func(s string) bool { return !free[s] || rows[s] })
		return ok
	}
	for _, n := range g.Nodes {
		if n.Domain != "" || !broadcasting[n.Op] {
			continue
		}
		for i, a := range n.In {
			for _, b := range n.In[:i] {
				if a == nil || b == nil {
					continue
				}
				s, t := a.Type.Shape, b.Type.Shape
				for k := 1; k <= min(len(s), len(t)); k++ {
					if fits(s[len(s)-k], t[len(t)-k]) {
						return name, sum, true
					}
				}
			}
		}
	}
	return "", shape.Dim{}, false
}
