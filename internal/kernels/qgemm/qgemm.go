// Package qgemm multiplies matrices of 8-bit integers, exactly:
//
//	C[m,n] = Σ (A[m,k] - zeroA[m]) · (B[k,n] - zeroB[n])   modulo 2³²
//
// for signed and unsigned A and B in any combination, with the same bits at
// every instruction-set level: neither VPDPBUSD nor VPMADDWD saturates, and
// VPMADDUBSW, which does, is used for a B that is clipped so that it can't (clip.go says how). Where
// too much would be clipped, sums of A's and B's numbers are multiplied with AVX2, by
// Winograd's rule for inner products (package qconv says how). C is int32, or float32 after
//
//	float32(C) · (rowScale[m] · colScale[n]) + bias[n], activation
//
// each operation rounded, and then with a residual and through Post, or 8 bits after that and saturate(round(x) + zero).
//
// The kernels multiply unsigned A by signed B. Other kinds are shifted by 128,
// and the zero points with them; what they contribute is, with a' and b' the
// shifted operands,
//
//	zeroA·(K·zeroB - Σb') - zeroB·Σa'
//
// where Σb' is known when B is packed. It is where the sums start from.
package qgemm

import (
	"errors"
	"fmt"

	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/pool"
)

// A Matrix is a view of row-major bytes. Element (i, j) of batch item (x, y, …)
// is at x·Steps[0] + y·Steps[1] + … + i·Stride + j.
type Matrix struct {
	Data   []byte
	Signed bool  // int8, else uint8
	Stride int   // elements from one stored row to the next
	Trans  bool  // stored transposed: (i, j) is at j·Stride + i; only for PackB
	Steps  []int // elements between batch items, per dimension of Batch; nil: all share the matrix
}

// An Output is where C goes: exactly one of Int, Float and Byte is set.
type Output struct {
	Int    []int32
	Float  []float32
	Byte   []byte
	Signed bool  // Byte is int8, else uint8
	Zero   int32 // zero point of Byte
	Stride int
	Steps  []int
}

// kinds is how many of the slices are set.
func (o *Output) kinds() (n int) {
	for _, set := range []bool{o.Int != nil, o.Float != nil, o.Byte != nil} {
		if set {
			n++
		}
	}
	return n
}

// limits are the least and the largest number that Byte holds, less Zero.
func (o *Output) limits() (lo, hi float32) {
	if o.Signed {
		return float32(-128 - o.Zero), float32(127 - o.Zero)
	}
	return float32(-o.Zero), float32(255 - o.Zero)
}

// Dequant is how C becomes floating point. For bytes the scales have the output's
// as a divisor.
type Dequant struct {
	RowScale []float32 // one, or M elements; nil stands for 1
	ColScale []float32 // one, or N elements; nil stands for 1
	ColBias  []float32 // N elements, or nil
	Clip     bool      // min(max(x, Lo), Hi)
	Lo, Hi   float32
}

// A Product says what to compute: a product of matrices, or a batch of them.
type Product struct {
	M, N, K int
	Batch   []int
	A       Matrix
	ZeroA   []int32 // one, or M elements, the same for all items; nil stands for 0
	Packed  *Packed // B with its zero points
	Steps   []int   // packed items between batch items
	C       Output
	Dequant

	// Of a floating-point C: Residual, where there is one, has rows of N numbers and is
	// added before Post. There is no batch then and no Clip.
	Residual       []float32
	ResidualStride int

	// Functions of finished pieces of rows of a floating-point C, of which kernels of tiles
	// do all but Post themselves. Post comes after a residual; Range is the range of the
	// results and 0, which goes to Task.Least and Most. Gelu says that Post
	// is x·Φ(x): kernels of tiles, and those for VNNI, compute that themselves, within
	// 3e-7 of itself or of 1.
	Post  func(row []float32)
	Range func(row []float32) (lo, hi float32)
	Gelu  bool
}

// A Task is a product that is prepared once and run often. Its fields may be
// changed between runs. A Task is used by one goroutine at a time.
type Task struct {
	Product
	Tuning Tuning

	Least, Most float32 // of C and 0, after a Run with Range

	// Scratch is at least ScratchSize bytes that nothing else uses during Run.
	// With too little, Run allocates and keeps its own.
	Scratch []byte

	plan   plan
	slots  tiling.Slots
	spaces []workspace
	own    []byte
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
	t.plan = t.newPlan(p.Threads())
	t.slots.Reset(t.plan.slots)
	if len(t.spaces) < t.plan.slots {
		t.spaces = make([]workspace, t.plan.slots)
	}
	if need := t.plan.scratch(); len(t.Scratch) < need && len(t.own) < need {
		t.own = make([]byte, need)
	}
	for i := range t.spaces {
		t.spaces[i].least, t.spaces[i].most = 0, 0
	}
	p.RunFromEnds(t.plan.grid.Chunks(), (*chunkTask)(t))
	t.Least, t.Most = 0, 0
	for i := range t.spaces {
		t.Least, t.Most = min(t.Least, t.spaces[i].least), max(t.Most, t.spaces[i].most)
	}
	return nil
}

// ScratchSize is how many bytes of Scratch a Run on so many threads uses. It
// depends on Packed and sizes, not on other data.
func (t *Task) ScratchSize(threads int) int {
	if t.M == 0 || t.N == 0 || t.items() == 0 {
		return 0
	}
	p := t.newPlan(threads)
	return p.scratch()
}

func (t *Product) items() int { return tiling.Batch(t.Batch).Items() }

// Check reports what doesn't fit together.
func (t *Product) Check() error {
	if t.M < 0 || t.N < 0 || t.K < 0 {
		return fmt.Errorf("qgemm: sizes M=%d N=%d K=%d: none may be negative", t.M, t.N, t.K)
	}
	batch := tiling.Batch(t.Batch)
	if err := batch.Check(); err != nil {
		return fmt.Errorf("qgemm: %w", err)
	}
	if t.A.Trans {
		return fmt.Errorf("qgemm: A can't be transposed")
	}
	if err := batch.CheckMatrix(len(t.A.Data), t.M, t.K, t.A.Stride, t.A.Steps); err != nil {
		return fmt.Errorf("qgemm: A: %w", err)
	}
	if err := t.checkPacked(batch); err != nil {
		return err
	}
	if n := t.C.kinds(); n != 1 && t.M > 0 && t.N > 0 {
		return fmt.Errorf("qgemm: C needs one of Int, Float and Byte, got %d of them", n)
	}
	if t.C.Float == nil && t.M > 0 && t.N > 0 && (t.Post != nil || t.Range != nil || t.Residual != nil) {
		return fmt.Errorf("qgemm: Post, Range and Residual are for a floating-point C")
	}
	if err := t.checkResidual(); err != nil {
		return err
	}
	if lo, hi := t.C.limits(); t.C.Byte != nil && (lo > 0 || hi < 0) {
		return fmt.Errorf("qgemm: C has zero point %d, which is not one of its numbers", t.C.Zero)
	}
	if err := batch.CheckMatrix(len(t.C.Int)+len(t.C.Float)+len(t.C.Byte), t.M, t.N, t.C.Stride, t.C.Steps); err != nil {
		return fmt.Errorf("qgemm: C: %w", err)
	}
	for _, v := range []struct {
		name       string
		got, whole int
		one        bool
	}{
		{"zero points of A", len(t.ZeroA), t.M, true},
		{"row scales", len(t.RowScale), t.M, true},
		{"column scales", len(t.ColScale), t.N, true},
		{"column bias", len(t.ColBias), t.N, false},
	} {
		if v.got != 0 && v.got != v.whole && !(v.one && v.got == 1) {
			return fmt.Errorf("qgemm: %d %s for a product of %d×%d", v.got, v.name, t.M, t.N)
		}
	}
	return nil
}

func (t *Product) checkResidual() error {
	if t.Residual == nil {
		return nil
	}
	if t.Clip || t.items() != 1 {
		return fmt.Errorf("qgemm: with a residual there may be neither a batch nor Clip")
	}
	if err := tiling.Batch(nil).CheckMatrix(len(t.Residual), t.M, t.N, t.ResidualStride, nil); err != nil {
		return fmt.Errorf("qgemm: residual: %w", err)
	}
	return nil
}

func (t *Product) checkPacked(batch tiling.Batch) error {
	p := t.Packed
	if p == nil {
		return fmt.Errorf("qgemm: B is not packed")
	}
	if p.k != t.K || p.n != t.N {
		return fmt.Errorf("qgemm: B was packed as %d×%d, this product needs %d×%d", p.k, p.n, t.K, t.N)
	}
	last, err := batch.Last(t.Steps)
	if err != nil {
		return fmt.Errorf("qgemm: B: %w", err)
	}
	if last >= p.items {
		return fmt.Errorf("qgemm: batch %v with steps %v reaches packed item %d of %d", t.Batch, t.Steps, last, p.items)
	}
	return nil
}
