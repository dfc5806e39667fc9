package exec

import (
	"github.com/salver-ml/salver/internal/plan"
)

// bindOutputs lets each graph output own the memory that its value is computed
// into, where it can: the others are copied at the end of a run.
func (c *compiler) bindOutputs() {
	for i, o := range c.s.graph.Outputs {
		id := c.in(o.Value)
		s := c.plan.slots[id]
		root := &c.plan.slots[s.root]
		out := output{slot: id, copied: true}
		if root.kind == slotArena && root.size == s.size {
			root.kind, root.index = slotOutput, i
			out.copied = false
		} else if root.kind == slotDynamic && s.root == id && !c.isBound(id) {
			out.copied = false
		}
		c.plan.outputs = append(c.plan.outputs, out)
	}
}

func (c *compiler) isBound(id int) bool {
	for _, o := range c.plan.outputs {
		if o.slot == id {
			return true
		}
	}
	return false
}

// layout finds the lives of all arena buffers and places them.
func (c *compiler) layout() {
	p := c.plan
	last := make([]int, len(p.slots))
	first := make([]int, len(p.slots))
	for i := range first {
		first[i] = -1
	}
	touch := func(id, at int) {
		if id < 0 {
			return
		}
		r := p.slots[id].root
		if first[r] < 0 {
			first[r] = at
		}
		last[r] = max(last[r], at)
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
	for i := range p.slots {
		s := &p.slots[i]
		if s.kind == slotArena {
			s.index = len(p.buffers)
			p.buffers = append(p.buffers, plan.Buffer{Size: s.size, First: first[i], Last: last[i]})
		}
	}
	p.layout = plan.Place(p.buffers, c.s.placed)
	c.s.placed = p.layout.Order
}
