package exec

import (
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/mmap"
)

// Inputs whose shapes are new in every run, as the past of a decoder is that grows by a
// token, need a plan for each. Much of it is as in the plan before: types that don't
// follow from what changed are not inferred again, and kernels that would be compiled
// from the same are taken over, with the arena, from a frame of that plan that is idle.

// leastHeirs is the least part of the steps, as a divisor, for which a frame of another
// plan is taken apart: that plan compiles them again if it is wanted once more.
const leastHeirs = 3

// inherit gives steps that are as in another plan the kernels of a frame there.
func (c *compiler) inherit(from *Plan, changed map[*ir.Value]bool) {
	if from == nil || from.stretch != nil || c.plan.stretch != nil || len(c.s.providers) > 1 {
		return
	}
	heirs := make([]int, 0, len(c.plan.steps)) // pairs of steps, here and there
	at := 0
	for i, st := range c.plan.steps {
		// Both plans have their steps in the graph's order, not all of them the same.
		for j := at; j < len(from.steps) && j < at+mostSkipped; j++ {
			if from.steps[j].node == st.node {
				if at = j + 1; c.unchanged(st, from, j, changed) {
					heirs = append(heirs, i, j)
				}
				break
			}
		}
	}
	if len(heirs)/2 < len(c.plan.steps)/leastHeirs {
		return
	}
	f := from.takeApart()
	if f == nil {
		return
	}
	for h := 0; h < len(heirs); h += 2 {
		st, old := c.plan.steps[heirs[h]], from.steps[heirs[h+1]]
		st.inherited = true
		st.kernel, st.prep, st.precision, st.alone = f.kernels[heirs[h+1]], old.prep, old.precision, old.alone
	}
	c.plan.bequest, f.host = f.host, nil
	f.close()
}

// mostSkipped bounds the search for a step in another plan.
const mostSkipped = 16

// unchanged reports whether a step is compiled from the same as step j of another plan.
func (c *compiler) unchanged(st *step, from *Plan, j int, changed map[*ir.Value]bool) bool {
	old := from.steps[j]
	if st.copy || st.joined || st.dynamic || old.joined || old.dynamic || len(st.subs) > 0 {
		return false
	}
	for i, v := range st.node.In {
		if v == nil {
			continue
		}
		if changed[v] || (c.plan.slots[st.in[i]].kind == slotConst) != (from.slots[old.in[i]].kind == slotConst) {
			return false
		}
	}
	for _, v := range st.node.Out {
		if v != nil && changed[v] {
			return false
		}
	}
	return true
}

// takeApart gives an idle frame that the plan gives up, nil if it has none.
func (p *Plan) takeApart() *frame {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	f := p.idle[n-1]
	p.idle = p.idle[:n-1]
	return f
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

// leastTooLarge is how many bytes more than twice what it needs make an arena too large.
const leastTooLarge = 1 << 20
