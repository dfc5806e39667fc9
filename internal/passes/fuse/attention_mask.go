package fuse

import (
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// maskMaker makes the nodes of a mask that the graph does not hold yet.
type maskMaker struct {
	c     *pass.Context
	nodes []*ir.Node
}

func (m *maskMaker) add(name string, attrs map[string]*ir.Attr, in ...*ir.Value) *ir.Value {
	y := m.c.Value("mask")
	m.nodes = append(m.nodes, ir.NewNode("", name, op.MaxOpset, in, []*ir.Value{y}, attrs))
	return y
}

func (m *maskMaker) ints(v ...int64) *ir.Value {
	return ir.NewConst(m.c.Name("shape"), tensor.FromSlice(v, len(v)))
}

func (m *maskMaker) float(name string, t dtype.Type, v float32) *ir.Value {
	x := ir.NewConst(m.c.Name(name), tensor.Scalar(v))
	if t == dtype.Float32 {
		return x
	}
	return m.add("Cast", map[string]*ir.Attr{"to": ir.Int(int(t))}, x)
}

// mask gives the one mask that has the effect of all, and the nodes that make it.
func (a *attentionMatch) mask(c *pass.Context) (mask *ir.Value, nodes []*ir.Node) {
	m := &maskMaker{c: c}
	join := func(v *ir.Value) {
		if mask == nil {
			mask = v
			return
		}
		mask = m.add("Add", nil, mask, v)
	}
	for _, v := range a.scores.masks {
		join(a.regrouped(m, v))
	}
	for _, h := range a.scores.hidden {
		t := a.weighted.Out[0].Type.DType
		zero, inf := m.float("shown", t, 0), m.float("hidden", t, float32(math.Inf(-1)))
		if h.value {
			zero, inf = inf, zero
		}
		cond := a.regrouped(m, h.cond)
		if match.Float32(cond) {
			cond = m.add("Cast", map[string]*ir.Attr{"to": ir.Int(int(dtype.Bool))}, cond)
		}
		join(m.add("Where", nil, cond, zero, inf))
	}
	return mask, m.nodes
}

// regrouped gives a mask of [batch·heads, queries, keys] or of windows four dimensions.
func (a *attentionMatch) regrouped(m *maskMaker, v *ir.Value) *ir.Value {
	heads := a.heads.Mul(shape.Const(a.groups))
	switch s := v.Type.Shape; {
	case len(s) == 5:
		return m.add("Squeeze", nil, v, m.ints(0)) // [1, windows, 1, …]
	case a.isOfItems(s, heads):
		n, _ := heads.Int()
		return m.add("Reshape", nil, m.add("Unsqueeze", nil, v, m.ints(0)), m.ints(-1, int64(n), 0, 0))
	}
	return v
}
