// Package bgemm multiplies float32 matrices in bfloat16: C = act(alpha·A·B +
// bias + beta·R), as package gemm does, with A and B rounded to bfloat16 first.
//
// # Arithmetic
//
// K is filled up with zeros to a multiple of 32. The sum over k is that of
// package mma: in float32, even and odd k apart within each 32, from +0. What
// follows is in float32, each operation rounded: times alpha, plus the column's
// bias, plus the row's bias, plus beta·R, the activation. So a bit of C depends on
// its row of A, its column of B, and K alone.
//
// # How it is fast
//
// Weights are packed once, as bfloat16. A, and B where it changes from run to
// run, are rounded into scratch memory by a first sweep, unless A is bfloat16
// already. Then panels of 32 columns meet all row tiles that the second cache holds.
// While tiles add up a row tile, the one before goes through the epilogue in the
// vector units, and the panel after is fetched from memory.
package bgemm

import (
	"fmt"

	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/pool"
)

// A Task is a product that is prepared once and run often. Its fields may be
// changed between runs. A Task is used by one goroutine at a time.
type Task struct {
	gemm.Product         // Product.Packed is nil
	Weights      *Packed // instead of B.Data; B.Steps then counts packed items

	// HalfA and HalfC say that A and C are stored in bfloat16: in A16 and C16 instead
	// of A.Data and C.Data, with the strides and steps of A and C. C is then rounded
	// last. An A so stored isn't transposed, and its B is packed.
	HalfA, HalfC bool
	A16, C16     []uint16

	// Gelu says that x·Φ(x) follows, to 3e-4 of itself or of 0.01, with HalfC and no Post.
	Gelu bool

	// Scratch is at least ScratchSize bytes that nothing else uses during Run.
	// With too little, Run allocates and keeps its own.
	Scratch []byte

	plan   plan
	slots  tiling.Slots
	spaces []workspace
	own    []byte
	memory []byte // Scratch or own, on a cache line
}

// Run computes C on the pool's threads. An error means that sizes, strides and
// slices don't fit together, and that nothing was computed.
func (t *Task) Run(p *pool.Pool) error {
	if err := t.Check(); err != nil {
		return err
	}
	if t.M == 0 || t.N == 0 || t.items() == 0 {
		return nil
	}
	t.prepare(p.Threads())
	p.RunFromEnds(t.plan.rounds, (*roundTask)(t))
	p.RunFromEnds(t.plan.grid.Chunks(), (*chunkTask)(t))
	t.memory = nil
	return nil
}

// ScratchSize is how many bytes of Scratch a Run on so many threads uses. It
// depends on sizes and layout.
func (t *Task) ScratchSize(threads int) int {
	if t.M == 0 || t.N == 0 || t.items() == 0 {
		return 0
	}
	p := t.newPlan(threads)
	return p.scratch()
}

func (t *Task) items() int { return tiling.Batch(t.Batch).Items() }

// Check reports what doesn't fit together.
func (t *Task) Check() error {
	if t.Gelu && (t.Post != nil || !t.HalfC) {
		return fmt.Errorf("bgemm: Gelu is for results of bfloat16 without Post")
	}
	if t.HalfA && (t.A.Trans || t.Weights == nil) {
		return fmt.Errorf("bgemm: with A in bfloat16 it can't be transposed (it is: %v), and B must be packed (it is: %v)", t.A.Trans, t.Weights != nil)
	}
	a, c := len(t.A.Data), len(t.C.Data)
	if t.HalfA {
		a = len(t.A16)
	}
	if t.HalfC {
		c = len(t.C16)
	}
	if err := t.CheckAllButB(a, c); err != nil {
		return err
	}
	if t.Weights == nil {
		return t.CheckB()
	}
	p := t.Weights
	if p.k != t.K || p.n != t.N {
		return fmt.Errorf("bgemm: B was packed as %d×%d, this product needs %d×%d", p.k, p.n, t.K, t.N)
	}
	last, err := tiling.Batch(t.Batch).Last(t.B.Steps)
	if err != nil {
		return fmt.Errorf("bgemm: B: %w", err)
	}
	if last >= p.items {
		return fmt.Errorf("bgemm: batch %v with steps %v reaches packed item %d of %d", t.Batch, t.B.Steps, last, p.items)
	}
	return nil
}

// prepare sets plan, slots and scratch for the sizes of now.
func (t *Task) prepare(threads int) {
	t.plan = t.newPlan(threads)
	t.slots.Reset(t.plan.slots)
	if len(t.spaces) < t.plan.slots {
		t.spaces = make([]workspace, t.plan.slots)
	}
	need := t.plan.scratch()
	t.memory = t.Scratch
	if len(t.memory) < need {
		if len(t.own) < need {
			t.own = make([]byte, need)
		}
		t.memory = t.own
	}
	t.memory = aligned(t.memory)
}
