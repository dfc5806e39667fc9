package exec

import (
	"context"
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/tensor"
)

// subgraph is the body of a control-flow node: a session of its own whose
// inputs are the body's and, after them, the outer values that it reads.
type subgraph struct {
	graph    *ir.Graph // as the node's attribute holds it
	session  *Session
	captures []int // slots of the outer values
}

func (c *compiler) subgraph(g *ir.Graph) (*subgraph, error) {
	sub := &subgraph{graph: g}
	free := g.Captures()
	for _, v := range free {
		id, err := c.in(v, 0)
		if err != nil {
			return nil, err
		}
		sub.captures = append(sub.captures, id)
	}
	closed := &ir.Graph{Name: g.Name, Inputs: append(slices.Clone(g.Inputs), free...), Outputs: g.Outputs, Nodes: g.Nodes, Opsets: g.Opsets}
	o := Options{Pool: c.s.pool, Provider: c.s.providers[c.s.host()], Precision: c.s.precision, Chooser: c.s.chooser, MaxPlans: c.s.maxPlans, MaxMemory: c.s.maxMemory, Overhead: c.s.overhead}
	sub.session = newSession(closed, o, c.s.weights)
	return sub, nil
}

// closePlans retires the plans of a body.
func (s *Session) closePlans() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.plans {
		p.retire()
	}
	s.plans, s.newest = nil, nil
}

// subgraphRunner gives the function by which a control-flow operator runs a body.
func (f *frame) subgraphRunner(st *step) func(*ir.Graph, []*tensor.Tensor) ([]*tensor.Tensor, error) {
	return func(g *ir.Graph, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
		i := slices.IndexFunc(st.subs, func(s *subgraph) bool { return s.graph == g })
		if i < 0 {
			return nil, fmt.Errorf("the node has no such subgraph")
		}
		sub := st.subs[i]
		if len(in) != len(g.Inputs) {
			return nil, fmt.Errorf("subgraph %q has %d inputs, found %d", g.Name, len(g.Inputs), len(in))
		}
		all := slices.Clone(in)
		for _, id := range sub.captures {
			all = append(all, f.tensors[id])
		}
		return sub.session.runBody(f.ctx, all)
	}
}

// runBody is Run for a subgraph: the pool is awake already.
func (s *Session) runBody(ctx context.Context, inputs []*tensor.Tensor) ([]*tensor.Tensor, error) {
	p, err := s.use(inputs)
	if err != nil {
		return nil, err
	}
	defer s.done(p)
	outputs := make([]*tensor.Tensor, len(s.graph.Outputs))
	fr, err := p.acquire()
	if err != nil {
		return nil, err
	}
	defer p.release(fr)
	return outputs, fr.run(ctx, inputs, outputs, nil)
}
