package fused

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/salver-ml/salver/internal/shape"
)

// headLayout says what the dimensions of an operand of attention are. Its text
// lists them, separated by spaces: each is an axis, or a product of axes in
// parentheses, "1" for none. The axes are
//
//	b    the batch
//	h    heads of keys and values
//	g    heads of queries that share one of keys and values
//	s    the sequence
//	d    elements of a head
//	i/n  item i of n that lie side by side
//
// So "b s (h d)" is [batch, sequence, heads·size], and "b s (1/3 h d)" the
// middle third of a joint product of queries, keys and values. An operand
// without an axis is the same all along it.
type headLayout [][]headAxis

// headAxis is an axis by its letter, or a fixed index out of n where that is 0.
type headAxis struct {
	name     byte
	index, n int
}

// parseLayout reads a layout. Every plan reads those of all its attentions, so it allocates
// the dimensions and the axes only.
func parseLayout(text string) (headLayout, error) {
	l, all := make(headLayout, 0, mostDims), make([]headAxis, 0, mostDims)
	open := false
	for word := range strings.FieldsSeq(text) {
		rest, opens := strings.CutPrefix(word, "(")
		rest, closes := strings.CutSuffix(rest, ")")
		if opens && open || closes && !opens && !open {
			return nil, fmt.Errorf("layout %q: unbalanced parentheses", text)
		}
		if !open {
			l = append(l, nil)
		}
		open = (open || opens) && !closes
		if rest == "1" {
			continue
		}
		a, ok := parseAxis(rest)
		if !ok || a.n == 0 && l.has(a.name) {
			return nil, fmt.Errorf("layout %q: %q is no axis, or there twice", text, rest)
		}
		all = append(all, a)
		last := len(l) - 1
		l[last] = all[len(all)-1-len(l[last]) : len(all) : len(all)]
	}
	if open || len(l) == 0 {
		return nil, fmt.Errorf("layout %q is not complete", text)
	}
	return l, nil
}

// mostDims is how many dimensions and axes a layout rarely has more of.
const mostDims = 5

func parseAxis(s string) (a headAxis, ok bool) {
	if len(s) == 1 && strings.Contains("bhgsd", s) {
		return headAxis{name: s[0]}, true
	}
	before, after, ok := strings.Cut(s, "/")
	i, err1 := strconv.Atoi(before)
	n, err2 := strconv.Atoi(after)
	if !ok || err1 != nil || err2 != nil || i < 0 || i >= n {
		return headAxis{}, false
	}
	return headAxis{index: i, n: n}, true
}

// alone gives the dimension that is the given axis and nothing else, or -1.
func (l headLayout) alone(name byte) int {
	for i, d := range l {
		if len(d) == 1 && d[0].name == name {
			return i
		}
	}
	return -1
}

func (l headLayout) has(name byte) bool {
	for _, d := range l {
		for _, a := range d {
			if a.name == name {
				return true
			}
		}
	}
	return false
}

// axes maps axes to their sizes. Absent ones are of size 1.
type axes map[byte]shape.Dim

// of gives the size of an axis.
func (a axes) of(name byte) shape.Dim {
	if d, ok := a[name]; ok {
		return d
	}
	return shape.Const(1)
}

// sizes reads the sizes of b, s and d off a shape; those of h and g are known.
func (l headLayout) sizes(s shape.Shape, known axes) (axes, error) {
	if len(s) != len(l) {
		return nil, fmt.Errorf("shape %v has %d dimensions, expected %d", s, len(s), len(l))
	}
	out := axes{'h': known.of('h'), 'g': known.of('g')}
	for i, dim := range l {
		rest, free := shape.Const(1), byte(0)
		for _, a := range dim {
			switch {
			case a.n > 0:
				rest = rest.Mul(shape.Const(a.n))
			case a.name == 'h' || a.name == 'g':
				rest = rest.Mul(known.of(a.name))
			case free != 0:
				return nil, fmt.Errorf("dimension %d is made of two unknown axes, %c and %c", i, free, a.name)
			default:
				free = a.name
			}
		}
		n, fixed := s[i].Int()
		r, known := rest.Int()
		if fixed && known && (free == 0 && n != r || free != 0 && (r == 0 || n%r != 0)) {
			return nil, fmt.Errorf("dimension %d of shape %v is %d, expected a multiple of %d", i, s, n, r)
		}
		if free != 0 {
			out[free] = s[i].Div(rest)
		}
	}
	return out, nil
}

// headStrides is where the elements of an operand are: element (b, h, g, s, d)
// lies at the offset plus each index times its stride.
type headStrides struct {
	offset int
	by     map[byte]int // 0 for absent axes
}

// strides needs constant sizes.
func (l headLayout) strides(sizes axes) headStrides {
	out := headStrides{by: map[byte]int{}}
	step := 1
	for i := len(l) - 1; i >= 0; i-- {
		for j := len(l[i]) - 1; j >= 0; j-- {
			a := l[i][j]
			if a.n > 0 {
				out.offset += a.index * step
				step *= a.n
				continue
			}
			n, _ := sizes.of(a.name).Int()
			if n > 1 {
				out.by[a.name] = step
			}
			step *= n
		}
	}
	return out
}

// shape is that of a tensor with the layout.
func (l headLayout) shape(sizes axes) shape.Shape {
	s := make(shape.Shape, len(l))
	for i, dim := range l {
		s[i] = shape.Const(1)
		for _, a := range dim {
			if a.n > 0 {
				s[i] = s[i].Mul(shape.Const(a.n))
			} else {
				s[i] = s[i].Mul(sizes.of(a.name))
			}
		}
	}
	return s
}
