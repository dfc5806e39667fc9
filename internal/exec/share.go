package exec

import (
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/plan"
	"github.com/salver-ml/salver/internal/tensor"
)

// view makes outputs of operators that only rename bytes, or cut them, share
// input 0's; such a step disappears.
func (c *compiler) view(st *step) (did bool, err error) {
	begins, ok := c.begins(st)
	if !ok {
		return false, nil
	}
	src := c.plan.slots[st.in[0]]
	for i, id := range st.out {
		dst := &c.plan.slots[id]
		if dst.kind != slotArena || begins[i] < 0 || begins[i]+dst.size > src.size {
			return false, nil
		}
	}
	for i, id := range st.out {
		dst := &c.plan.slots[id]
		if src.kind != slotConst {
			c.share(id, src.root, src.offset+begins[i])
			continue
		}
		if err := c.s.weights.pin(src.tensor); err != nil {
			return false, err
		}
		dst.kind = slotConst
		dst.tensor = dst.part(src.tensor, begins[i])
	}
	return true, nil
}

// part gives the slot's tensor in the memory of another.
func (s *slot) part(of *tensor.Tensor, begin int) *tensor.Tensor {
	return &tensor.Tensor{DType: s.typ.DType, Shape: s.shape, Data: of.Data[begin:][:s.size]}
}

// minPart is the least part of a tensor, as a divisor, that is worth being a
// view: a small one would keep all of it alive.
const minPart = 2

// begins gives the byte at which each output begins in input 0.
func (c *compiler) begins(st *step) ([]int, bool) {
	if len(st.in) == 0 || st.in[0] < 0 || len(st.out) == 0 {
		return nil, false
	}
	src := &c.plan.slots[st.in[0]]
	if src.shape == nil || src.typ.DType == dtype.String || src.kind == slotDynamic {
		return nil, false
	}
	for _, id := range st.out {
		if id < 0 || c.plan.slots[id].shape == nil {
			return nil, false
		}
	}
	if st.op.View {
		return make([]int, len(st.out)), len(st.out) == 1 && src.size == c.plan.slots[st.out[0]].size
	}
	if st.op.Parts == nil || src.typ.DType.Bits() < 8 || len(st.out) == 1 && c.plan.slots[st.out[0]].size < src.size/minPart {
		return nil, false
	}
	begins, ok := st.op.Parts(st.node, c.factsOf(st.in), c.factsOf(st.out))
	for i := range begins {
		begins[i] *= src.typ.DType.Bits() / 8
	}
	return begins, ok
}

func (c *compiler) factsOf(ids []int) []op.Fact { return c.plan.facts(ids) }

// share makes a slot a view of a root slot's memory.
func (c *compiler) share(id, root, offset int) {
	s := &c.plan.slots[id]
	s.kind, s.root, s.offset = slotView, root, offset
	c.shares[root] = append(c.shares[root], id)
	c.live[root] = append(c.readable(root), id)
}

// readable lists the slots in a root slot's memory whose contents are still there.
func (c *compiler) readable(root int) []int {
	if live, ok := c.live[root]; ok {
		return live
	}
	return []int{root}
}

// inPlace lets output 0 take over the buffer of an input that nothing reads
// afterwards.
func (c *compiler) inPlace(st *step) {
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
		c.share(st.out[0], src.root, 0)
		c.live[src.root] = []int{st.out[0]} // what was there is overwritten
		st.over = i
		return
	}
}

// readAgain reports whether any value in the memory of a root slot is read by a
// node other than st, or through another input of st, or is a graph output.
func (c *compiler) readAgain(root int, st *step) bool {
	reads := 0
	for _, id := range c.readable(root) {
		s := &c.plan.slots[id]
		if s.value.IsOutput() {
			return true
		}
		for _, u := range s.value.Uses() {
			switch {
			case u.Node == st.node:
				reads++
			case !c.done[u.Node]:
				return true
			}
		}
	}
	return reads != 1
}

// maxJoins bounds the steps for which join compares memory.
const maxJoins = 128

// join lets the inputs of steps that only put them together be computed in
// their places in the output, where the plan needs no more memory for it.
func (c *compiler) join() {
	tried := 0
	var lives []plan.Buffer
	for at, st := range c.plan.steps {
		begins, ok := c.joins(st)
		if !ok {
			continue
		}
		if tried++; tried > maxJoins {
			return
		}
		if lives == nil {
			lives = c.lives()
		}
		out := st.out[0]
		if slices.ContainsFunc(st.in, func(id int) bool { return lives[c.plan.slots[id].root].Last > at }) {
			continue // what is done to it later, in place too, must not be done to the output
		}
		joint := lives[out]
		before := plan.Bound(lives)
		kept := make([]plan.Buffer, len(st.in))
		for i, id := range st.in {
			life := &lives[c.plan.slots[id].root]
			kept[i] = *life
			joint.First = min(joint.First, life.First)
			joint.Last = max(joint.Last, life.Last)
			life.Size = 0
		}
		own := lives[out]
		if lives[out] = joint; plan.Bound(lives) > before {
			lives[out] = own
			for i, id := range st.in {
				lives[c.plan.slots[id].root] = kept[i]
			}
			continue
		}
		c.plan.steps[at].joined, c.plan.slots[out].joint = true, true
		for i, id := range st.in {
			c.moveInto(id, out, begins[i])
		}
	}
}

// joins gives the byte at which each input of a step has to lie in output 0, if
// all of them can.
func (c *compiler) joins(st *step) ([]int, bool) {
	if st.copy || st.dynamic || st.op.Joins == nil || len(st.out) != 1 || st.out[0] < 0 {
		return nil, false
	}
	dst := &c.plan.slots[st.out[0]]
	if dst.root != st.out[0] || dst.kind != slotArena && dst.kind != slotOutput || dst.typ.DType.Bits() < 8 {
		return nil, false
	}
	seen := map[int]bool{}
	for _, id := range st.in {
		if id < 0 || seen[c.plan.slots[id].root] {
			return nil, false
		}
		s := &c.plan.slots[id]
		root := &c.plan.slots[s.root]
		if root.kind != slotArena || root.size != s.size {
			return nil, false
		}
		seen[s.root] = true
	}
	begins, ok := st.op.Joins(st.node, c.factsOf(st.in), c.factsOf(st.out))
	for i := range begins {
		begins[i] *= dst.typ.DType.Bits() / 8
	}
	return begins, ok
}

// moveInto makes the memory that slot id lies in a part of another slot's.
func (c *compiler) moveInto(id, out, begin int) {
	root := c.plan.slots[id].root
	moved := append([]int{root}, c.shares[root]...)
	delete(c.shares, root)
	for _, m := range moved {
		c.share(m, out, begin+c.plan.slots[m].offset)
	}
}
