package elemwise

import (
	"fmt"
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/split"
)

// axisSplit cuts a tensor into chunks, and chunks into runs of one scale, or of elements
// each of which has its own.
type axisSplit struct {
	n, channels, inner, parts int
	block, blocks             int         // a scale for so many along the axis, so many of them; 0: one for each channel
	rooms                     [][]float32 // of the chunks, where elements have scales of their own
}

// ownMost is how many elements with scales of their own are computed at once, ownLeast from how many it pays.
const ownMost, ownLeast = 512, 8

func newAxisSplit(shape []int, axis, block int) (axisSplit, error) {
	a := axisSplit{n: 1, channels: 1, inner: 1, block: block}
	if axis >= len(shape) {
		return a, fmt.Errorf("axis %d of a tensor of rank %d", axis, len(shape))
	}
	for i, d := range shape {
		a.n *= d
		if axis >= 0 && i > axis {
			a.inner *= d
		}
	}
	if axis < 0 {
		a.inner, a.block = a.n, 0
	} else {
		a.channels = shape[axis]
	}
	if a.block > 0 {
		a.blocks = (a.channels + block - 1) / block
	}
	a.parts = split.Parts(a.n, grain)
	if a.own(0, a.n) > 0 {
		for range a.parts {
			a.rooms = append(a.rooms, make([]float32, ownMost))
		}
	}
	return a, nil
}

func (a *axisSplit) part(i int) (lo, hi int) { return split.Aligned(a.n, 64, a.parts, i) }

// run is the scale of the element at pos, and how many elements up to hi share it, or have those
// that follow it.
func (a *axisSplit) run(pos, hi int) (scale, n int) {
	row := pos / a.inner
	switch {
	case a.block == 0:
		return row % a.channels, min(hi, (row+1)*a.inner) - pos
	case a.inner == 1:
		o, c := pos/a.channels, pos%a.channels
		b := c / a.block
		return o*a.blocks + b, min(hi-pos, min((b+1)*a.block, a.channels)-c)
	}
	o, c := row/a.channels, row%a.channels
	i := pos % a.inner
	return (o*a.blocks+c/a.block)*a.inner + i, min(hi-pos, a.inner-i)
}

// own is how many elements from pos on have scales of their own, which follow each other; 0 if they
// share one, or there are few.
func (a *axisSplit) own(pos, hi int) int {
	switch {
	case a.block > 0 && a.inner > 1:
		_, n := a.run(pos, hi)
		return min(n, ownMost)
	case a.block == 0 && a.inner == 1 && a.channels >= ownLeast:
		return min(hi-pos, a.channels-pos%a.channels, ownMost)
	}
	return 0
}

// scalesAt are those of n elements, and the bytes of their zero points, if there are any.
func (a *axisSplit) scalesAt(pos, n, size int, scale []float32, zero []byte) ([]float32, []byte) {
	at, _ := a.run(pos, pos+n)
	if len(zero) > 0 {
		zero = zero[at*size:][:n*size]
	}
	return scale[at:][:n], zero
}

// each quantizes n elements from pos on, each with its own scale.
func (q *Quantize) each(part, pos, n int) {
	src, quotients := q.src[pos:pos+n], q.rooms[part][:n]
	scale, zero := q.scalesAt(pos, n, q.size, q.scale, q.zero)
	current().binary[Div](quotients, src, scale, 1, 1)
	dst := q.dst[pos*q.size:]
	for i := 0; i < n; {
		z, j := intAt(q.to, zero, i), i+1
		if len(zero) == 0 {
			j = n
		}
		for j < n && intAt(q.to, zero, j) == z {
			j++
		}
		q.row(unsafe.Pointer(&dst[i*q.size]), quotients[i:j], 1, float32(z))
		i = j
	}
}

// each dequantizes n elements from pos on, each with its own scale. Differences from
// zero points are exact in float32 too.
func (q *Dequantize) each(part, pos, n int) {
	dst, zeros := q.dst[pos:pos+n], q.rooms[part][:n]
	scale, zero := q.scalesAt(pos, n, q.size, q.scale, q.zero)
	q.row(dst, unsafe.Pointer(&q.src[pos*q.size]), 1, 0)
	k := current()
	if len(zero) > 0 {
		q.row(zeros, unsafe.Pointer(&zero[0]), 1, 0)
		k.binary[Sub](dst, dst, zeros, 1, 1)
	}
	k.binary[Mul](dst, dst, scale, 1, 1)
}
