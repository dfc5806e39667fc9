package bgemm

import (
	"fmt"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/kernels/mma"
	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/kernels/transpose"
)

// Packed is a constant B, rounded to bfloat16, in the order that package mma
// reads it.
type Packed struct {
	level       cpu.Target
	k, n, items int
	data        []byte
}

// PackedSize is the number of bytes that PackB needs for items matrices of K×N.
func PackedSize(k, n, items int) int { return items * itemSize(k, n) }

func itemSize(k, n int) int {
	return tiling.Ceil(k, mma.StepBF16) * tiling.Ceil(n, mma.Cols) * mma.StepB
}

// PackB packs K×N matrices into dst, which has PackedSize bytes; aligned to a
// cache line and in huge pages is best. Item i of items is step·i elements into b.
func PackB(dst []byte, b gemm.Matrix, k, n, items, step int) error {
	if k < 0 || n < 0 || items < 0 || step < 0 {
		return fmt.Errorf("bgemm: packing %d items of %d×%d, step %d: none may be negative", items, k, n, step)
	}
	rows, cols := k, n
	if b.Trans {
		rows, cols = n, k
	}
	batch := tiling.Batch{items}
	if err := batch.CheckMatrix(len(b.Data), rows, cols, b.Stride, []int{step}); err != nil {
		return fmt.Errorf("bgemm: B: %w", err)
	}
	if need := PackedSize(k, n, items); len(dst) != need {
		return fmt.Errorf("bgemm: packing %d items of %d×%d needs %d bytes, got %d", items, k, n, need, len(dst))
	}
	kern := mma.For(cpu.Level())
	turned := make([]uint16, turnedSize)
	for i := range items {
		for j := 0; j < n; j += mma.Cols {
			packPanel(kern, panelOf(dst, k, n, i, j/mma.Cols), &b, i*step, k, j, min(mma.Cols, n-j), turned)
		}
	}
	return nil
}

// Prepacked views data that PackB has filled.
func Prepacked(data []byte, k, n, items int) (*Packed, error) {
	if need := PackedSize(k, n, items); len(data) < need {
		return nil, fmt.Errorf("bgemm: %d packed items of %d×%d have %d bytes, got %d", items, k, n, need, len(data))
	}
	return &Packed{level: cpu.Level(), k: k, n: n, items: items, data: data}, nil
}

// panelOf is a panel of an item, as numbers.
func panelOf(data []byte, k, n, item, panel int) []uint16 {
	steps := tiling.Ceil(k, mma.StepBF16)
	if steps == 0 {
		return nil
	}
	size := steps * mma.StepB
	p := data[item*itemSize(k, n)+panel*size:][:size]
	return unsafe.Slice((*uint16)(unsafe.Pointer(&p[0])), size/2)
}

// packPanel packs n columns from j. Where B is transposed, turned is room for
// turnedSize numbers.
func packPanel(kern *mma.Kernels, dst []uint16, b *gemm.Matrix, off, k, j, n int, turned []uint16) {
	if k == 0 {
		return
	}
	if b.Trans {
		packTransposed(kern, dst, b.Data[off+j*b.Stride:], b.Stride, k, n, turned)
		return
	}
	src := b.Data[off+j:]
	kern.Pairs(dst, src, b.Stride, k/2, n)
	rest := dst[k/2*2*mma.Cols:]
	clear(rest)
	if k%2 == 1 {
		for c, x := range src[(k-1)*b.Stride:][:n] {
			rest[2*c] = mma.Round(x)
		}
	}
}

// turnedK is how many numbers of a column are turned at once, turnedSize that of all
// columns of a panel.
const (
	turnedK    = 64
	turnedSize = mma.Cols * turnedK
)

// packTransposed packs n columns that are rows of src. Rounded, they are rows of pairs
// of numbers, which a panel has as columns.
func packTransposed(kern *mma.Kernels, dst []uint16, src []float32, stride, k, n int, turned []uint16) {
	clearRest(dst, k, n)
	for at := 0; at < k; at += turnedK {
		m := min(turnedK, k-at)
		for c := range n {
			kern.Round(turned[c*turnedK:][:m], src[c*stride+at:][:m])
		}
		turn(dst[at*mma.Cols:], turned, m, n)
	}
}

// clearRest clears a panel if n columns and k numbers do not fill it.
func clearRest(dst []uint16, k, n int) {
	if n < mma.Cols || k%mma.StepBF16 != 0 {
		clear(dst)
	}
}

// turn makes columns of n rows of k numbers.
func turn(dst, rows []uint16, k, n int) {
	if k%2 == 1 {
		for c := range n {
			rows[c*turnedK+k] = 0
		}
	}
	transpose.Tile32(pairsOf(dst), pairsOf(rows), mma.Cols, turnedK/2, n, tiling.Ceil(k, 2))
}

// packHalves packs n columns from j of a B of bfloat16.
func packHalves(dst []uint16, b *gemm.Matrix, from []uint16, k, j, n int, turned []uint16) {
	clearRest(dst, k, n)
	if b.Trans {
		for at := 0; at < k; at += turnedK {
			m := min(turnedK, k-at)
			for c := range n {
				copy(turned[c*turnedK:][:m], from[(j+c)*b.Stride+at:])
			}
			turn(dst[at*mma.Cols:], turned, m, n)
		}
		return
	}
	for i := range k / 2 {
		interleave(dst[2*i*mma.Cols:], from[2*i*b.Stride+j:][:n], from[(2*i+1)*b.Stride+j:][:n])
	}
	if k%2 == 1 {
		for c, x := range from[(k-1)*b.Stride+j:][:n] {
			dst[(k-1)*mma.Cols+2*c] = x
		}
	}
}

// interleave makes pairs of the numbers of two rows.
func interleave(dst, even, odd []uint16) {
	dst, odd = dst[:2*len(even)], odd[:len(even)]
	for c, x := range even {
		dst[2*c], dst[2*c+1] = x, odd[c]
	}
}

// pairsOf views pairs of numbers as what package transpose moves.
func pairsOf(s []uint16) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(s))), len(s)/2)
}
