// Package gemm multiplies float32 matrices: C = act(alpha·A·B + bias + beta·R).
//
// # Arithmetic
//
// Each element of C is one chain of multiply-adds over k = 0 … K-1 in order,
// starting from +0:
//
//	s = fma(a[k], b[k], s)
//
// and then, in this order and each rounded: times alpha, plus the column's
// bias, plus the row's bias, plus beta·R (the product rounded first), the
// activation. Blocks of K continue the chain, so neither M nor blocks, tiles,
// batch or threads change a bit. At level generic the multiplication rounds
// before the addition; all levels with FMA give the same bits.
//
// Where N is 1 the chain is not in order: element k goes to partial sum k mod
// 64, and the 64 sums are added as a tree (see dot.go).
package gemm

import (
	"errors"
	"fmt"

	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/pool"
)

// A Matrix is a view of row-major elements. Element (i, j) of batch item
// (x, y, …) is at x·Steps[0] + y·Steps[1] + … + i·Stride + j.
type Matrix struct {
	Data   []float32
	Stride int   // elements from one stored row to the next
	Trans  bool  // stored transposed: (i, j) is at j·Stride + i; for A and B
	Steps  []int // elements between batch items, per dimension of Task.Batch; nil: all share the matrix
}

// A Vector is a bias: element i of a batch item is at its steps' sum + i.
type Vector struct {
	Data  []float32
	Steps []int
}

// Activation is what the kernels can apply to elements in registers.
type Activation uint8

const (
	None      Activation = iota
	ReLU                 // max(x, 0)
	Clip                 // min(max(x, Lo), Hi)
	LeakyReLU            // x, or x·Slope where the sign bit is set
)

// An Epilogue is what is done to an element after the sum over K.
type Epilogue struct {
	Alpha    float32 // 0 stands for 1
	ColBias  Vector  // N elements, or no Data
	RowBias  Vector  // M elements, or no Data
	Residual Matrix  // R, M×N, or no Data; may be C itself
	Beta     float32 // 0 stands for 1
	Act      Activation
	Lo, Hi   float32 // of Clip
	Slope    float32 // of LeakyReLU

	// Post, if not nil, is applied last, to runs of finished elements while
	// they are in cache. It must treat each element alike wherever it lies in x.
	Post func(x []float32)
}

// A Product says what to compute: a product of matrices, or a batch of them.
type Product struct {
	M, N, K int
	Batch   []int // dimensions of the batch; nil: a single product
	A       Matrix
	B       Matrix
	Packed  *Packed // instead of B.Data; B.Steps then counts packed items
	C       Matrix
	Epilogue
}

// A Task is a product that is prepared once and run often. Its fields may be
// changed between runs; a change of sizes costs a new plan but allocates nothing
// unless the number of threads grows. A Task is used by one goroutine at a time.
type Task struct {
	Product
	Tuning Tuning

	// Scratch is at least ScratchSize elements that nothing else uses during
	// Run. With too little, Run allocates and keeps its own.
	Scratch []float32

	plan   plan
	slots  tiling.Slots
	spaces []workspace
	own    []float32
}

// Run computes C on the pool's threads. An error means that sizes, strides and
// slices don't fit together, and that nothing was computed.
func (t *Task) Run(p *pool.Pool) error {
	if err := errors.Join(t.Check(), t.Tuning.check()); err != nil {
		return err
	}
	if t.M == 0 || t.N == 0 || t.items() == 0 {
		return nil
	}
	t.prepare(p.Threads())
	p.RunFromEnds(t.plan.grid.Chunks(), (*chunkTask)(t))
	return nil
}

// ScratchSize is how many elements of Scratch a Run on so many threads uses at
// most. It depends on sizes and strides, not on Data; where the residual has a
// stride it may be C.
func (t *Task) ScratchSize(threads int) int {
	if t.M == 0 || t.N == 0 || t.items() == 0 {
		return 0
	}
	key := t.key(threads)
	most := 0
	for _, key.inPlace = range []bool{false, t.Residual.Stride > 0} {
		p := newPlan(key)
		most = max(most, p.scratch())
	}
	return most
}

// items is the number of products.
func (t *Product) items() int { return tiling.Batch(t.Batch).Items() }

// prepare sets plan, slots and scratch for the sizes of now.
func (t *Task) prepare(threads int) {
	if key := t.key(threads); key != t.plan.planKey {
		t.plan = newPlan(key)
	}
	t.slots.Reset(t.plan.slots)
	if len(t.spaces) < t.plan.slots {
		t.spaces = make([]workspace, t.plan.slots)
	}
	for i := range t.spaces {
		t.spaces[i].warm = false
	}
	if need := t.plan.scratch(); len(t.Scratch) < need && len(t.own) < need {
		t.own = make([]float32, need)
	}
}

// scratchOf is the memory of one slot.
func (t *Task) scratchOf(slot int) []float32 {
	s := t.Scratch
	if len(s) < t.plan.scratch() {
		s = t.own
	}
	if t.plan.perSlot == 0 {
		return nil
	}
	s = s[alignment(s):]
	return s[slot*t.plan.perSlot : (slot+1)*t.plan.perSlot]
}

// Check reports what doesn't fit together.
func (t *Product) Check() error {
	if err := t.CheckAllButB(len(t.A.Data), len(t.C.Data)); err != nil {
		return err
	}
	return t.CheckB()
}

// CheckAllButB is Check for those who have B in a form of their own, and A and C
// perhaps elsewhere, with so many elements.
func (t *Product) CheckAllButB(a, c int) error {
	if t.M < 0 || t.N < 0 || t.K < 0 {
		return fmt.Errorf("gemm: sizes M=%d N=%d K=%d: none may be negative", t.M, t.N, t.K)
	}
	if err := tiling.Batch(t.Batch).Check(); err != nil {
		return fmt.Errorf("gemm: %w", err)
	}
	if t.C.Trans || t.Residual.Trans {
		return fmt.Errorf("gemm: C and the residual can't be transposed")
	}
	if err := t.checkElements("A", &t.A, a, t.M, t.K); err != nil {
		return err
	}
	if err := t.checkElements("C", &t.C, c, t.M, t.N); err != nil {
		return err
	}
	if t.Residual.Data != nil {
		if err := t.checkMatrix("residual", &t.Residual, t.M, t.N); err != nil {
			return err
		}
	}
	if err := t.checkVector("column bias", &t.ColBias, t.N); err != nil {
		return err
	}
	return t.checkVector("row bias", &t.RowBias, t.M)
}

// CheckB is Check for B alone.
func (t *Product) CheckB() error {
	p := t.Packed
	if p == nil {
		return t.checkMatrix("B", &t.B, t.K, t.N)
	}
	if p.k != t.K || p.n != t.N {
		return fmt.Errorf("gemm: B was packed as %d×%d, this product needs %d×%d", p.k, p.n, t.K, t.N)
	}
	last, err := tiling.Batch(t.Batch).Last(t.B.Steps)
	if err != nil {
		return fmt.Errorf("gemm: B: %w", err)
	}
	if last >= p.items {
		return fmt.Errorf("gemm: batch %v with steps %v reaches packed item %d of %d", t.Batch, t.B.Steps, last, p.items)
	}
	return nil
}

// checkMatrix holds the slice against the last element that is used.
func (t *Product) checkMatrix(name string, m *Matrix, rows, cols int) error {
	return t.checkElements(name, m, len(m.Data), rows, cols)
}

func (t *Product) checkElements(name string, m *Matrix, elements, rows, cols int) error {
	if m.Trans {
		rows, cols = cols, rows
	}
	if err := tiling.Batch(t.Batch).CheckMatrix(elements, rows, cols, m.Stride, m.Steps); err != nil {
		return fmt.Errorf("gemm: %s: %w", name, err)
	}
	return nil
}

func (t *Product) checkVector(name string, v *Vector, n int) error {
	if v.Data == nil {
		return nil
	}
	if err := tiling.Batch(t.Batch).CheckMatrix(len(v.Data), 1, n, n, v.Steps); err != nil {
		return fmt.Errorf("gemm: %s: %w", name, err)
	}
	return nil
}

// offset is where batch item number item begins.
func (t *Product) offset(item int, steps []int) int { return tiling.Batch(t.Batch).Offset(item, steps) }
