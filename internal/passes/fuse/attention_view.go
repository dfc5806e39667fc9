package fuse

import (
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/passes/match"
	"github.com/salver-ml/salver/internal/shape"
)

// atom is a factor of a dimension. Reshapes, transpositions and slices only
// cut, permute and drop atoms, so that a value that is made from a base by them
// can be read from the base itself.
type atom struct {
	size  shape.Dim
	role  byte // of attention's axes; 0 if none yet
	fixed bool // only the item at index is read
	index int
	added bool // repeats the base, which has no such factor
}

// view is a value made from a base by moving its elements about: each
// dimension, of the base and of the value, is a product of atoms. Dimensions of
// size 1 have none.
type view struct {
	base, dims [][]*atom
}

func newView(s shape.Shape) *view {
	v := &view{base: make([][]*atom, len(s)), dims: make([][]*atom, len(s))}
	for i, d := range s {
		if !d.Is(1) {
			a := &atom{size: d}
			v.base[i], v.dims[i] = []*atom{a}, []*atom{a}
		}
	}
	return v
}

// isView reports whether n only moves the elements of input 0 about.
func isView(n *ir.Node) bool {
	if n == nil || n.Domain != "" {
		return false
	}
	switch n.Op {
	case "Reshape", "Unsqueeze", "Squeeze", "Flatten", "Transpose", "Gather", "Slice", "Split", "Expand":
		return n.In[0] != nil && n.In[0].Type.Shape != nil
	}
	return false
}

// follow applies the node that makes out from the value that v describes.
func (v *view) follow(n *ir.Node, out *ir.Value) bool {
	to := out.Type.Shape
	if to == nil {
		return false
	}
	switch n.Op {
	case "Transpose":
		return v.transpose(n.Ints("perm"))
	case "Gather":
		return v.gather(n)
	case "Slice":
		return v.slice(n)
	case "Split":
		return v.split(n, out)
	case "Expand":
		return v.expand(to)
	}
	return v.reshape(to)
}

func (v *view) transpose(perm []int) bool {
	old := slices.Clone(v.dims)
	if perm == nil {
		slices.Reverse(v.dims)
		return true
	}
	for i, p := range perm {
		v.dims[i] = old[p]
	}
	return true
}

// reshape regroups the atoms, cutting those that span two dimensions.
func (v *view) reshape(to shape.Shape) bool {
	flat := slices.Concat(v.dims...)
	dims := make([][]*atom, len(to))
	for i, rest := range to {
		for !rest.Is(1) {
			if len(flat) == 0 {
				return false
			}
			a := flat[0]
			if q, ok := quotient(rest, a.size); ok {
				rest, flat = q, flat[1:]
			} else if _, ok := quotient(a.size, rest); ok {
				var tail *atom
				a, tail = v.cut(a, rest)
				flat[0], rest = tail, shape.Const(1)
			} else {
				return false
			}
			dims[i] = append(dims[i], a)
		}
	}
	v.dims = dims
	return len(flat) == 0
}

// quotient is a/b if that is exact for all values of the symbols.
func quotient(a, b shape.Dim) (shape.Dim, bool) {
	if n, ok := b.Int(); ok && n < 1 {
		return shape.Dim{}, false
	}
	q := a.Div(b)
	return q, q.Mul(b).Equal(a) && !q.Is(0)
}

// cut splits an atom in two, the first of the given size.
func (v *view) cut(a *atom, size shape.Dim) (head, tail *atom) {
	q, _ := quotient(a.size, size)
	head, tail = &atom{size: size, added: a.added}, &atom{size: q, added: a.added}
	for _, dims := range [][][]*atom{v.base, v.dims} {
		for i, d := range dims {
			if j := slices.Index(d, a); j >= 0 {
				dims[i] = slices.Replace(slices.Clone(d), j, j+1, head, tail)
			}
		}
	}
	return head, tail
}

// gather takes one index of an axis.
func (v *view) gather(n *ir.Node) bool {
	at := n.Input(1)
	axis, ok := axisOf(n, len(v.dims))
	if !ok || !at.IsConst() || at.Const.Len() != 1 || len(at.Const.Shape) > 1 {
		return false
	}
	index, err := at.Const.Ints()
	if err != nil || !v.narrow(axis, index[0], 1) {
		return false
	}
	if len(at.Const.Shape) == 0 {
		v.dims = slices.Delete(slices.Clone(v.dims), axis, axis+1)
	}
	return true
}

func axisOf(n *ir.Node, rank int) (int, bool) {
	axis := n.Int("axis")
	if axis < 0 {
		axis += rank
	}
	return axis, axis >= 0 && axis < rank
}

// narrow keeps n items of an axis from start on, if they are a whole part of it.
func (v *view) narrow(axis, start, n int) bool {
	d := v.dims[axis]
	if len(d) == 0 {
		return start == 0 && n == 1 || start == -1 && n == 1
	}
	size, ok := d[0].size.Int()
	if len(d) != 1 || !ok {
		return false
	}
	if start < 0 {
		start += size
	}
	if start == 0 && n == size {
		return true
	}
	if n < 1 || start < 0 || start+n > size || size%n != 0 || start%n != 0 {
		return false
	}
	part := d[0]
	var rest []*atom
	if n > 1 {
		var tail *atom
		part, tail = v.cut(part, shape.Const(size/n))
		rest = []*atom{tail}
	}
	part.fixed, part.index = true, start/n
	v.dims[axis] = rest
	return true
}

// every keeps each step-th item of an axis from start on.
func (v *view) every(axis, start, step, end int) bool {
	d := v.dims[axis]
	if len(d) != 1 || step < 2 || start < 0 || start >= step {
		return false
	}
	size, ok := d[0].size.Int()
	if !ok || size%step != 0 || end <= size-step+start {
		return false
	}
	head, tail := v.cut(d[0], shape.Const(size/step))
	tail.fixed, tail.index = true, start
	v.dims[axis] = []*atom{head}
	return true
}

// slice follows a Slice with constant bounds.
func (v *view) slice(n *ir.Node) bool {
	if n.Opset < 10 {
		return false
	}
	var ints [5][]int
	for i := 1; i < len(n.In); i++ {
		if n.In[i] == nil {
			continue
		}
		if !n.In[i].IsConst() {
			return false
		}
		ints[i], _ = n.In[i].Const.Ints()
	}
	for i, start := range ints[1] {
		axis := i
		if ints[3] != nil {
			axis = ints[3][i]
		}
		if axis < 0 {
			axis += len(v.dims)
		}
		size, ok := shape.Shape{n.In[0].Type.Shape[axis]}.Ints()
		if !ok {
			return false
		}
		lo, hi := bound(start, size[0]), bound(ints[2][i], size[0])
		if ints[4] != nil && ints[4][i] != 1 {
			if !v.every(axis, lo, ints[4][i], hi) {
				return false
			}
			continue
		}
		if !v.narrow(axis, lo, hi-lo) {
			return false
		}
	}
	return true
}

// bound resolves a Slice's bound.
func bound(i, size int) int {
	if i < 0 {
		i += size
	}
	return min(max(i, 0), size)
}

// split takes the part of an axis that is one of Split's outputs.
func (v *view) split(n *ir.Node, out *ir.Value) bool {
	axis, ok := axisOf(n, len(v.dims))
	if !ok {
		return false
	}
	start := 0
	for _, o := range n.Out {
		if o == nil || len(o.Type.Shape) != len(v.dims) {
			return false
		}
		size, ok := o.Type.Shape[axis].Int()
		if !ok {
			return false
		}
		if o == out {
			return v.narrow(axis, start, size)
		}
		start += size
	}
	return false
}

// expand repeats dimensions of size 1.
func (v *view) expand(to shape.Shape) bool {
	lead := len(to) - len(v.dims)
	dims := make([][]*atom, len(to))
	for i, d := range to {
		var from []*atom
		if i >= lead {
			from = v.dims[i-lead]
		}
		switch {
		case len(from) == 0 && !d.Is(1):
			from = []*atom{{size: d, added: true}}
		case !sizeOf(from).Equal(d):
			return false
		}
		dims[i] = from
	}
	v.dims = dims
	return true
}

func sizeOf(d []*atom) shape.Dim {
	n := shape.Const(1)
	for _, a := range d {
		n = n.Mul(a.size)
	}
	return n
}

// source is a value from which another one is read.
type source struct {
	value *ir.Value
	scale float32 // by which the elements are multiplied on the way
	view  *view
}

// sources lists the values from which v can be read, the farthest first; the
// last is v itself. With scaled, constant factors on the way are taken out.
func sources(v *ir.Value, scaled bool) []source {
	var chain []*ir.Value // from v to the farthest
	for at := v; ; {
		chain = append(chain, at)
		n := at.Producer
		if isView(n) {
			at = n.In[0]
			continue
		}
		if x, _, ok := factor(n); scaled && ok {
			at = x
			continue
		}
		break
	}
	var out []source
	for i := len(chain) - 1; i >= 0; i-- {
		if s, ok := traced(chain[:i+1]); ok {
			out = append(out, s)
		}
	}
	return out
}

// traced follows a chain of values, the last of which is the base.
func traced(chain []*ir.Value) (source, bool) {
	base := chain[len(chain)-1]
	if base.Type.Shape == nil {
		return source{}, false
	}
	s := source{value: base, scale: 1, view: newView(base.Type.Shape)}
	for i := len(chain) - 2; i >= 0; i-- {
		n := chain[i].Producer
		if _, f, ok := factor(n); ok {
			s.scale *= f
			continue
		}
		if !s.view.follow(n, chain[i]) {
			return source{}, false
		}
	}
	return s, true
}

// factor reads a multiplication by a constant that changes no shape.
func factor(n *ir.Node) (x *ir.Value, f float32, ok bool) {
	if !n.Is("Mul") && !n.Is("Div") {
		return nil, 0, false
	}
	x, f, ok = match.NumberOperand(n)
	if !ok || n.Is("Div") && (x != n.In[0] || f == 0) || !x.Type.Shape.Equal(n.Out[0].Type.Shape) {
		return nil, 0, false
	}
	if n.Is("Div") {
		f = 1 / f
	}
	return x, f, true
}
