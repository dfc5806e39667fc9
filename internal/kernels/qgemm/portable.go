package qgemm

import (
	"math"
	"math/bits"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
)

const portableCols = 16

// portable is the specification of the other kernels.
var portable = kernels{
	level: cpu.Generic, mr: 4, nr: portableCols, group: 2, align: 2, wide: true,
	tile:    [tileRows + 1]kernel{1: portableTile, 2: portableTile, 3: portableTile, 4: portableTile},
	partial: [tileRows + 1]kernel{1: portableTile, 2: portableTile, 3: portableTile, 4: portableTile},
	narrow:  portableNarrow,
}

// view is n elements at p.
func view[T any](p unsafe.Pointer, n int) []T { return unsafe.Slice((*T)(p), n) }

func portableTile(arg *byte) {
	t := (*tile)(unsafe.Pointer(arg))
	for panel := range t.panels {
		here := *t
		here.b = unsafe.Add(t.b, panel*t.step)
		for _, p := range []*unsafe.Pointer{&here.c, &here.colBias, &here.colScale, &here.colSum, &here.colZero, &here.residual} {
			if *p != nil {
				*p = unsafe.Add(*p, panel*4*portableCols)
			}
		}
		here.multiply()
	}
}

// multiply computes one tile.
func (t *tile) multiply() {
	cols := bits.Len64(t.mask)
	for i := range t.rows {
		var s [portableCols]int32
		t.start(i, s[:cols])
		t.sum(i, &s)
		c := unsafe.Add(t.c, i*t.ldc)
		if t.flags&flagFloat == 0 {
			copy(view[int32](c, cols), s[:])
			continue
		}
		out := view[float32](c, cols)
		for j := range out {
			out[j] = t.float(i, j, s[j])
		}
	}
}

// start is what the zero points contribute.
func (t *tile) start(i int, s []int32) {
	if t.flags&flagColSum != 0 {
		zero := view[int32](t.rowZero, i+1)[i]
		for j, v := range view[int32](t.colSum, len(s)) {
			s[j] += v * zero
		}
	}
	if t.flags&flagColZero != 0 {
		sum := view[int32](t.rowSum, i+1)[i]
		for j, v := range view[int32](t.colZero, len(s)) {
			s[j] += v * sum
		}
	}
}

// sum adds the products of row i, group by group.
func (t *tile) sum(i int, s *[portableCols]int32) {
	for g, a := range view[[2]int16](unsafe.Add(t.a, i*t.lda), t.k) {
		a0, a1 := int32(a[0])+128, int32(a[1])+128
		b := (*[32]int8)(unsafe.Add(t.b, g*32))
		for j := range s {
			s[j] += a0*int32(b[2*j]) + a1*int32(b[2*j+1])
		}
	}
}

// float is an element in floating point.
func (t *tile) float(i, j int, sum int32) float32 {
	scale := view[float32](t.rowScale, i+1)[i]
	if t.flags&flagColScale != 0 {
		scale = float32(scale * view[float32](t.colScale, j+1)[j])
	}
	x := float32(float32(sum) * scale)
	if t.flags&flagColBias != 0 {
		x += view[float32](t.colBias, j+1)[j]
	}
	if t.flags&flagResidual != 0 {
		x += view[float32](unsafe.Add(t.residual, i*t.ldr), j+1)[j]
	}
	if t.flags&flagClip != 0 {
		if x < t.lo {
			x = t.lo
		}
		if x > t.hi {
			x = t.hi
		}
	}
	return x
}

// portableNarrow is for kernels with 16 columns.
func portableNarrow(dst *byte, stride int, src *float32, rows int, mask uint64, lo, hi float32, zero int32) {
	cols := bits.Len64(mask)
	for i := range rows {
		d := view[byte](unsafe.Add(unsafe.Pointer(dst), i*stride), cols)
		for j, x := range view[float32](unsafe.Add(unsafe.Pointer(src), i*16*4), cols) {
			if !(x >= lo) { // or NaN
				x = lo
			}
			if x > hi {
				x = hi
			}
			d[j] = byte(int32(math.RoundToEven(float64(x))) + zero)
		}
	}
}
