package recover

import (
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/passes/match"
	"github.com/salver-ml/salver/internal/tensor"
)

// edit divides a constant along an axis.
type edit struct {
	n     *ir.Node
	input int
	axis  int // of the constant; -1: it has one element, which becomes as many as there are channels
}

// scaling is the way to divide the channels of a value by positive factors through
// what computes it.
type scaling struct {
	last     bool // channels are the last axis, not the second
	channels int
	edits    []edit
	source   *layer // what the way ends at, if that is a layer and homogeneous is all between
}

// findScaling looks for constants that scale v's channels; nil if there are none. The
// readers of v itself are the caller's business.
func findScaling(v *ir.Value, last bool, channels int) *scaling {
	s := &scaling{last: last, channels: channels}
	if v.IsOutput() || !s.visit(v) {
		return nil
	}
	return s
}

// homogeneous are operators whose result scales with their first input, channel by channel.
var homogeneous = []string{"Relu", "LeakyRelu", "PRelu", "Identity", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"}

// through visits what only the node that is being looked at reads.
func (s *scaling) through(v *ir.Value) bool { return v != nil && match.Private(v) && s.visit(v) }

func (s *scaling) visit(v *ir.Value) bool {
	n := v.Producer
	if n == nil || n.Domain != "" || n.Out[0] != v {
		return false
	}
	if l := asLayer(n); l != nil {
		return s.visitLayer(l)
	}
	switch {
	case slices.Contains(homogeneous, n.Op):
		if s.last && (n.Op == "PRelu" || len(n.Op) > 9) { // which reduce other axes, or have slopes along them
			return false
		}
		return s.through(n.In[0])
	case n.Op == "LayerNormalization":
		axis := n.Int("axis")
		return s.last && (axis == -1 || axis == len(v.Type.Shape)-1) && s.vector(n, 1) && (n.Input(2) == nil || s.vector(n, 2))
	case n.Op == "Mul":
		return s.visitMul(n)
	case n.Op == "Add":
		return match.Either(n, func(a, b *ir.Value) bool {
			return b.IsConst() && s.vector(n, slices.Index(n.In, b)) && s.through(a)
		})
	}
	return false
}

func (s *scaling) visitLayer(l *layer) bool {
	if l.n.Is("Conv") == s.last || l.outputs() != s.channels {
		return false
	}
	node, input := l.n, 2
	if b := l.n.Input(2); b != nil {
		if node, input = l.bias(); node == nil {
			return false
		}
		s.edits = append(s.edits, edit{node, input, 0})
	}
	s.edits = append(s.edits, edit{l.n, 1, l.out})
	s.source = l
	return true
}

// visitMul divides one factor of a product: a constant, or one that is computed.
func (s *scaling) visitMul(n *ir.Node) bool {
	for i, v := range n.In {
		if v.IsConst() {
			return s.vector(n, i)
		}
	}
	if n.In[0] == n.In[1] {
		return false
	}
	for _, v := range n.In {
		before := len(s.edits)
		if s.full(v) && s.through(v) {
			s.source = nil // the other factor is not homogeneous in it
			return true
		}
		s.edits = s.edits[:before]
	}
	return false
}

// full reports whether v has all channels, so that it is not broadcast along them.
func (s *scaling) full(v *ir.Value) bool {
	at := len(v.Type.Shape) - 1
	if !s.last {
		at = 1
	}
	if at < 0 || at >= len(v.Type.Shape) {
		return false
	}
	n, ok := v.Type.Shape[at].Int()
	return ok && n == s.channels
}

// vector notes a constant with one number for each channel, or one for all.
func (s *scaling) vector(n *ir.Node, input int) bool {
	v := n.Input(input)
	if !v.IsConst() || v.Const.DType != dtype.Float32 {
		return false
	}
	t := v.Const
	if t.Len() == 1 {
		s.edits = append(s.edits, edit{n, input, -1})
		return n.Op == "Mul" || n.Op == "Add"
	}
	at := t.Rank() - 1
	if !s.last {
		at = t.Rank() - (len(n.Out[0].Type.Shape) - 1)
	}
	if t.Len() != s.channels || at < 0 || at >= t.Rank() || t.Shape[at] != s.channels {
		return false
	}
	s.edits = append(s.edits, edit{n, input, at})
	return true
}

// divide does it.
func (s *scaling) divide(by []float32) {
	for _, e := range s.edits {
		t := e.n.In[e.input].Const
		axis := e.axis
		if axis < 0 {
			t, axis = s.spread(e, t)
		}
		x, inner := slices.Clone(tensor.Of[float32](t)), tensor.Count(t.Shape[axis+1:])
		for i := range x {
			x[i] /= by[i/inner%len(by)]
		}
		setConst(e.n, e.input, tensor.FromSlice(x, t.Shape...))
	}
}

// spread repeats a single number for each channel.
func (s *scaling) spread(e edit, t *tensor.Tensor) (*tensor.Tensor, int) {
	x := make([]float32, s.channels)
	for i := range x {
		x[i] = tensor.Of[float32](t)[0]
	}
	shape := []int{s.channels}
	if !s.last {
		for range len(e.n.Out[0].Type.Shape) - 2 {
			shape = append(shape, 1)
		}
	}
	return tensor.FromSlice(x, shape...), 0
}

// consumers gives the layers that read v, if nothing else does and all have so many
// inputs along the same axis.
func consumers(v *ir.Value) (list []*layer, last bool) {
	if v.IsOutput() {
		return nil, false
	}
	for _, u := range v.Uses() {
		l := asLayer(u.Node)
		if l == nil || u.Index != 0 || len(list) > 0 && (l.inputs() != list[0].inputs() || l.n.Is("Conv") != list[0].n.Is("Conv")) {
			return nil, false
		}
		list = append(list, l)
	}
	return list, len(list) > 0 && !list[0].n.Is("Conv")
}
