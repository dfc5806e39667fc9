package fuse

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/fused"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
)

// Pointwise runs chains of functions of single elements in one sweep. It comes last:
// other passes know the operators by their names.
var Pointwise = pass.Pass{
	Name: "fuse-pointwise", Level: 3, Last: true,
	Doc: "Operators of single elements that follow each other (arithmetic, activations, Clip, Where, Cast of conditions) compute in one sweep, a block of elements at a time, " +
		"with the same bits; what lies between them never leaves the cache.",
	Rewrite: pointwise,
}

// maxSteps bounds a chain.
const maxSteps = 24

func pointwise(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if !isPointwise(n) || feedsChain(n) {
		return nil, nil
	}
	nodes := chainTo(c, n)
	if len(nodes) < 2 {
		return nil, nil
	}
	in := inputsOf(nodes)
	y := c.Value(n.Out[0].Name)
	m := ir.NewNode(op.Salver, "Pointwise", 1, in, []*ir.Value{y}, map[string]*ir.Attr{"steps": ir.Strs(fused.PointwiseSteps(nodes, in)...)})
	m.Name = n.Name
	return &ir.Patch{Reason: fmt.Sprintf("%d operators up to %s in one sweep", len(nodes), n), Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}, nil
}

// isPointwise reports whether n may be a step of a chain.
func isPointwise(n *ir.Node) bool {
	o := op.Of(n)
	if n.Domain != "" || o == nil || o.Row == nil || o != op.Find("", n.Op, op.MaxOpset) || o.Row(n) == nil || len(n.Out) != 1 || !match.Float32(n.Out[0]) || n.Out[0].Type.Shape == nil {
		return false
	}
	for i, v := range n.In {
		switch {
		case v == nil:
		case v.Type.DType != dtype.Float32 && v.Type.DType != dtype.Bool || v.Type.Shape == nil:
			return false
		case n.Op == "Clip" && i > 0: // whose kernel takes constant bounds alone
			if _, ok := match.Scalar(v); !ok {
				return false
			}
		}
	}
	return !n.Is("Pow") || !simplePower(n.In[1])
}

// simplePower is true for exponents that have kernels of their own.
func simplePower(v *ir.Value) bool {
	s, ok := match.Scalar(v)
	return ok && (s == 2 || s == .5 || s == -1)
}

// feedsChain reports whether n is a step of the chain of its reader.
func feedsChain(n *ir.Node) bool {
	y := n.Out[0]
	if y.IsOutput() || len(y.Uses()) == 0 {
		return false
	}
	reader := y.Uses()[0].Node
	for _, u := range y.Uses() {
		if u.Node != reader {
			return false
		}
	}
	return isPointwise(reader) && y.Type.Shape.Equal(reader.Out[0].Type.Shape)
}

// chainTo gives the steps of the chain that ends in n, in order: what its inputs are
// made from, as long as nothing else reads it and it has the result's shape.
func chainTo(c *pass.Context, n *ir.Node) []*ir.Node {
	in := map[*ir.Node]bool{n: true}
	nodes := []*ir.Node{n}
	for grown := true; grown; {
		grown = false
		for _, m := range slices.Clone(nodes) {
			for _, v := range m.In {
				p := producerOf(v)
				if p == nil || in[p] || !isPointwise(p) || !v.Type.Shape.Equal(n.Out[0].Type.Shape) || v.IsOutput() || !readOnlyBy(v, in) {
					continue
				}
				more := append(slices.Clone(nodes), p)
				if len(more) > maxSteps || len(inputsOf(more)) > elemwise.MaxInputs {
					c.Near(n, "a chain with %s would have more than %d steps or %d inputs", p, maxSteps, elemwise.MaxInputs)
					continue
				}
				nodes, in[p], grown = more, true, true
			}
		}
	}
	return ordered(n, in)
}

func producerOf(v *ir.Value) *ir.Node {
	if v == nil {
		return nil
	}
	return v.Producer
}

func readOnlyBy(v *ir.Value, nodes map[*ir.Node]bool) bool {
	return !slices.ContainsFunc(v.Uses(), func(u ir.Use) bool { return !nodes[u.Node] })
}

// ordered lists the nodes of a chain that ends in last so that each follows those that it reads.
func ordered(last *ir.Node, in map[*ir.Node]bool) []*ir.Node {
	var out []*ir.Node
	done := map[*ir.Node]bool{}
	var visit func(n *ir.Node)
	visit = func(n *ir.Node) {
		if done[n] {
			return
		}
		done[n] = true
		for _, v := range n.In {
			if p := producerOf(v); p != nil && in[p] {
				visit(p)
			}
		}
		out = append(out, n)
	}
	visit(last)
	return out
}

// inputsOf lists what nodes read from outside, each once.
func inputsOf(nodes []*ir.Node) []*ir.Value {
	var in []*ir.Value
	for _, n := range nodes {
		for _, v := range n.In {
			if v != nil && !slices.Contains(nodes, v.Producer) && !slices.Contains(in, v) {
				in = append(in, v)
			}
		}
	}
	return in
}
