package fuse

import (
	"fmt"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/shape"
)

// equation is an Einsum's, with letters for the dimensions of an ellipsis.
type equation struct {
	in     []string
	out    string
	sizes  map[byte]shape.Dim
	differ string // indices of two unknown sizes, which may be equal, or one of them 1
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// mostOperands bounds the pairs that are compared.
const mostOperands = 16

// readEquation resolves the ellipsis and a result that is not written, or says what is in the way.
func readEquation(n *ir.Node) (e *equation, why string) {
	text := strings.ReplaceAll(n.Str("equation"), " ", "")
	left, out, explicit := strings.Cut(text, "->")
	e = &equation{in: strings.Split(left, ","), sizes: map[byte]shape.Dim{}}
	if len(e.in) != len(n.In) {
		return nil, fmt.Sprintf("the equation %q has %d operands, the node %d", text, len(e.in), len(n.In))
	}
	if len(e.in) > mostOperands {
		return nil, fmt.Sprintf("it has %d operands, more than %d", len(e.in), mostOperands)
	}
	free := strings.Map(func(r rune) rune {
		if strings.ContainsRune(text, r) {
			return -1
		}
		return r
	}, letters)
	most := 0
	for k, indices := range e.in {
		s := n.In[k].Type.Shape
		dots := len(s) - len(strings.Replace(indices, "...", "", 1))
		if s == nil || dots < 0 || dots > len(free) || dots > 0 && !strings.Contains(indices, "...") {
			return nil, fmt.Sprintf("operand %d has shape %v, its indices are %q", k, s, indices)
		}
		most = max(most, dots)
		e.in[k] = strings.Replace(indices, "...", free[len(free)-dots:], 1)
		if why := e.note(e.in[k], s); why != "" {
			return nil, why
		}
	}
	dots := free[len(free)-most:]
	if e.out = strings.Replace(out, "...", dots, 1); !explicit {
		e.out = e.implicit(dots)
	}
	for _, index := range dots {
		if !strings.ContainsRune(e.out, index) {
			return nil, fmt.Sprintf("the equation %q sums the dimensions of an ellipsis", text)
		}
	}
	return e, ""
}

// note takes the sizes of an operand.
func (e *equation) note(indices string, s shape.Shape) (why string) {
	for i := range len(indices) {
		x := indices[i]
		if strings.Count(indices, string(x)) > 1 {
			return fmt.Sprintf("%q repeats an index", indices)
		}
		if d, seen := e.sizes[x]; seen && !d.Equal(s[i]) {
			if !open(d) || !open(s[i]) || len(e.in) > 2 {
				return fmt.Sprintf("an index of %q has sizes %s and %s", indices, d, s[i])
			}
			e.differ += string(x)
		}
		e.sizes[x] = s[i]
	}
	return ""
}

// open reports whether a size is not known.
func open(d shape.Dim) bool {
	_, known := d.Int()
	return !known
}

// implicit is the result of an equation that does not write it: the ellipsis, then, sorted, the
// letters that occur once.
func (e *equation) implicit(dots string) string {
	all := []byte(strings.Join(e.in, ""))
	slices.Sort(all)
	out := []byte(dots)
	for _, x := range all {
		if strings.IndexByte(dots, x) < 0 && strings.Count(string(all), string(x)) == 1 {
			out = append(out, x)
		}
	}
	return string(out)
}

// smallest gives the two operands whose product has the fewest indices and, of equally many, the
// fewest elements, as far as sizes are known; and the product's indices: those that are read later.
func (e *equation) smallest() (first, second int, indices string) {
	elements := 0
	for i := range e.in {
		for j := range i {
			later := e.out
			for k, t := range e.in {
				if k != i && k != j {
					later += t
				}
			}
			product, size := "", 1
			for _, x := range []byte(e.in[j] + e.in[i]) {
				if strings.IndexByte(product, x) >= 0 || strings.IndexByte(later, x) < 0 {
					continue
				}
				product += string(x)
				if n, ok := e.sizes[x].Int(); ok && size < 1<<40 {
					size *= n
				}
			}
			if first == second || len(product) < len(indices) || len(product) == len(indices) && size < elements {
				first, second, indices, elements = j, i, product, size
			}
		}
	}
	return first, second, indices
}
