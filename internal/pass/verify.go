package pass

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
)

// verify checks a whole graph: its links, that all readers of a value are in
// it, and that the types of its values follow from those of its inputs.
func verify(g *ir.Graph) error {
	if err := g.Verify(); err != nil {
		return err
	}
	inside := map[*ir.Node]bool{}
	collectNodes(g, inside)
	for n := range inside {
		for _, v := range append(append([]*ir.Value(nil), n.In...), n.Out...) {
			if v == nil {
				continue
			}
			for _, u := range v.Uses() {
				if !inside[u.Node] {
					return fmt.Errorf("value %q is read by %s, which is not in the graph", v.Name, u.Node)
				}
			}
		}
	}
	facts := make([]op.Fact, len(g.Inputs))
	for i, v := range g.Inputs {
		facts[i] = op.FactOf(v)
	}
	bound, err := op.Bind(g, facts)
	if err != nil {
		return err
	}
	for v, f := range bound {
		if f.DType != v.Type.DType || !f.Shape.Compatible(v.Type.Shape) {
			return fmt.Errorf("value %q is said to be %s, its operator gives %s", v.Name, v.Type, f.Type)
		}
	}
	return nil
}

func collectNodes(g *ir.Graph, all map[*ir.Node]bool) {
	for _, n := range g.Nodes {
		all[n] = true
		for _, sub := range n.Subgraphs() {
			collectNodes(sub, all)
		}
	}
}
