package recurrent

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// run is a run in progress.
type run struct {
	states []states // of the directions that run together
	out    []float32
	lens   []int32
	first  int  // the first of these directions
	joined bool // products of states have what the inputs give added as they are stored
	back   bool // the layer's only direction is reverse
	step   int  // where the pieces meet
	phase  int
}

// states is the memory of a direction.
type states struct {
	x        []float32 // products of all inputs by W
	gates    []float32 // of each sequence, which begins a cache line, as in all that follow
	h, next  []float32 // the states before and after the step; the same where nobody else reads them
	c, reset []float32
}

// ScratchBytes holds the states of the directions that run together, and what the
// products of the inputs need.
func (k *kernel) ScratchBytes() int {
	n, bytes := k.floats(), op.FloatBytes(k.gemm)
	return bytes + k.together*op.FloatBytes(n[:]...)
}

// floats is the size of each field of states.
func (k *kernel) floats() [6]int {
	n := k.batch * lines(k.hidden)
	p := [...]int{k.seq * k.batch * k.gates * k.hidden, k.batch * lines(k.gates*k.hidden), n, 0, 0, 0}
	if !k.whole() {
		p[3] = n
	}
	switch {
	case k.name == "LSTM":
		p[4] = n
	case k.resets():
		p[5] = n
	}
	return p
}

// lines rounds floats up to whole cache lines, so that threads that have a sequence each
// do not write to the same ones: that took as long as the sequences one after the other.
func lines(floats int) int { return (floats + 15) &^ 15 }

// Run computes the layer.
func (k *kernel) Run(c *op.Call) error {
	defer k.forget()
	if err := k.begin(c); err != nil {
		return err
	}
	gemmSpace := k.place(c)
	for d := 0; d < k.dirs; d += k.together {
		k.run.first = d
		for i := range k.run.states {
			if err := k.load(c, i, gemmSpace); err != nil {
				return err
			}
		}
		k.steps(c)
		for i := range k.run.states {
			k.store(c, i)
		}
	}
	return nil
}

// begin takes the lengths and the output.
func (k *kernel) begin(c *op.Call) error {
	w := &k.run
	w.back = c.Node.Str("direction") == "reverse"
	if t := c.Input(4); t != nil {
		if w.lens = tensor.Of[int32](t); len(w.lens) != k.batch {
			return fmt.Errorf("sequence_lens is %s, expected %d lengths", t, k.batch)
		}
		for i, n := range w.lens {
			if n < 0 || int(n) > k.seq {
				return fmt.Errorf("sequence_lens has %d for sequence %d, expected 0 to %d", n, i, k.seq)
			}
		}
	}
	w.joined = k.joins()
	if c.Wants(0) {
		w.out = tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...))
		clear(w.out)
	}
	return nil
}

// place hands out the scratch; what is left over is for the products of inputs.
func (k *kernel) place(c *op.Call) []float32 {
	scratch, n := op.Memory(c.Scratch), k.floats()
	if k.run.states == nil {
		k.run.states = make([]states, k.together)
	}
	for i := range k.run.states {
		s := &k.run.states[i]
		for j, p := range []*[]float32{&s.x, &s.gates, &s.h, &s.next, &s.c, &s.reset} {
			*p = scratch.Floats(n[j])
		}
		if k.whole() {
			s.next = s.h
		}
	}
	return scratch.Floats(k.gemm)
}

// forget lets go of memory that may be unmapped before the next run.
func (k *kernel) forget() {
	clear(k.run.states)
	k.run.out, k.run.lens = nil, nil
	for d := range k.dir {
		t := &k.dir[d].x
		t.A.Data, t.C.Data, t.Scratch, k.dir[d].peep = nil, nil, nil, nil
	}
}

// load sets the states of direction i of those that run together, and multiplies
// its inputs.
func (k *kernel) load(c *op.Call, i int, gemmSpace []float32) error {
	s, d := &k.run.states[i], k.run.first+i
	l := &k.dir[d]
	k.loadState(c, 5, s.h, d)
	if k.name == "LSTM" {
		k.loadState(c, 6, s.c, d)
		if t := c.Input(7); t != nil {
			l.peep = rows(t, d, 3*k.hidden)
		}
	}
	l.x.A.Data, l.x.C.Data, l.x.Scratch = tensor.Of[float32](c.In[0]), s.x, gemmSpace
	return l.x.Run(c.Pool)
}

// loadState and storeState move the states of direction d from and to the layout
// of the tensors.
func (k *kernel) loadState(c *op.Call, i int, state []float32, d int) {
	t := c.Input(i)
	if t == nil {
		clear(state)
		return
	}
	for b := range k.batch {
		copy(state[b*lines(k.hidden):][:k.hidden], tensor.Of[float32](t)[k.stateAt(d, b):])
	}
}

func (k *kernel) store(c *op.Call, i int) {
	s := &k.run.states[i]
	k.storeState(c, 1, s.h, k.run.first+i)
	if k.name == "LSTM" {
		k.storeState(c, 2, s.c, k.run.first+i)
	}
}

func (k *kernel) storeState(c *op.Call, i int, state []float32, d int) {
	if !c.Wants(i) {
		return
	}
	out := tensor.Of[float32](c.Output(i, dtype.Float32, k.states...))
	for b := range k.batch {
		copy(out[k.stateAt(d, b):], state[b*lines(k.hidden):][:k.hidden])
	}
}

// steps runs all steps of the directions that run together.
func (k *kernel) steps(c *op.Call) {
	if k.whole() {
		c.Pool.Run(len(k.pieces), (*sequences)(k))
		return
	}
	w := &k.run
	for w.step = range k.seq {
		for w.phase = range k.phases() {
			c.Pool.Run(len(k.pieces), (*oneStep)(k))
		}
		for i := range w.states {
			s := &w.states[i]
			s.h, s.next = s.next, s.h
		}
	}
}

// sequences is a kernel whose pieces run all steps.
type sequences kernel

// Do runs piece i.
func (s *sequences) Do(i int) {
	k := (*kernel)(s)
	for step := range k.seq {
		for phase := range k.phases() {
			k.advance(&k.pieces[i], step, phase)
		}
	}
}

// oneStep is a kernel whose pieces run one phase of a step.
type oneStep kernel

// Do runs piece i.
func (s *oneStep) Do(i int) {
	k := (*kernel)(s)
	k.advance(&k.pieces[i], k.run.step, k.run.phase)
}

// time is when sequence b does its step i; false if it is over.
func (k *kernel) time(direction, b, i int) (int, bool) {
	length := k.seq
	if k.run.lens != nil {
		length = int(k.run.lens[b])
	}
	if direction == 1 || k.run.back {
		return length - 1 - i, i < length
	}
	return i, i < length
}
