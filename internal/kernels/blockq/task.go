package blockq

import (
	"fmt"

	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/pool"
)

// A Product says what to compute.
type Product struct {
	M, N, K  int
	X        []float32
	StrideX  int // elements from row to row
	Packed   *Packed
	Y        []float32
	StrideY  int
	Bias     []float32 // N elements, or nil
	Residual []float32 // M×N, or nil; may be Y itself
	StrideR  int
	Prompt   bool // rows are tokens of prompts, which may have an arithmetic of their own
}

// A Task is a product that is prepared once and run often. Its fields may be
// changed between runs. A Task is used by one goroutine at a time.
type Task struct {
	Product

	// Scratch is at least ScratchSize bytes that nothing else uses during Run.
	// With too little, Run allocates and keeps its own.
	Scratch []byte

	plan   plan
	cuts   []int // where its parts begin, if they are tapered
	rows   inputRows
	slots  tiling.Slots
	spaces []workspace
	work   []byte // of all slots
	own    []byte
}

// Run computes Y on the pool's threads. An error means that sizes, strides and
// slices don't fit together, and that nothing was computed.
func (t *Task) Run(p *pool.Pool) error {
	if err := t.Check(); err != nil {
		return err
	}
	if t.M == 0 {
		return nil
	}
	t.follow(t.newPlan(p.Threads()))
	t.slots.Reset(t.plan.slots)
	if len(t.spaces) < t.plan.slots {
		t.spaces = make([]workspace, t.plan.slots)
	}
	need := t.plan.scratch()
	scratch := t.Scratch
	if len(scratch) < need {
		if len(t.own) < need {
			t.own = make([]byte, need)
		}
		scratch = t.own
	}
	if t.plan.layout != nil {
		t.prepareRows(scratch, p)
		scratch = scratch[t.plan.rowBytes:]
	}
	t.work = aligned(scratch)
	p.Run(t.chunks(), (*chunkTask)(t))
	t.work, t.rows.data = nil, nil
	if t.Packed.rows != nil {
		t.Packed.read.Store(true)
	}
	return nil
}

// prepareRows brings X into the form that the kernels take.
func (t *Task) prepareRows(dst []byte, p *pool.Pool) {
	if t.plan.prompt {
		t.rows.round(dst, t.X, t.M, t.K, t.StrideX, p)
		return
	}
	t.rows.quantize(dst, t.Packed.layout, t.X, t.M, t.K, t.StrideX, p)
}

// ScratchSize is how many bytes of Scratch a Run on so many threads uses. It
// depends on sizes.
func (t *Task) ScratchSize(threads int) int {
	if t.M == 0 {
		return 0
	}
	p := t.newPlan(threads)
	return p.scratch()
}

// Check reports what doesn't fit together.
func (t *Product) Check() error {
	p := t.Packed
	switch {
	case p == nil:
		return fmt.Errorf("blockq: W is not packed")
	case t.M < 0 || p.n != t.N || p.k != t.K:
		return fmt.Errorf("blockq: W was packed as %d rows of %d, this product is M=%d N=%d K=%d", p.n, p.k, t.M, t.N, t.K)
	case t.Bias != nil && len(t.Bias) != t.N:
		return fmt.Errorf("blockq: bias has %d elements, expected N = %d", len(t.Bias), t.N)
	}
	one := tiling.Batch(nil)
	if err := one.CheckMatrix(len(t.X), t.M, t.K, t.StrideX, nil); err != nil {
		return fmt.Errorf("blockq: X: %w", err)
	}
	if err := one.CheckMatrix(len(t.Y), t.M, t.N, t.StrideY, nil); err != nil {
		return fmt.Errorf("blockq: Y: %w", err)
	}
	if t.Residual == nil {
		return nil
	}
	if err := one.CheckMatrix(len(t.Residual), t.M, t.N, t.StrideR, nil); err != nil {
		return fmt.Errorf("blockq: residual: %w", err)
	}
	return nil
}
