package mma

import (
	"math"
	"unsafe"
)

// A Pixels brings the sums of a panel of a convolution, rows of 32 floats, to
// pixels of two blocks of 16 channels: in this order, each rounded, plus the bias,
// plus the residual, the limits. Residual and results may be of bfloat16 instead of
// float32. With Silu, which needs a bias and results of bfloat16, it is plus the bias,
// x/(1+exp(-x)) within 2e-4 of itself or 1e-36, plus the residual, without limits. No bounds are checked; nothing is read or written of Dst, Residual and
// Bias where Mask has no bit. Dst may be Residual or Src. The assembly knows the
// offsets of the fields.
type Pixels struct {
	Src, Dst     unsafe.Pointer
	Residual     unsafe.Pointer // nil: none
	Bias         unsafe.Pointer // nil: none
	LDC, LDR     int            // bytes from pixel to pixel
	HalfC        int            // bytes from the first block of Dst to the second
	HalfR        int            // the same of Residual
	Rows         int            // at least 1
	Mask         uint64         // bit j: channel j exists
	form         uint64
	Lo, Hi       float32 // infinities where there are no limits
	LDS          int     // bytes from row to row of Src; 0 stands for a panel's
	BF16         bool    // Dst is of bfloat16
	ResidualBF16 bool
	Silu         bool
}

// Bits of Pixels.form.
const (
	formBias = 1 << iota
	formResidual
	formHalfResidual
	formHalf
)

// Pixels does it.
func (k *Kernels) Pixels(p *Pixels) {
	p.form = bit(p.Bias != nil, formBias) | bit(p.Residual != nil, formResidual) |
		bit(p.Residual != nil && p.ResidualBF16, formHalfResidual) | bit(p.BF16, formHalf)
	if p.LDS == 0 {
		p.LDS = 4 * Cols
	}
	if p.Silu {
		k.pixelsSilu((*byte)(unsafe.Pointer(p)))
		return
	}
	k.pixels((*byte)(unsafe.Pointer(p)))
}

func portablePixels(t *byte) {
	p := (*Pixels)(unsafe.Pointer(t))
	for i := range p.Rows {
		for j := range Cols {
			if p.Mask>>j&1 != 0 {
				x := *(*float32)(unsafe.Add(p.Src, i*p.LDS+4*j))
				p.store(i, j, p.element(i, j, x))
			}
		}
	}
}

func (p *Pixels) element(i, j int, x float32) float32 {
	if p.form&formBias != 0 {
		x += *(*float32)(unsafe.Add(p.Bias, 4*j))
	}
	if p.Silu {
		x /= float32(1 + math.Exp(-float64(x)))
	}
	switch at := i*p.LDR + j/16*p.HalfR; p.form & (formResidual | formHalfResidual) {
	case formResidual:
		x += *(*float32)(unsafe.Add(p.Residual, at+j%16*4))
	case formResidual | formHalfResidual:
		x += Widen(*(*uint16)(unsafe.Add(p.Residual, at+j%16*2)))
	}
	if x < p.Lo && !p.Silu {
		x = p.Lo
	}
	if x > p.Hi && !p.Silu {
		x = p.Hi
	}
	return x
}

func (p *Pixels) store(i, j int, x float32) {
	at := unsafe.Add(p.Dst, i*p.LDC+j/16*p.HalfC)
	if p.form&formHalf != 0 {
		*(*uint16)(unsafe.Add(at, j%16*2)) = Round(x)
	} else {
		*(*float32)(unsafe.Add(at, j%16*4)) = x
	}
}

// Widen is the number of a bfloat16.
func Widen(x uint16) float32 { return math.Float32frombits(uint32(x) << 16) }

// Halves joins n pixels, step numbers apart, of two blocks of 16 channels, which lie
// in lo and hi, to pixels of 32; hi may be nil and stands for zeros then.
func (k *Kernels) Halves(dst, lo, hi []uint16, n, step int) {
	if n == 0 {
		return
	}
	_, _ = dst[32*n-1], lo[(n-1)*step+15]
	var second *uint16
	if hi != nil {
		_ = hi[(n-1)*step+15]
		second = &hi[0]
	}
	k.halves(&dst[0], &lo[0], second, n, 2*step)
}

func portableHalves(dst, lo, hi *uint16, n, step int) {
	for p := range n {
		to := view[[2][16]uint16](unsafe.Add(unsafe.Pointer(dst), 64*p), 1)
		for half, src := range []*uint16{lo, hi} {
			to[0][half] = [16]uint16{}
			if src != nil {
				to[0][half] = view[[16]uint16](unsafe.Add(unsafe.Pointer(src), p*step), 1)[0]
			}
		}
	}
}

// Maximum writes the largest of some taps of each of n windows: of pixels of 16
// channels in bfloat16, which lie taps bytes from the window's place in src. Places
// are step bytes apart. No bounds are checked. What a NaN gives is not defined.
func (k *Kernels) Maximum(dst, src unsafe.Pointer, taps []int, n, step int) {
	k.maximum((*uint16)(dst), (*uint16)(src), &taps[0], len(taps), n, step)
}

func portableMaximum(dst, src *uint16, taps *int, count, n, step int) {
	for i := range n {
		to := view[uint16](unsafe.Add(unsafe.Pointer(dst), 32*i), 16)
		for t, off := range unsafe.Slice(taps, count) {
			for c, x := range view[uint16](unsafe.Add(unsafe.Pointer(src), i*step+off), 16) {
				if t == 0 || Widen(x) > Widen(to[c]) {
					to[c] = x
				}
			}
		}
	}
}
