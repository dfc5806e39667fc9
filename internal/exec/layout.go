package exec

import "github.com/salver-ml/salver/internal/plan"

// bindOutputs lets each graph output own the memory that its value is computed
// into, where it can: the others are copied at the end of a run.
func (c *compiler) bindOutputs() error {
	bound := map[int]bool{}
	for i, o := range c.s.graph.Outputs {
		id, err := c.in(o.Value, 0)
		if err != nil {
			return err
		}
		s := c.plan.slots[id]
		root := &c.plan.slots[s.root]
		out := output{slot: id, copied: true}
		switch {
		case root.kind == slotArena && root.size == s.size:
			root.kind, root.index = slotOutput, i
			out.copied = false
		case root.kind == slotDynamic && s.root == id && !bound[id]:
			out.copied = false
		case s.kind == slotConst && s.tensor != nil:
			if err := c.s.weights.pin(s.tensor); err != nil {
				return err
			}
		}
		bound[id] = true
		c.plan.outputs = append(c.plan.outputs, out)
	}
	return nil
}

// lives gives, for each slot that owns memory in the arena or an output, its
// size and the first and last step that use it or a view of it.
func (c *compiler) lives() []plan.Buffer {
	p := c.plan
	lives := make([]plan.Buffer, len(p.slots))
	for i := range lives {
		lives[i].First = -1
		if s := &p.slots[i]; s.kind == slotArena {
			lives[i].Size = s.size
		}
	}
	touch := func(id, at int) {
		if id < 0 {
			return
		}
		l := &lives[p.slots[id].root]
		if l.First < 0 {
			l.First = at
		}
		l.Last = max(l.Last, at)
	}
	for at, st := range p.steps {
		for _, id := range st.in {
			touch(id, at)
		}
		for _, id := range st.out {
			touch(id, at)
		}
		for _, sub := range st.subs {
			for _, id := range sub.captures {
				touch(id, at)
			}
		}
	}
	for _, o := range p.outputs {
		touch(o.slot, len(p.steps))
	}
	return lives
}

// layout places all arena buffers, and finds where computed tensors are read last.
func (c *compiler) layout() {
	p := c.plan
	lives := c.lives()
	p.last = make([][]int, len(p.steps))
	for i := range p.slots {
		if l := lives[i]; p.slots[i].kind == slotDynamic && l.First >= 0 && l.Last < len(p.steps) {
			p.last[l.Last] = append(p.last[l.Last], i)
		}
	}
	if p.stretch != nil {
		c.layoutLane(lives)
	}
	for i := range p.slots {
		s := &p.slots[i]
		if s.kind != slotArena {
			continue
		}
		a := &p.arenas[s.space]
		s.index = len(a.buffers)
		a.buffers = append(a.buffers, lives[i])
	}
	for i := range p.arenas {
		a := &p.arenas[i]
		a.layout = plan.Place(a.buffers, c.s.placed[i])
		c.s.placed[i] = a.layout.Order
	}
}

// bindings lists the slots that point at the caller's memory in each run: those
// that own it before their views; and those whose tensors come from the run.
func (c *compiler) bindings() {
	p := c.plan
	var views []int
	for i := range p.slots {
		switch s := &p.slots[i]; s.kind {
		case slotInput, slotOutput:
			p.bound = append(p.bound, i)
		case slotDynamic:
			p.computed = append(p.computed, i)
		case slotView:
			if root := p.slots[s.root].kind; root == slotInput || root == slotOutput {
				views = append(views, i)
			}
		}
	}
	p.bound = append(p.bound, views...)
}
