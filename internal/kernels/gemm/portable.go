package gemm

import (
	"math/bits"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
)

// The portable kernels are the specification of the others. Each product is
// rounded before it is added (float32(a*b) keeps Go from fusing).

const portableColumns = 16

var portable = kernels{
	level: cpu.Generic, mr: 4, nr: portableColumns, masksB: true,
	tile:    [maxRows + 1]kernel{1: portableTile, 2: portableTile, 3: portableTile, 4: portableTile},
	partial: [maxRows + 1]kernel{1: portableTile, 2: portableTile, 3: portableTile, 4: portableTile},
	dot:     portableDot,
}

// floats views n elements at p.
func floats(p unsafe.Pointer, n int) []float32 { return unsafe.Slice((*float32)(p), n) }

func portableTile(arg *byte) {
	t := (*tile)(unsafe.Pointer(arg))
	cols := bits.Len64(t.mask)
	for t.panel = range t.panels {
		for i := range t.rows {
			t.portableRow(i, cols)
		}
	}
}

// portableRow computes a row of the panel in work.
func (t *tile) portableRow(i, cols int) {
	var a []float32
	if t.k > 0 { // without any A may be nil
		a = floats(unsafe.Add(t.a, i*t.lda), t.k)
	}
	c := floats(t.columns(t.c, i*t.ldc), cols)
	var sums [64]float32 // apart from c, which the residual may be
	s := sums[:cols]
	if t.flags&flagLoad != 0 {
		copy(s, c)
	}
	j := 0
	for ; j+4 <= cols; j += 4 {
		t.portableSum4(a, j, s[j:j+4])
	}
	for ; j < cols; j++ {
		t.portableSum(a, j, &s[j])
	}
	if t.flags&^flagLoad != 0 {
		t.portableEpilogue(i, s)
	}
	copy(c, s)
}

// columns is where the columns of the panel in work begin, more bytes further on.
func (t *tile) columns(p unsafe.Pointer, more int) unsafe.Pointer {
	return unsafe.Add(p, more+4*t.panel*portableColumns)
}

func (t *tile) portableSum(a []float32, j int, c *float32) {
	s := *c
	for k, x := range a {
		s = float32(x**(*float32)(unsafe.Add(t.b, t.panel*t.step+k*t.ldb+4*j))) + s
	}
	*c = s
}

// portableSum4 is portableSum for four columns, which is faster.
func (t *tile) portableSum4(a []float32, j int, c []float32) {
	s0, s1, s2, s3 := c[0], c[1], c[2], c[3]
	for k, x := range a {
		row := (*[4]float32)(unsafe.Add(t.b, t.panel*t.step+k*t.ldb+4*j))
		s0 = float32(x*row[0]) + s0
		s1 = float32(x*row[1]) + s1
		s2 = float32(x*row[2]) + s2
		s3 = float32(x*row[3]) + s3
	}
	c[0], c[1], c[2], c[3] = s0, s1, s2, s3
}

// portableEpilogue finishes row i of the tile.
func (t *tile) portableEpilogue(i int, c []float32) {
	if t.flags&flagAlpha != 0 {
		for j := range c {
			c[j] = float32(c[j] * t.alpha)
		}
	}
	if t.flags&flagColBias != 0 {
		for j, b := range floats(t.columns(t.colBias, 0), len(c)) {
			c[j] += b
		}
	}
	if t.flags&flagRowBias != 0 {
		b := floats(t.rowBias, i+1)[i]
		for j := range c {
			c[j] += b
		}
	}
	if t.flags&flagResidual != 0 {
		for j, r := range floats(t.columns(t.residual, i*t.ldr), len(c)) {
			c[j] += float32(t.beta * r)
		}
	}
	if t.flags&flagLeaky != 0 {
		for j, x := range c {
			c[j] = leaky(x, t.slope)
		}
	}
	if t.flags&flagClip != 0 {
		for j, x := range c {
			c[j] = clip(x, t.lo, t.hi)
		}
	}
}
