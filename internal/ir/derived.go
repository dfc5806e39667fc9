package ir

import "github.com/salver-ml/salver/internal/tensor"

// NewDerived makes a constant that passes have computed from other constants,
// and that again computes once more, with the same bits. Whoever runs the graph
// may drop its contents when they have been copied into another layout.
func NewDerived(name string, t *tensor.Tensor, again func() (*tensor.Tensor, error)) *Value {
	v := NewConst(name, t)
	v.Again = again
	return v
}

// Source gives a function that gives the contents of the constant v at any
// time. It does not hold contents that can be computed again.
func (v *Value) Source() func() (*tensor.Tensor, error) {
	if v.Again != nil {
		return v.Again
	}
	t := v.Const
	return func() (*tensor.Tensor, error) { return t, nil }
}

// Detached is n outside its graph, to be evaluated on other tensors: its inputs
// have types but no contents, so that it holds no memory.
func (n *Node) Detached() *Node {
	m := &Node{Name: n.Name, Domain: n.Domain, Op: n.Op, Opset: n.Opset, Attrs: n.Attrs, In: make([]*Value, len(n.In)), Out: make([]*Value, len(n.Out))}
	for i, v := range n.In {
		if v != nil {
			m.In[i] = NewValue(v.Name, v.Type)
		}
	}
	for i, v := range n.Out {
		if v != nil {
			m.Out[i] = NewValue(v.Name, v.Type)
		}
	}
	return m
}
