package exec

import (
	"maps"
	"reflect"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/tensor"
)

// alikes finds nodes that pack the same: the steps of an unrolled recurrent layer, layers
// that share their weights, a head that reads several images. They share the buffers,
// which then are in memory, and in the caches, once.
type alikes struct {
	first map[*ir.Node]*ir.Node
	read  map[*tensor.Tensor][]*ir.Node // by the largest constant that they read
}

// of gives the first node that was asked for and packs the same as n.
func (a *alikes) of(n *ir.Node) *ir.Node {
	if f, ok := a.first[n]; ok {
		return f
	}
	if a.first == nil {
		a.first, a.read = map[*ir.Node]*ir.Node{}, map[*tensor.Tensor][]*ir.Node{}
	}
	w := largest(n)
	for _, m := range a.read[w] {
		if w != nil && alike(m, n) {
			a.first[n] = m
			return m
		}
	}
	a.first[n] = n
	if len(a.read[w]) < mostKinds {
		a.read[w] = append(a.read[w], n)
	}
	return n
}

// mostKinds bounds with how many nodes that read a constant, each in its own way, others are
// compared: a graph has few, and one of many thousands would take minutes.
const mostKinds = 32

// largest is the largest constant that n reads; nil if there is none.
func largest(n *ir.Node) *tensor.Tensor {
	var t *tensor.Tensor
	for _, v := range n.In {
		if v.IsConst() && (t == nil || v.Const.Len() > t.Len()) {
			t = v.Const
		}
	}
	return t
}

// alike reports whether two nodes differ in nothing that a kernel sees when it packs:
// operator, attributes, constants, and the types and ranks of all else.
func alike(a, b *ir.Node) bool {
	if a.Domain != b.Domain || a.Op != b.Op || a.Opset != b.Opset || len(a.In) != len(b.In) || len(a.Out) != len(b.Out) || len(a.Subgraphs()) > 0 {
		return false
	}
	for i := range a.In {
		if !sameKind(a.In[i], b.In[i]) {
			return false
		}
	}
	for i := range a.Out {
		if !sameKind(a.Out[i], b.Out[i]) {
			return false
		}
	}
	return maps.EqualFunc(a.Attrs, b.Attrs, func(x, y *ir.Attr) bool { return reflect.DeepEqual(x, y) })
}

// sameKind reports whether two values are the same constant, or of one type and rank.
func sameKind(v, w *ir.Value) bool {
	if v == nil || w == nil {
		return v == w
	}
	return v.Const == w.Const && v.Type.DType == w.Type.DType && len(v.Type.Shape) == len(w.Type.Shape)
}
