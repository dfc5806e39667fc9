package exec

import (
	"slices"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/plan"
	"github.com/salver-ml/salver/internal/tensor"
)

// Inputs whose shapes are new in every run, as the past of a decoder is that grows by a
// token, would need a plan for each. The plan made last moves on to such shapes instead,
// with its frame: what follows from a size that is another one is made anew, all else
// stays. Where a plan for the new shapes would be built otherwise, as where two values
// can't share memory any more, one is made from nothing.

// movable gives the plan that may move on to shapes that are new, nil if none may.
func (s *Session) movable() *Plan {
	p := s.newest
	if p == nil || p.users > 0 || p.stays || p.stretch != nil || len(s.providers) > 1 || !slices.Contains(s.plans, p) {
		return nil
	}
	return p
}

// cameBack reports whether a plan has moved on from the inputs' shapes. Those that come
// back, as those of a server's requests do, get plans that stay.
func (s *Session) cameBack(inputs []*tensor.Tensor) bool {
	i := slices.IndexFunc(s.left, func(k planKey) bool { return k.fits(inputs) })
	if i >= 0 {
		s.left = slices.Delete(s.left, i, i+1)
	}
	return i >= 0
}

// leave takes a plan that moves on out of the list, and remembers the shapes that it had.
func (s *Session) leave(p *Plan) {
	s.plans = slices.DeleteFunc(s.plans, func(q *Plan) bool { return q == p })
	if len(s.left) >= s.maxPlans {
		s.left = slices.Delete(s.left, 0, 1)
	}
	s.left = append(s.left, p.key)
}

// move is a plan that moves on. The compiler has the facts for which it is to be one.
type move struct {
	*compiler
	moved []bool // slots: of another type or with other contents than before
	steps []int  // that read or make such, in order
}

// move makes c's plan one for c's facts; changed are the values whose facts are not those
// of before. If it can't be, the plan is of no use any more.
func (c *compiler) move(changed map[*ir.Value]bool) (ok bool, err error) {
	m := &move{compiler: c, moved: make([]bool, len(c.plan.slots))}
	if !m.retype(changed) || !m.reshare() || m.mayStretch() {
		return false, nil
	}
	w := &compilation{compiler: c}
	for i, st := range c.plan.steps {
		if !m.touches(st) {
			continue
		}
		m.steps = append(m.steps, i)
		c.plan.setWork(st)
		if !st.joined && !st.dynamic && len(st.subs) == 0 {
			st.kernel, st.prep, st.packed, st.precision, st.alone = nil, nil, 0, op.FP32, false
			w.steps = append(w.steps, st)
		}
	}
	if err := w.run(); err != nil {
		return false, err
	}
	fits := m.resize()
	if !fits {
		a := &c.plan.arenas[0]
		a.layout = plan.Place(a.buffers, c.s.placed[0])
		c.s.placed[0] = a.layout.Order
	}
	c.plan.pool = c.s.poolFor(c.plan)
	f := c.plan.onlyIdle()
	switch {
	case f == nil:
	case fits:
		err = m.refit(f)
		c.plan.idle = append(c.plan.idle, f)
	default:
		m.dissolve(f)
	}
	return err == nil, err
}

// retype gives the slots their new types and sizes. It is false where a size or contents
// are known now that were not, or the other way round.
func (m *move) retype(changed map[*ir.Value]bool) bool {
	for i := range m.plan.slots {
		s := &m.plan.slots[i]
		if !changed[s.value] {
			continue
		}
		was := s.typ
		s.typ, m.moved[i] = m.facts.Get(s.value), true
		dims, known := fixed(s.typ)
		if known != (s.shape != nil) || (was.Const == nil) != (s.typ.Const == nil) {
			return false
		}
		if known {
			s.shape, s.size = dims, s.typ.DType.Bytes(tensor.Count(dims))
		}
		if s.kind == slotConst {
			s.tensor = s.typ.Const // reshare makes those of views
		}
	}
	return true
}

// reshare checks that slots which share memory still can, in the same places.
func (m *move) reshare() bool {
	p := m.plan
	for _, st := range p.views {
		if !m.touches(st) {
			continue
		}
		begins, ok := m.begins(st)
		if !ok {
			return false
		}
		src := &p.slots[st.in[0]]
		for i, id := range st.out {
			dst := &p.slots[id]
			if begins[i] < 0 || begins[i]+dst.size > src.size || src.kind != slotConst && dst.offset != src.offset+begins[i] {
				return false
			}
			if src.kind == slotConst {
				dst.tensor, m.moved[id] = dst.part(src.tensor, begins[i]), true
			}
		}
	}
	for _, st := range p.steps {
		switch {
		case !m.touches(st):
		case st.joined:
			return false
		case st.over >= 0:
			dst, src := &p.slots[st.out[0]], &p.slots[st.in[st.over]]
			if src.size != dst.size || p.slots[dst.root].size != dst.size {
				return false
			}
		}
	}
	for i := range p.slots {
		if m.moved[i] && p.slots[p.slots[i].root].joint {
			return false
		}
	}
	return !slices.ContainsFunc(p.outputs, func(o output) bool {
		s := &p.slots[o.slot]
		return !o.copied && s.kind != slotDynamic && s.size != p.slots[s.root].size
	})
}

// touches reports whether a step reads or makes a slot that has moved.
func (m *move) touches(st *step) bool {
	for _, ids := range [...][]int{st.in, st.out} {
		for _, id := range ids {
			if id >= 0 && m.moved[id] {
				return true
			}
		}
	}
	return false
}

// mayStretch reports whether the batch has become so large that a stretch is worth a look.
func (m *move) mayStretch() bool {
	most := m.s.pool.Threads() * cpu.Cache().L2 / 2
	return m.batch() > 1 && slices.ContainsFunc(m.plan.slots, func(s slot) bool { return s.kind != slotConst && s.size > most })
}

// resize gives buffers the sizes that they need now, and some more for shapes to come. It
// is true if all fit into what they had.
func (m *move) resize() bool {
	a := &m.plan.arenas[0]
	fits, need, has := true, 0, 0
	each := func(do func(b *plan.Buffer, n int)) {
		for i := range m.plan.slots {
			if s := &m.plan.slots[i]; m.moved[i] && s.kind == slotArena {
				do(&a.buffers[s.index], s.size)
			}
		}
		for _, i := range m.steps {
			st := m.plan.steps[i]
			n := scratchOf(st.kernel)
			if st.scratch < 0 && n > 0 {
				st.scratch = len(a.buffers)
				a.buffers = append(a.buffers, plan.Buffer{First: i, Last: i})
			}
			if st.scratch >= 0 {
				do(&a.buffers[st.scratch], n)
			}
		}
	}
	each(func(b *plan.Buffer, n int) {
		need, has = need+n, has+b.Size
		fits = fits && n <= b.Size
	})
	if fits && has <= 2*need+leastTooLarge {
		return true
	}
	each(func(b *plan.Buffer, n int) {
		if b.Size = n; m.s.maxMemory == 0 {
			b.Size += n/8 + min(n, roomToGrow)
		}
	})
	return false
}

const (
	roomToGrow    = 2 << 10 // bytes more for a small buffer: so many steps of a decoder need no other layout
	leastTooLarge = 1 << 20 // bytes more than twice what is needed that make buffers too large
)

// scratchOf is how much working memory a kernel asks for.
func scratchOf(k op.Kernel) int {
	if s, ok := k.(op.Scratcher); ok {
		return s.ScratchBytes()
	}
	return 0
}

// onlyIdle takes an idle frame out of the plan, which loses the others; nil if there is none.
func (p *Plan) onlyIdle() *frame {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	for _, f := range p.idle[1:] {
		f.close()
	}
	f := p.idle[0]
	clear(p.idle)
	p.idle = p.idle[:0]
	return f
}

// refit gives a frame the kernels and tensors of what has moved, and the plan's pool,
// which may be another one as the work is more or less.
func (m *move) refit(f *frame) error {
	for i, moved := range m.moved {
		if moved {
			f.makeTensor(i)
		}
	}
	for _, i := range m.steps {
		if err := f.prepare(i); err != nil {
			return err
		}
	}
	for i := range f.calls {
		f.setPool(i)
	}
	return nil
}

// dissolve leaves a frame's memory and its kernels, but those that are compiled anew, to
// the next frame.
func (m *move) dissolve(f *frame) {
	p := m.plan
	for i, st := range p.steps {
		if _, anew := slices.BinarySearch(m.steps, i); st.kernel == nil && !anew {
			st.kernel = f.kernels[i]
		}
	}
	p.bequest, f.host = f.host, nil
	f.close()
}

// inherited gives the memory that the plan has for its first frame, if it is of use, and
// otherwise how much more than it needs to ask for, so that plans to come can use that.
func (p *Plan) inherited() (b *mmap.Buffer, more int) {
	p.mu.Lock()
	b, p.bequest = p.bequest, nil
	p.mu.Unlock()
	if b == nil {
		return nil, 0
	}
	need, has := p.arenas[0].layout.Total, len(b.Bytes())
	if need <= has && has <= 2*need+leastTooLarge {
		return b, 0
	}
	b.Free()
	if need > has && p.session.maxMemory == 0 {
		more = need / 8
	}
	return nil, more
}
