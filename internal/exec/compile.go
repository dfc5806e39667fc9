package exec

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/plan"
	"github.com/salver-ml/salver/internal/tensor"
)

// slotKind says where a value's memory comes from.
type slotKind uint8

const (
	slotConst   slotKind = iota // known when the plan is made
	slotInput                   // the caller's input
	slotArena                   // a place in the arena
	slotOutput                  // the memory of a graph output
	slotView                    // the bytes of another slot
	slotDynamic                 // allocated when its node runs: the shape depends on data
)

// slot is one value's place in a frame.
type slot struct {
	kind   slotKind
	value  *ir.Value
	typ    op.Fact
	shape  []int
	root   int // slot whose memory this one shares; itself if it owns its own
	size   int // bytes, if known
	index  int // input, output or arena buffer number
	tensor *tensor.Tensor
}

// step runs one node.
type step struct {
	node    *ir.Node
	op      *op.Op
	in, out []int     // slot numbers, -1 where absent
	prep    *op.Prep  // what the kernel is compiled from; nil where the reference runs
	kernel  op.Kernel // for the first frame; each other frame compiles its own
	dynamic bool      // shapes are known only when it runs
	scratch int       // arena buffer number, -1 if none
	subs    []*subgraph
}

// compiler makes one plan.
type compiler struct {
	s      *Session
	facts  op.Facts
	plan   *Plan
	slotOf map[*ir.Value]int
	shares map[int][]int // slots that live in the memory of a root slot, the root not included
}

// compile makes a plan. An operator that panics while it is inferred or compiled
// fails the plan.
func (s *Session) compile(inputs []op.Fact) (p *Plan, err error) {
	var at *ir.Node
	defer func() {
		if v := recover(); v != nil {
			node := ""
			if at != nil {
				node = at.String()
			}
			p, err = nil, panicked(node, v)
		}
	}()
	facts, err := op.Bind(s.graph, inputs)
	if err != nil {
		return nil, err
	}
	c := &compiler{s: s, facts: facts, slotOf: map[*ir.Value]int{}, shares: map[int][]int{}}
	c.plan = &Plan{session: s, maxFrames: maxIdleFrames}
	for i, v := range s.graph.Inputs {
		c.addSlot(v, slotInput, i)
	}
	for _, n := range c.needed() {
		at = n
		if err := c.step(n); err != nil {
			return nil, fmt.Errorf("%s: %w", n, err)
		}
	}
	at = nil
	c.bindOutputs()
	c.layout()
	if err := c.plan.fitsIn(s.maxMemory); err != nil {
		s.packs.dropUnfilled()
		return nil, err
	}
	c.plan.pool = s.poolFor(c.plan)
	return c.plan, nil
}

// needed lists the nodes whose results are read and not known already.
func (c *compiler) needed() []*ir.Node {
	want := map[*ir.Value]bool{}
	for _, o := range c.s.graph.Outputs {
		want[o.Value] = true
	}
	var nodes []*ir.Node
	for _, n := range slices.Backward(c.s.graph.Nodes) {
		live := false
		for _, v := range n.Out {
			live = live || v != nil && want[v] && c.facts.Get(v).Const == nil
		}
		if !live {
			continue
		}
		nodes = append(nodes, n)
		for _, v := range n.In {
			if v != nil {
				want[v] = true
			}
		}
		for _, g := range n.Subgraphs() {
			for _, v := range g.Captures() {
				want[v] = true
			}
		}
	}
	slices.Reverse(nodes)
	return nodes
}

func (c *compiler) addSlot(v *ir.Value, kind slotKind, index int) int {
	f := c.facts.Get(v)
	id := len(c.plan.slots)
	s := slot{kind: kind, value: v, typ: f, root: id, index: index}
	if shape, ok := f.Shape.Ints(); ok && f.DType != dtype.Invalid && f.Elem == nil {
		s.shape = shape
		s.size = f.DType.Bytes(tensor.Count(shape))
	} else if kind == slotArena {
		s.kind = slotDynamic
	}
	if f.Const != nil && kind != slotInput {
		s.kind, s.tensor = slotConst, f.Const
	}
	if s.kind == slotArena && f.DType == dtype.String {
		s.kind = slotDynamic
	}
	c.plan.slots = append(c.plan.slots, s)
	c.slotOf[v] = id
	return id
}

// in gives the slot of a value that is read; constants get theirs here.
func (c *compiler) in(v *ir.Value) int {
	if v == nil {
		return -1
	}
	if id, ok := c.slotOf[v]; ok {
		return id
	}
	return c.addSlot(v, slotConst, 0)
}

func (c *compiler) step(n *ir.Node) error {
	o := op.Of(n)
	st := &step{node: n, op: o, scratch: -1}
	for _, v := range n.In {
		st.in = append(st.in, c.in(v))
	}
	for _, v := range n.Out {
		if v == nil {
			st.out = append(st.out, -1)
			continue
		}
		st.out = append(st.out, c.addSlot(v, slotArena, 0))
	}
	for _, g := range n.Subgraphs() {
		st.subs = append(st.subs, c.subgraph(g))
	}
	if c.view(st) {
		return nil
	}
	if err := c.kernel(st); err != nil {
		return err
	}
	c.inPlace(st, len(c.plan.steps))
	c.plan.steps = append(c.plan.steps, st)
	return nil
}

// view makes output 0 of operators that only rename bytes share input 0's.
func (c *compiler) view(st *step) bool {
	if !st.op.View || len(st.out) == 0 || st.out[0] < 0 {
		return false
	}
	src, dst := &c.plan.slots[st.in[0]], &c.plan.slots[st.out[0]]
	if dst.kind != slotArena || src.shape == nil || src.size != dst.size || src.typ.DType == dtype.String {
		return false
	}
	if src.kind == slotConst {
		dst.kind, dst.tensor = slotConst, src.tensor.Reshape(dst.shape...)
		return true
	}
	c.share(st.out[0], src.root)
	return true
}

// share makes a slot a view of a root slot's memory.
func (c *compiler) share(id, root int) {
	s := &c.plan.slots[id]
	s.kind, s.root = slotView, root
	c.shares[root] = append(c.shares[root], id)
}

// kernel compiles the node if all its shapes are known, and leaves it to run
// time otherwise.
func (c *compiler) kernel(st *step) error {
	for _, id := range slices.Concat(st.in, st.out) {
		if id >= 0 && c.plan.slots[id].shape == nil {
			st.dynamic = true
		}
	}
	if st.dynamic || len(st.subs) > 0 {
		return nil
	}
	p := &op.Prep{Node: st.node, Threads: c.s.pool.Threads(), Pack: c.s.packer(st.node)}
	for _, v := range st.node.In {
		f := c.facts.Get(v)
		if v != nil && f.Const == nil && c.plan.slots[c.slotOf[v]].kind == slotConst {
			f.Const = c.plan.slots[c.slotOf[v]].tensor
		}
		p.In = append(p.In, f)
	}
	for _, v := range st.node.Out {
		p.Out = append(p.Out, c.facts.Get(v))
	}
	k, err := c.s.provider.Compile(p)
	if err != nil || k == nil {
		return err
	}
	st.kernel, st.prep = k, p
	if s, ok := k.(op.Scratcher); ok {
		if n := s.ScratchBytes(); n > 0 {
			st.scratch = len(c.plan.buffers)
			at := len(c.plan.steps)
			c.plan.buffers = append(c.plan.buffers, plan.Buffer{Size: n, First: at, Last: at})
		}
	}
	return nil
}

func (s *Session) packer(n *ir.Node) func(string, int, func([]byte)) []byte {
	return func(key string, size int, fill func([]byte)) []byte {
		return s.packs.get(n, key, size, s.maxMemory, fill)
	}
}

// inPlace lets output 0 take over the buffer of an input that nothing reads
// afterwards.
func (c *compiler) inPlace(st *step, at int) {
	if len(st.out) == 0 || st.out[0] < 0 || st.dynamic {
		return
	}
	dst := &c.plan.slots[st.out[0]]
	if dst.kind != slotArena || dst.value.IsOutput() {
		return
	}
	for _, i := range st.op.InPlace {
		if i >= len(st.in) || st.in[i] < 0 {
			continue
		}
		src := c.plan.slots[st.in[i]]
		root := c.plan.slots[src.root]
		if root.kind != slotArena || src.size != dst.size || root.size != dst.size || c.readAgain(src.root, st) {
			continue
		}
		c.share(st.out[0], src.root)
		return
	}
}

// readAgain reports whether any value in the memory of a root slot is read by a
// node other than st, or through another input of st, or is a graph output.
func (c *compiler) readAgain(root int, st *step) bool {
	reads := 0
	for _, id := range append([]int{root}, c.shares[root]...) {
		s := &c.plan.slots[id]
		if s.value.IsOutput() {
			return true
		}
		for _, u := range s.value.Uses() {
			switch {
			case u.Node == st.node:
				reads++
			case !c.done(u.Node):
				return true
			}
		}
	}
	return reads != 1
}

// done reports whether a node stands in the plan already, as a step or a view.
func (c *compiler) done(n *ir.Node) bool {
	for _, v := range n.Out {
		if v != nil {
			_, ok := c.slotOf[v]
			return ok
		}
	}
	return false
}
