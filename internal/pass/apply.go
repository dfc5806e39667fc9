package pass

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
)

// apply completes and infers the patch's nodes, in order, and applies it.
func apply(g *ir.Graph, patch *ir.Patch) ([]*ir.Node, error) {
	for _, n := range patch.Add {
		if err := op.Complete(n); err != nil {
			return nil, fmt.Errorf("patch %q: %w", patch.Reason, err)
		}
		if err := op.InferNode(n); err != nil {
			return nil, fmt.Errorf("patch %q: %w", patch.Reason, err)
		}
	}
	learned := make([]*ir.Value, 0, len(patch.Replace))
	for _, r := range patch.Replace {
		if knowsMore(op.FactOf(r.New), op.FactOf(r.Old)) {
			learned = append(learned, r.New)
		}
	}
	removed, err := g.Apply(patch)
	if err != nil {
		return nil, err
	}
	refine(learned)
	return removed, nil
}

// refine infers the readers of values of which more is known now, and their
// readers in turn. What can't be inferred keeps its type: the contradiction is
// the model's own, and is reported where the node runs.
func refine(values []*ir.Value) {
	for len(values) > 0 {
		v := values[len(values)-1]
		values = values[:len(values)-1]
		for _, u := range v.Uses() {
			if len(u.Node.Subgraphs()) > 0 {
				continue // a body's values may differ from run to run
			}
			values = append(values, refineNode(u.Node)...)
		}
	}
}

// refineNode infers n again and gives the outputs of which more is known now.
func refineNode(n *ir.Node) (learned []*ir.Value) {
	before := make([]op.Fact, len(n.Out))
	for i, v := range n.Out {
		before[i] = op.FactOf(v)
	}
	failed := op.InferNode(n) != nil
	for i, v := range n.Out {
		switch {
		case v == nil:
		case failed || !knowsMore(op.FactOf(v), before[i]):
			v.Type, v.Content = before[i].Type, before[i].Content
		default:
			learned = append(learned, v)
		}
	}
	return learned
}

// knowsMore reports whether a says something of a value that b does not.
func knowsMore(a, b op.Fact) bool {
	if a.Const != nil && b.Const == nil || a.DType != dtype.Invalid && b.DType == dtype.Invalid || a.Shape != nil && b.Shape == nil {
		return true
	}
	return len(a.Shape) == len(b.Shape) && moreConstants(a.Shape, b.Shape) || a.Content != nil && b.Content == nil ||
		len(a.Content) == len(b.Content) && moreConstants(a.Content, b.Content)
}

func moreConstants(a, b []shape.Dim) bool {
	for i, d := range a {
		_, known := d.Int()
		if _, before := b[i].Int(); known && !before || b[i].IsUnknown() && !d.IsUnknown() {
			return true
		}
	}
	return false
}
