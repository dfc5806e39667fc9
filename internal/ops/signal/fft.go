// Package signal registers Fourier transforms, window functions and the mel
// filter bank.
package signal

import (
	"math"
	"math/bits"
	"math/cmplx"
)

// transform is a discrete Fourier transform of one length, in float64: radix 2
// for powers of two, else Bluestein's algorithm on top of it.
type transform struct {
	n     int
	roots []complex128 // e^(-2πik/n), k < n/2; powers of two only
	chirp []complex128 // Bluestein: e^(-πik²/n)
	inner *transform   // Bluestein's convolution
	conv  []complex128 // the transform of its filter
}

func newTransform(n int) *transform {
	t := &transform{n: n}
	if n&(n-1) == 0 {
		t.roots = make([]complex128, n/2)
		for k := range t.roots {
			t.roots[k] = cmplx.Rect(1, -2*math.Pi*float64(k)/float64(n))
		}
		return t
	}
	m := 1 << bits.Len(uint(2*n-2))
	t.inner, t.chirp, t.conv = newTransform(m), make([]complex128, n), make([]complex128, m)
	for k := range n {
		// k² mod 2n keeps the angle small and hence exact.
		t.chirp[k] = cmplx.Rect(1, -math.Pi*float64(k*k%(2*n))/float64(n))
		t.conv[k] = cmplx.Conj(t.chirp[k])
		if k > 0 {
			t.conv[m-k] = t.conv[k]
		}
	}
	t.inner.forward(t.conv)
	return t
}

// forward transforms x, of length n, in place.
func (t *transform) forward(x []complex128) {
	if t.inner == nil {
		t.radix2(x)
		return
	}
	y := make([]complex128, t.inner.n)
	for k, v := range x {
		y[k] = v * t.chirp[k]
	}
	t.inner.forward(y)
	for k := range y {
		y[k] *= t.conv[k]
	}
	t.inner.inverse(y)
	for k := range x {
		x[k] = y[k] * t.chirp[k]
	}
}

// inverse is the inverse transform, scaled by 1/n.
func (t *transform) inverse(x []complex128) {
	for k, v := range x {
		x[k] = cmplx.Conj(v)
	}
	t.forward(x)
	scale := complex(1/float64(max(t.n, 1)), 0)
	for k, v := range x {
		x[k] = cmplx.Conj(v) * scale
	}
}

func (t *transform) radix2(x []complex128) {
	n := len(x)
	if n < 2 {
		return
	}
	shift := 64 - bits.Len(uint(n-1))
	for i := range x {
		if j := int(bits.Reverse64(uint64(i)) >> shift); j > i {
			x[i], x[j] = x[j], x[i]
		}
	}
	for half := 1; half < n; half *= 2 {
		step := n / (2 * half)
		for start := 0; start < n; start += 2 * half {
			for k := range half {
				a, b := x[start+k], x[start+k+half]*t.roots[k*step]
				x[start+k], x[start+k+half] = a+b, a-b
			}
		}
	}
}
