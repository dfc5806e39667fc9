package bgemm

import (
	"fmt"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/amx"
	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// Packed is a constant B, rounded to bfloat16, in the order that package amx
// reads it.
type Packed struct {
	level       cpu.Target
	k, n, items int
	data        []byte
}

// PackedSize is the number of bytes that PackB needs for items matrices of K×N.
func PackedSize(k, n, items int) int { return items * itemSize(k, n) }

func itemSize(k, n int) int {
	return tiling.Ceil(k, amx.StepBF16) * tiling.Ceil(n, amx.Cols) * amx.StepB
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
	kern := amx.For(cpu.Level())
	row := make([]uint16, k)
	for i := range items {
		for j := 0; j < n; j += amx.Cols {
			packPanel(kern, panelOf(dst, k, n, i, j/amx.Cols), &b, i*step, k, j, min(amx.Cols, n-j), row)
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
	steps := tiling.Ceil(k, amx.StepBF16)
	if steps == 0 {
		return nil
	}
	size := steps * amx.StepB
	p := data[item*itemSize(k, n)+panel*size:][:size]
	return unsafe.Slice((*uint16)(unsafe.Pointer(&p[0])), size/2)
}

// packPanel packs n columns from j. Where B is transposed, row is room for a column.
func packPanel(kern *amx.Kernels, dst []uint16, b *gemm.Matrix, off, k, j, n int, row []uint16) {
	if k == 0 {
		return
	}
	if b.Trans {
		packTransposed(kern, dst, b.Data[off+j*b.Stride:], b.Stride, k, n, row)
		return
	}
	src := b.Data[off+j:]
	kern.Pairs(dst, src, b.Stride, k/2, n)
	rest := dst[k/2*2*amx.Cols:]
	clear(rest)
	if k%2 == 1 {
		for c, x := range src[(k-1)*b.Stride:][:n] {
			rest[2*c] = amx.Round(x)
		}
	}
}

// packTransposed packs n columns that are rows of src.
func packTransposed(kern *amx.Kernels, dst []uint16, src []float32, stride, k, n int, row []uint16) {
	if n < amx.Cols || k%amx.StepBF16 != 0 {
		clear(dst)
	}
	row = row[:k]
	for c := range n {
		kern.Round(row, src[c*stride:][:k])
		to := dst[2*c:]
		for i := 0; i+1 < k; i += 2 {
			to[0], to[1] = row[i], row[i+1]
			to = to[min(2*amx.Cols, len(to)):]
		}
		if k%2 == 1 {
			to[0] = row[k-1]
		}
	}
}
