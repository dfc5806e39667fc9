package exec

import (
	"slices"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/plan"
	"github.com/salver-ml/salver/internal/shape"
)

// A stretch is a run of steps that goes through a batch some rows at a time: from its
// first step to its last for a round of rows, then for the next. What its steps hand to
// each other then stays in a cache, where that of a whole batch would not, and needs
// memory for a round only. Each thread has rounds of its own, and a lane to compute them
// in, so that threads wait for each other only at the end. Rows don't depend on each
// other, so the bits are the same.
type stretch struct {
	first, end int // steps
	rows       int // of a round
	rounds     int
	lanes      int   // rounds that are computed at once
	inner      []int // slots whose memory is in the lane
	outer      []int // slots whose memory has all rows
	arena      arena // of a lane
	buffer     int   // of all lanes in the arena
}

const (
	// stretchLeast is the least that the steps of a stretch read and write besides
	// weights, in bytes: less is hardly worth memory for each lane.
	stretchLeast = 32 << 20
	// A round reads the weights anew. Kernels hide that behind their work if they
	// multiply so often for each byte of weights, in float32 and otherwise.
	hidingFloat, hidingOther = 80, 320
)

// has reports whether a step belongs to the stretch; there may be none.
func (s *stretch) has(at int) bool { return s != nil && at >= s.first && at < s.end }

// setStretch looks for the stretch of the plan that spares the most traffic with memory.
func (c *compiler) setStretch() {
	n := c.batch()
	if n < 2 {
		return
	}
	most := 0 // bytes of a row, of the largest step
	steps := make([]rowStep, len(c.plan.steps))
	for i, st := range c.plan.steps {
		if steps[i] = c.rowStep(st, n); steps[i].fits {
			most = max(most, steps[i].bytes/n)
		}
	}
	threads := c.s.pool.Threads()
	if most*n <= threads*cpu.Cache().L2 {
		return // a batch stays in the caches
	}
	s := &stretch{rows: roundRows(n, threads, cpu.Cache().L2/2/most)}
	s.rounds = n / s.rows
	s.lanes = threads
	if s.rounds < threads {
		s.lanes = 1
	}
	best, sum, from := c.s.stretch-1, 0, 0
	for i := range steps {
		if !steps[i].fits {
			sum, from = 0, i+1
			continue
		}
		if sum <= 0 {
			sum, from = 0, i
		}
		if sum += steps[i].gain(s.rows, s.rounds); sum > best {
			best, s.first, s.end = sum, from, i+1
		}
	}
	if s.end-s.first < 2 {
		return
	}
	for _, st := range c.plan.steps[s.first:s.end] {
		st.rows = s.rows
	}
	c.plan.stretch = s
}

// batch is the number of rows that all inputs begin with, 0 if there is none.
func (c *compiler) batch() int {
	n := 0
	for i := range c.s.graph.Inputs {
		s := &c.plan.slots[i]
		if s.kind != slotInput || len(s.shape) == 0 || n > 0 && s.shape[0] != n {
			return 0
		}
		n = s.shape[0]
	}
	return n
}

// roundRows is the largest divisor of n that is no more than most and leaves each
// thread a round, 1 at least.
func roundRows(n, threads, most int) int {
	for rows := min(n/threads, most); rows > 1; rows-- {
		if n%rows == 0 {
			return rows
		}
	}
	return 1
}

// rowStep is what a step would be in a stretch.
type rowStep struct {
	fits    bool
	bytes   int     // of all rows, read and written
	weights int     // bytes
	flops   float64 // of a row
	hiding  float64
}

// gain is the bytes that the caches spare in rounds, less those of weights that are read
// again.
func (s *rowStep) gain(rows, rounds int) int {
	if s.flops*float64(rows) < s.hiding*float64(s.weights) {
		return s.bytes - 2*s.weights*(rounds-1)
	}
	return s.bytes
}

// rowStep examines a step: it computes rows one by one if its operator does and all
// that it reads and writes, but constants, has n of them.
func (c *compiler) rowStep(st *step, n int) (r rowStep) {
	if st.copy || st.joined || st.dynamic || st.space != 0 || len(st.subs) > 0 || st.op.Rows == nil || st.op.Compile == nil || st.op.Random {
		return r
	}
	r.hiding = hidingFloat
	if c.s.precision != op.FP32 {
		r.hiding = hidingOther
	}
	axes := make([]int, len(st.in))
	for i, id := range st.in {
		axes[i] = op.NoRows
		switch {
		case id < 0:
		case c.plan.slots[id].kind == slotConst:
			r.weights += c.plan.slots[id].size
			if c.plan.slots[id].typ.DType != dtype.Float32 {
				r.hiding = hidingOther
			}
		case !c.hasRows(id, n):
			return r
		default:
			axes[i] = 0
			r.bytes += c.plan.slots[id].size
		}
	}
	for _, id := range st.out {
		if id < 0 {
			continue
		}
		if !c.hasRows(id, n) {
			return r
		}
		r.bytes += c.plan.slots[id].size
	}
	if !slices.Contains(axes, 0) {
		return r
	}
	out, ok := st.op.Rows(st.node, axes)
	if !ok || slices.ContainsFunc(out, func(axis int) bool { return axis != 0 }) {
		return r
	}
	if !c.rowByRow(st) {
		return r
	}
	if st.op.Flops != nil {
		r.flops = st.op.Flops(c.factsOf(st.in), c.factsOf(st.out)) / float64(n)
	}
	r.fits = true
	return r
}

// rowByRow reports whether a step gives one row of its outputs for one row of its inputs.
// It doesn't where a constant holds the number of rows, as the sizes of Resize do.
func (c *compiler) rowByRow(st *step) bool {
	one := &step{rows: 1}
	in := c.factsOf(st.in)
	for i, f := range in {
		in[i] = one.ofRound(f)
	}
	inf := &op.Infer{Node: st.node, In: in, Out: make([]op.Fact, len(st.out))}
	if err := st.op.InferOutputs(inf); err != nil {
		return false
	}
	for i, f := range c.factsOf(st.out) {
		if f.Present && !inf.Out[i].Shape.Equal(one.ofRound(f).Shape) {
			return false
		}
	}
	return true
}

// hasRows reports whether a slot is n rows of whole bytes, one after the other, in all of
// the memory that it shares.
func (c *compiler) hasRows(id, n int) bool {
	s := &c.plan.slots[id]
	root := &c.plan.slots[s.root]
	return s.kind != slotDynamic && root.kind != slotConst && root.kind != slotDynamic && len(s.shape) > 0 && s.shape[0] == n &&
		s.typ.DType.Bits() >= 8 && s.typ.DType != dtype.String && s.offset == 0 && s.size == root.size && s.size > 0
}

// ofRound cuts a fact of all rows to those of a round of a step.
func (st *step) ofRound(f op.Fact) op.Fact {
	if st.rows > 0 && f.Const == nil && f.Present {
		f.Shape = slices.Concat(shape.Of(st.rows), f.Shape[1:])
		f.Content = nil
	}
	return f
}

// dropStretch is for when a step turns out to have no kernel. It gives the steps that
// are to be compiled for all rows.
func (c *compiler) dropStretch() []*step {
	s := c.plan.stretch
	steps := slices.Clone(c.plan.steps[s.first:s.end])
	for _, st := range steps {
		st.rows, st.kernel, st.prep = 0, nil, nil
	}
	c.plan.stretch = nil
	return steps
}

// layoutLane places what the lanes hold and adds their memory to the arena: what only
// the stretch uses, and the steps' working memory. lives are those of all slots.
func (c *compiler) layoutLane(lives []plan.Buffer) {
	p, s := c.plan, c.plan.stretch
	seen := map[int]bool{}
	for _, st := range p.steps[s.first:s.end] {
		for _, id := range slices.Concat(st.in, st.out) {
			if id < 0 || seen[id] || p.slots[id].kind == slotConst {
				continue
			}
			seen[id] = true
			root := p.slots[id].root
			l := &lives[root]
			if p.slots[root].kind != slotArena && p.slots[root].kind != slotLane || l.First < s.first || l.Last >= s.end {
				s.outer = append(s.outer, id)
				l.First, l.Last = min(l.First, s.first), max(l.Last, s.end-1) // the last round begins when the others have ended
				continue
			}
			s.inner = append(s.inner, id)
			if p.slots[root].kind == slotArena {
				p.slots[root].kind, p.slots[root].index = slotLane, len(s.arena.buffers)
				s.arena.buffers = append(s.arena.buffers, plan.Buffer{Size: l.Size / s.rounds, First: l.First, Last: l.Last})
			}
		}
	}
	for i, st := range p.steps[s.first:s.end] {
		if n := scratchOf(st.kernel); n > 0 {
			st.scratch = len(s.arena.buffers)
			s.arena.buffers = append(s.arena.buffers, plan.Buffer{Size: n, First: s.first + i, Last: s.first + i})
		}
	}
	s.arena.layout = plan.Place(s.arena.buffers, nil)
	s.buffer = len(p.arenas[0].buffers)
	p.arenas[0].buffers = append(p.arenas[0].buffers, plan.Buffer{Size: s.lanes * op.Align(s.arena.layout.Total), First: s.first, Last: s.end - 1})
}
