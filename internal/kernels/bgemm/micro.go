package bgemm

import (
	"math"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/kernels/mma"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// A Micro multiplies on the calling goroutine, as gemm.Micro does, but rounds
// both operands to bfloat16. Sizes are in elements of float32. It is used by one
// goroutine at a time.
type Micro struct {
	kern   *mma.Kernels
	work   []float32
	block  mma.Block
	finish mma.Finish
	halves []uint16 // rows of A
}

// Use takes the kernels of the level in force.
func (m *Micro) Use() { m.kern = mma.For(cpu.Level()) }

// Rows is the largest number of rows of a Strip.
func (m *Micro) Rows() int { return mma.Rows }

// NeedsPanels is true: B must be packed.
func (m *Micro) NeedsPanels(int) bool { return true }

// PanelSize is the number of elements that Pack writes for K×N.
func (m *Micro) PanelSize(k, n int) int { return itemSize(k, n) / 4 }

// WorkSize is the number of elements that Multiply needs for products with at
// most so many k.
func (m *Micro) WorkSize(k int) int {
	return mma.Rows*rowSize(k)/4 + microGroup*panelSums/4
}

// Work gives WorkSize elements to Multiply, on a cache line.
func (m *Micro) Work(s []float32) { m.work = s }

const (
	microGroup = 4                       // panels that are multiplied by one call
	panelSums  = 4 * mma.Rows * mma.Cols // bytes
)

// Pack copies B, K×N, into panels. b.Steps is ignored. It uses the memory of Work.
func (m *Micro) Pack(dst []float32, b *gemm.Matrix, k, n int) {
	data := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(dst))), itemSize(k, n))
	turned := numbersOf(m.work, turnedSize)
	for j := 0; j < n; j += mma.Cols {
		packPanel(m.kern, panelOf(data, k, n, 0, j/mma.Cols), b, 0, k, j, min(mma.Cols, n-j), turned)
	}
}

// PackHalves is Pack for a B of bfloat16, whose Data is not used.
func (m *Micro) PackHalves(dst []float32, b *gemm.Matrix, from []uint16, k, n int) {
	data := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(dst))), itemSize(k, n))
	turned := numbersOf(m.work, turnedSize)
	for j := 0; j < n; j += mma.Cols {
		packHalves(panelOf(data, k, n, 0, j/mma.Cols), b, from, k, j, min(mma.Cols, n-j), turned)
	}
}

// numbersOf views memory as n numbers.
func numbersOf(s []float32, n int) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(s))), n)
}

// Multiply computes a strip, whose B is packed. Where it continues, the sums begin
// at +0 and are added to C.
func (m *Micro) Multiply(s *gemm.Strip) { m.multiply(s, m.round(s), rowSize(s.K)) }

// MultiplyRounded is Multiply for an A whose rows are bfloat16, in the front of their
// memory, with zeros up to a multiple of 32.
func (m *Micro) MultiplyRounded(s *gemm.Strip) {
	m.multiply(s, unsafe.Pointer(&s.A[0]), 4*s.StrideA)
}

// Sums computes the sums of a strip and nothing of what follows them. Whole panels
// are written, so that rows of C must have room for them.
func (m *Micro) Sums(s *gemm.Strip) {
	b := &m.block
	m.operands(s, m.round(s), rowSize(s.K))
	b.B, b.Panels = at(s.B, 0), tiling.Ceil(s.N, mma.Cols)
	b.C, b.LDC, b.PanelC = at(s.C, 0), 4*s.StrideC, 4*mma.Cols
	m.kern.Contiguous(b, tiling.Ceil(s.K, mma.StepBF16))
	m.block = mma.Block{}
}

// Halves makes the next Multiply or Sums take rows of bfloat16 instead of the strip's A.
func (m *Micro) Halves(a []uint16) { m.halves = a }

// round brings the rows of A to the memory of Work, rounded.
func (m *Micro) round(s *gemm.Strip) unsafe.Pointer {
	row := rowSize(s.K)
	rounded := numbersOf(m.work, s.Rows*row/2)
	for i := range s.Rows {
		dst := rounded[i*row/2:][:row/2]
		if m.halves != nil {
			copy(dst, m.halves[i*s.StrideA:][:s.K])
		} else {
			m.kern.Round(dst[:s.K], s.A[i*s.StrideA:][:s.K])
		}
		clear(dst[s.K:])
	}
	m.halves = nil
	return unsafe.Pointer(&rounded[0])
}

// operands sets rows of bfloat16 and how far they are apart.
func (m *Micro) operands(s *gemm.Strip, a unsafe.Pointer, lda int) {
	m.block.SetRows(s.Rows)
	m.block.A, m.block.LDA = a, lda
}

func (m *Micro) multiply(s *gemm.Strip, a unsafe.Pointer, lda int) {
	sums := m.work[mma.Rows*rowSize(s.K)/4:]
	b := &m.block
	m.operands(s, a, lda)
	b.C, b.LDC, b.PanelC = unsafe.Pointer(&sums[0]), 4*mma.Cols, panelSums
	m.start(s)
	steps := tiling.Ceil(s.K, mma.StepBF16)
	panels := tiling.Ceil(s.N, mma.Cols)
	for j := 0; j < panels; j += microGroup {
		b.B, b.Panels = at(s.B, j*steps*mma.StepB/4), min(microGroup, panels-j)
		m.kern.Contiguous(b, steps)
		m.store(s, sums, j*mma.Cols, min((j+b.Panels)*mma.Cols, s.N))
	}
	// Pointers to memory that may be unmapped must not stay where the collector
	// looks.
	m.block, m.finish = mma.Block{}, mma.Finish{}
}

// start sets what is the same for all columns.
func (m *Micro) start(s *gemm.Strip) {
	f := &m.finish
	f.Rows, f.Alpha, f.Beta = s.Rows, one(s.Alpha), 1
	f.LDC, f.LDR = 4*s.StrideC, 4*s.StrideRes
	f.HalfC, f.HalfR = halfBytes, halfBytes
	if s.Continue {
		f.LDR = f.LDC
		return
	}
	f.RowBias = at(s.RowBias, 0)
	f.Clip, f.Lo, f.Hi = s.AtLeast, s.Lo, float32(math.Inf(1))
}

// store finishes columns of C.
func (m *Micro) store(s *gemm.Strip, sums []float32, from, to int) {
	f := &m.finish
	for j := from; j < to; j += mma.Cols {
		f.Mask = columns(to - j)
		f.Src = at(sums, (j-from)/mma.Cols*panelSums/4)
		f.Dst, f.Residual, f.ColBias = at(s.C, j), at(s.Residual, j), at(s.ColBias, j)
		if s.Continue {
			f.Residual, f.ColBias = f.Dst, nil
		}
		m.kern.Finish(f)
	}
}

// rowSize is the bytes from one rounded row to the next: an odd number of cache
// lines, so that the rows of a tile lie in different sets of the first cache.
func rowSize(k int) int { return (tiling.Ceil(k, mma.StepBF16) | 1) * mma.StepBytes }
