package layout

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
)

// Choose decides for each operator that can compute in either layout.
var Choose = pass.Pass{
	Name: "choose-layout", Level: 3,
	Doc: "Elementwise operators, Concat, Split, Slice and Pad of whole blocks of channels, Resize, pooling and spatial reductions compute in blocked layout " +
		"where that moves the fewest elements through reorders (a minimum cut of the graph).",
	Rewrite: choose,
}

// plan is a decision for all sites of a graph.
type plan struct {
	blocked map[*ir.Node]bool // move to blocked layout
	unsafe  map[*ir.Node]bool // could make unused channels infinite or NaN
}

func choose(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if !couldBlock(n) {
		return nil, nil
	}
	p, ok := c.Memo[planKey{}].(*plan)
	if !ok {
		p = newPlan(c.Graph)
		c.Memo[planKey{}] = p
	}
	if !p.blocked[n] {
		p.nearMiss(c, n)
		return nil, nil
	}
	s, why := siteOf(n, blockSize())
	if why != "" {
		return nil, fmt.Errorf("the plan has it in blocked layout: %s", why)
	}
	return s.patch(c, n), nil
}

type planKey struct{}

// nearMiss reports an operator behind a reorder that stays plain for a reason
// other than the cost.
func (p *plan) nearMiss(c *pass.Context, n *ir.Node) {
	for _, v := range n.In {
		if fromBlocked(v) == nil {
			continue
		}
		if p.unsafe[n] {
			c.Near(n, "it could make infinities or NaN of unused channels")
		} else if _, why := siteOf(n, blockSize()); why != "" {
			c.Near(n, "%s", why)
		}
		return
	}
}

// patch replaces n by its blocked form between reorders.
func (s *site) patch(c *pass.Context, n *ir.Node) *ir.Patch {
	b := newBuilder(c, blockSize())
	in := append([]*ir.Value(nil), n.In...)
	for _, i := range s.in {
		in[i] = b.blocked(n.In[i], s.neutral)
	}
	p := &ir.Patch{Reason: fmt.Sprintf("%s computes in blocked layout", n)}
	for i, y := range s.build(b, in) {
		if old := n.Output(i); old != nil && y != nil {
			p.Replace = append(p.Replace, ir.Replacement{Old: old, New: s.plain(b, i, old, y)})
		}
	}
	p.Add = b.nodes
	return p
}

// plain gives the plain form of blocked result y.
func (s *site) plain(b *builder, i int, old, y *ir.Value) *ir.Value {
	if s.squeeze == nil {
		channels, _ := old.Type.Shape[1].Int()
		return b.fromBlocked(y, channels)
	}
	channels, _ := s.node.In[0].Type.Shape[1].Int()
	return b.node("", "Squeeze", old.Name, []*ir.Value{b.fromBlocked(y, channels), b.ints("axes", s.squeeze...)}, nil)
}

// newPlan makes the network of a graph and cuts it. Each site is a vertex.
// Blocked convolutions stand on the source's side and all else that can't
// block on the sink's; they show as reorders. A value between the sides costs
// one reorder, however many readers it has on the other side.
func newPlan(g *ir.Graph) *plan {
	out := &plan{map[*ir.Node]bool{}, map[*ir.Node]bool{}}
	if !slices.ContainsFunc(g.Nodes, isReorder) {
		return out
	}
	p := &planner{net: newNetwork(), sites: map[*ir.Node]int{}, found: map[*ir.Node]*site{}, spans: map[*ir.Value]span{}, block: blockSize()}
	for _, n := range g.Nodes {
		if !n.Removed() && couldBlock(n) && !p.add(n) {
			out.unsafe[n] = true
		}
	}
	seen := map[*ir.Value]bool{}
	for n := range p.sites {
		for _, v := range p.edgesOf(n) {
			if !seen[v] {
				seen[v] = true
				p.value(v)
			}
		}
	}
	side := p.net.sourceSide()
	for n, vertex := range p.sites {
		out.blocked[n] = side[vertex]
	}
	return out
}

type planner struct {
	net   *network
	sites map[*ir.Node]int
	found map[*ir.Node]*site
	spans map[*ir.Value]span
	block int
}

// add makes a vertex of n if it is a site; safe is false if it is one but for
// its unused channels.
func (p *planner) add(n *ir.Node) (safe bool) {
	s, why := siteOf(n, p.block)
	if why != "" {
		return true
	}
	if !p.paddingStaysFinite(n, s) {
		return false
	}
	v := p.net.vertex()
	p.sites[n], p.found[n] = v, s
	// In blocked layout the unused channels are computed too; pooling is faster
	// there, by more than the cost of reading its input once.
	y := s.size()
	p.net.edge(v, sink, y.padded(p.block)-y.count())
	if s.fast {
		p.net.edge(source, v, y.count())
	}
	return true
}

// edgesOf lists the values through which the layout of site n meets others'.
func (p *planner) edgesOf(n *ir.Node) []*ir.Value {
	s := p.found[n]
	var vs []*ir.Value
	for _, i := range s.in {
		if !n.In[i].IsConst() {
			vs = append(vs, n.In[i])
		}
	}
	for _, v := range n.Out {
		if v != nil {
			vs = append(vs, v)
		}
	}
	return vs
}

// value makes the edges of one value.
func (p *planner) value(v *ir.Value) {
	cost := sizeOf(v).padded(p.block)
	producer := p.side(v)
	toPlain, toBlocked := p.net.vertex(), p.net.vertex()
	p.net.edge(producer, toPlain, cost)
	p.net.edge(toBlocked, producer, cost)
	reader := func(vertex int) {
		p.net.edge(toPlain, vertex, unbounded)
		p.net.edge(vertex, toBlocked, unbounded)
	}
	if v.IsOutput() {
		reader(sink)
	}
	for _, u := range v.Uses() {
		if !readsEither(u.Node, v, p.block) {
			reader(p.reads(u))
		}
	}
}

// side is the vertex of the node that makes v.
func (p *planner) side(v *ir.Value) int {
	if fromBlocked(v) != nil {
		return source
	}
	if v.Producer != nil {
		if vertex, ok := p.sites[v.Producer]; ok {
			return vertex
		}
	}
	return sink
}

// reads is the vertex of a reader.
func (p *planner) reads(u ir.Use) int {
	if isToBlocked(u.Node) {
		return source
	}
	vertex, ok := p.sites[u.Node]
	if !ok {
		return sink
	}
	for _, i := range p.found[u.Node].in {
		if i == u.Index {
			return vertex
		}
	}
	return sink // an operand that is plain in either form
}

// size is the number of elements of a tensor [N, C, H, W].
type size struct{ channels, others int64 }

func (s size) count() int64 { return s.channels * s.others }

func (s size) padded(block int) int64 {
	b := int64(block)
	return (s.channels + b - 1) / b * b * s.others
}

// unknownSide stands for the spatial sizes that are not known beforehand.
const unknownSide = 32

func sizeOf(v *ir.Value) size {
	s := size{1, 1}
	for i, d := range v.Type.Shape {
		n, ok := d.Int()
		switch {
		case i == 1:
			s.channels = int64(n)
		case ok:
			s.others = min(s.others*int64(n), 1<<40)
		case i > 1:
			s.others = min(s.others*unknownSide, 1<<40)
		}
	}
	return s
}

func isReorder(n *ir.Node) bool {
	return isToBlocked(n) || n.Domain == op.Salver && n.Op == "FromBlocked"
}

func isToBlocked(n *ir.Node) bool { return n.Domain == op.Salver && n.Op == "ToBlocked" }
