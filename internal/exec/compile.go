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
	slotView                    // bytes of another slot
	slotDynamic                 // allocated when its node runs: the shape depends on data
	slotLane                    // a place in each lane of the stretch
)

// slot is one value's place in a frame. A value that providers with different
// memory use has a slot in each.
type slot struct {
	kind   slotKind
	value  *ir.Value
	typ    op.Fact
	shape  []int
	space  int  // index of Session.spaces
	root   int  // slot whose memory this one shares; itself if it owns its own
	offset int  // bytes at which it begins there
	size   int  // bytes, if known
	index  int  // input, output or arena buffer number
	joint  bool // values are computed in its memory that a step would put together there
	tensor *tensor.Tensor
}

// step runs one node.
type step struct {
	node      *ir.Node
	op        *op.Op // nil for a copy
	provider  int    // index of Session.providers
	space     int
	in, out   []int     // slot numbers, -1 where absent
	prep      *op.Prep  // what the kernel is compiled from; nil where the reference runs
	kernel    op.Kernel // for the first frame; each other frame compiles its own
	copy      bool      // from the memory of one provider to another's
	joined    bool      // nothing to do: the inputs are computed in their places in the output
	alone     bool      // runs on the caller's thread
	dynamic   bool      // shapes are known only when it runs
	over      int       // input whose memory output 0 takes over, -1 if none
	work      float64   // floating-point operations or bytes, whichever are more
	rows      int       // of the batch that the kernel computes at once, as a step of the stretch; else 0
	scratch   int       // arena buffer number, -1 if none; of the lane's arena in the stretch
	packed    int       // bytes that the kernel has packed for this plan alone
	precision op.Precision
	subs      []*subgraph
}

// place is where a value may have a slot.
type place struct {
	value *ir.Value
	space int
}

// compiler makes one plan.
type compiler struct {
	s      *Session
	at     *ir.Node // at work, if any
	facts  op.Facts
	plan   *Plan
	on     map[*ir.Node]int // provider of each node
	slotOf map[place]int
	done   map[*ir.Node]bool // nodes that stand in the plan already, as steps or views
	shares map[int][]int     // slots that live in the memory of a root slot, the root not included
	live   map[int][]int     // the same, without those that were overwritten, and with the root
	steps  []step            // memory for steps to come
	ports  []int             // memory for their slots
}

// compile makes a plan; from, if it is not nil, moves on to be it, or is retired. An
// operator that panics while it is inferred or compiled fails the plan.
func (s *Session) compile(inputs []op.Fact, from *Plan) (p *Plan, err error) {
	c := &compiler{s: s, plan: from}
	done := s.weights.alone()
	defer func() {
		if v := recover(); v != nil {
			node := ""
			if c.at != nil {
				node = c.at.String()
			}
			p, err = nil, Panicked(node, v)
		}
		if p == nil {
			s.weights.dropUnfilled()
		}
		done()
		if from != nil && p != from {
			from.retire()
		}
	}()
	if s.binder == nil {
		s.binder = op.NewBinder(s.graph)
	}
	s.newest = nil
	facts, changed, err := s.binder.Bind(inputs)
	if err != nil {
		return nil, err
	}
	c.facts = facts
	moved := false
	if from != nil && changed != nil {
		moved, err = c.move(changed)
		moved = moved && c.fits() == nil // its arena may be one for larger shapes
	}
	if !moved && err == nil {
		err = c.build()
	}
	if err != nil {
		return nil, err
	}
	s.weights.trimRest()
	if err := c.fits(); err != nil {
		return nil, err
	}
	s.newest = c.plan
	return c.plan, nil
}

// fits refuses the plan if it needs more memory than allowed.
func (c *compiler) fits() error {
	c.plan.derived = c.s.weights.held()
	return c.plan.fitsIn(c.s.maxMemory)
}

// build makes a plan from nothing.
func (c *compiler) build() error {
	n := len(c.s.graph.Nodes)
	c.slotOf, c.done, c.shares, c.live = make(map[place]int, 2*n), make(map[*ir.Node]bool, n), map[int][]int{}, map[int][]int{}
	c.plan = &Plan{session: c.s, maxFrames: maxIdleFrames, arenas: make([]arena, len(c.s.spaces))}
	for i, v := range c.s.graph.Inputs {
		c.addSlot(v, slotInput, i, 0)
	}
	nodes := c.needed()
	c.divide(nodes)
	c.reserve(nodes)
	for _, n := range nodes {
		c.at = n.Node
		if err := c.step(n); err != nil {
			return fmt.Errorf("%s: %w", n.Node, err)
		}
	}
	c.at = nil
	if err := c.bindOutputs(); err != nil {
		return err
	}
	c.join()
	c.setStretch()
	if err := c.kernels(); err != nil {
		return err
	}
	c.layout()
	c.bindings()
	for _, st := range c.plan.steps {
		c.plan.setWork(st)
	}
	c.plan.pool = c.s.poolFor(c.plan)
	return nil
}

// needed is a node whose results are read and not known already.
type needed struct {
	*ir.Node
	op     *op.Op
	bodies bool
}

// needed lists such nodes.
func (c *compiler) needed() []needed {
	want := make(map[*ir.Value]bool, 2*len(c.s.graph.Nodes))
	for _, o := range c.s.graph.Outputs {
		want[o.Value] = true
	}
	nodes := make([]needed, 0, len(c.s.graph.Nodes))
	for i, n := range slices.Backward(c.s.graph.Nodes) {
		live := false
		for _, v := range n.Out {
			live = live || v != nil && want[v] && c.facts.Get(v).Const == nil
		}
		if !live {
			continue
		}
		o, bodies := c.s.binder.Node(i)
		nodes = append(nodes, needed{n, o, bodies})
		for _, v := range n.In {
			if v != nil {
				want[v] = true
			}
		}
		if !bodies {
			continue
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

// reserve makes room for the steps of nodes and their slots, all at once.
func (c *compiler) reserve(nodes []needed) {
	ports, outs := 0, 0
	for _, n := range nodes {
		ports += len(n.In) + len(n.Out)
		outs += len(n.Out)
	}
	c.steps, c.ports = make([]step, len(nodes)), make([]int, 0, ports)
	c.plan.steps = make([]*step, 0, len(nodes))
	c.plan.slots = slices.Grow(c.plan.slots, outs+len(nodes))
}

func (c *compiler) addSlot(v *ir.Value, kind slotKind, index, space int) int {
	f := c.facts.Get(v)
	id := len(c.plan.slots)
	s := slot{kind: kind, value: v, typ: f, root: id, index: index, space: space}
	if shape, ok := fixed(f); ok {
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
	c.slotOf[place{v, space}] = id
	return id
}

// fixed gives the sizes of a tensor if all are known.
func fixed(f op.Fact) ([]int, bool) {
	if f.DType == dtype.Invalid || f.Elem != nil {
		return nil, false
	}
	return f.Shape.Ints()
}

func (c *compiler) step(n needed) error {
	st := &c.steps[0]
	c.steps = c.steps[1:]
	*st = step{node: n.Node, op: n.op, scratch: -1, over: -1, provider: c.on[n.Node]}
	st.space = c.s.spaceOf[st.provider]
	from := len(c.ports)
	for _, v := range n.In {
		id, err := c.in(v, st.space)
		if err != nil {
			return err
		}
		c.ports = append(c.ports, id)
	}
	to := len(c.ports)
	st.in = c.ports[from:to:to]
	for _, v := range n.Out {
		id := -1
		if v != nil {
			id = c.addSlot(v, slotArena, 0, st.space)
		}
		c.ports = append(c.ports, id)
	}
	st.out = c.ports[to:len(c.ports):len(c.ports)]
	c.done[n.Node] = true
	if n.bodies {
		for _, g := range n.Subgraphs() {
			sub, err := c.subgraph(g)
			if err != nil {
				return err
			}
			st.subs = append(st.subs, sub)
		}
	}
	if did, err := c.view(st); did || err != nil {
		if did {
			c.plan.views = append(c.plan.views, st)
		}
		return err
	}
	for _, id := range c.ports[from:] {
		if id >= 0 && c.plan.slots[id].shape == nil {
			st.dynamic = true
		}
	}
	c.inPlace(st)
	c.plan.steps = append(c.plan.steps, st)
	return nil
}

// kernels compiles the steps whose shapes are known, several at a time; the
// others are compiled when they run.
func (c *compiler) kernels() error {
	w := &compilation{compiler: c}
	for _, st := range c.plan.steps {
		switch {
		case st.copy || st.joined:
		case st.dynamic || len(st.subs) > 0:
			if err := c.pinInputs(st); err != nil {
				return err
			}
		default:
			w.steps = append(w.steps, st)
		}
	}
	if err := w.run(); err != nil {
		return err
	}
	if s := c.plan.stretch; s != nil && slices.ContainsFunc(c.plan.steps[s.first:s.end], func(st *step) bool { return st.kernel == nil }) {
		w.steps = c.dropStretch()
		if err := w.run(); err != nil {
			return err
		}
	}
	for at, st := range c.plan.steps {
		if n := scratchOf(st.kernel); n > 0 && !c.plan.stretch.has(at) {
			a := &c.plan.arenas[st.space]
			st.scratch = len(a.buffers)
			a.buffers = append(a.buffers, plan.Buffer{Size: n, First: at, Last: at})
		}
	}
	return nil
}

// compilation is the pool's task of compiling steps.
type compilation struct {
	*compiler
	steps []*step
	errs  []error
}

// run compiles the steps on all threads.
func (w *compilation) run() error {
	w.errs = make([]error, len(w.steps))
	w.s.pool.Begin()
	w.s.pool.Run(len(w.steps), w)
	w.s.pool.End()
	for i, err := range w.errs {
		if err != nil {
			return fmt.Errorf("%s: %w", w.steps[i].node, err)
		}
	}
	return nil
}

// Do compiles one step.
func (w *compilation) Do(i int) {
	st := w.steps[i]
	defer func() {
		if v := recover(); v != nil {
			w.errs[i] = Panicked("", v)
		}
	}()
	w.errs[i] = w.kernel(st)
}

func (c *compiler) kernel(st *step) error {
	p := &op.Prep{Node: st.node, Threads: c.s.pool.Threads(), Precision: c.s.precision, Chooser: c.s.chooser}
	c.s.weights.serve(p)
	ins := len(st.node.In)
	all := make([]op.Fact, ins+len(st.node.Out))
	p.In, p.Out = all[:ins:ins], all[ins:]
	for i, v := range st.node.In {
		f := c.facts.Get(v)
		if v != nil && c.plan.slots[st.in[i]].kind == slotConst {
			f.Const = c.plan.slots[st.in[i]].tensor
		}
		p.In[i] = st.ofRound(f)
	}
	for i, v := range st.node.Out {
		p.Out[i] = st.ofRound(c.facts.Get(v))
	}
	k, err := c.s.weights.compile(c.s.providers[st.provider], p)
	if err != nil || k == nil {
		return err
	}
	st.kernel, st.prep, st.packed, st.precision, st.alone = k, p, packedOfSizes(p), op.PrecisionOf(k), alone(p)
	return nil
}

// pinInputs keeps the constants that a step reads when it runs.
func (c *compiler) pinInputs(st *step) error {
	for _, id := range st.in {
		if id >= 0 && c.plan.slots[id].kind == slotConst {
			if err := c.s.weights.pin(c.plan.slots[id].tensor); err != nil {
				return err
			}
		}
	}
	return nil
}
