package mma

import (
	"math"
	"unsafe"
)

// A Finish turns the sums of a panel in float32 into results: in this order, each
// rounded, times alpha, plus the column's bias, plus the row's, plus beta times
// the residual (the product rounded first), the slope where the sign is set, the
// limits. The two halves of a row, 16 columns each, may lie apart. No bounds are
// checked; nothing is read or written of Dst, Residual and ColBias where Mask has
// no bit. The assembly knows the offsets of the fields.
type Finish struct {
	Src, Dst    unsafe.Pointer
	Residual    unsafe.Pointer // nil: none
	ColBias     unsafe.Pointer // nil: none
	RowBias     unsafe.Pointer // nil: none
	LDC, LDR    int            // bytes from row to row
	Rows        int            // at least 1
	Mask        uint64         // bit j: column j exists
	flags       uint64
	Alpha, Beta float32
	Lo, Hi      float32 // where Clip
	Slope       float32 // where Leaky
	Leaky, Clip bool
	HalfC       int // bytes from the first half of a row of Dst to the second
	HalfR       int // the same of Residual
}

// Bits of Finish.flags.
const (
	flagColBias = 1 << iota
	flagRowBias
	flagResidual
	flagLeaky
	flagClip
)

// Finish does it.
func (k *Kernels) Finish(f *Finish) {
	f.flags = bit(f.ColBias != nil, flagColBias) | bit(f.RowBias != nil, flagRowBias) | bit(f.Residual != nil, flagResidual) |
		bit(f.Leaky, flagLeaky) | bit(f.Clip, flagClip)
	k.finish((*byte)(unsafe.Pointer(f)))
}

func bit(set bool, flag uint64) uint64 {
	if set {
		return flag
	}
	return 0
}

func portableFinish(t *byte) {
	f := (*Finish)(unsafe.Pointer(t))
	for i := range f.Rows {
		for j, x := range view[float32](unsafe.Add(f.Src, i*4*Cols), Cols) {
			if f.Mask>>j&1 != 0 {
				*f.at(f.Dst, i*f.LDC+j/16*f.HalfC+j%16*4) = f.element(i, j, x)
			}
		}
	}
}

func (f *Finish) at(p unsafe.Pointer, off int) *float32 { return (*float32)(unsafe.Add(p, off)) }

func (f *Finish) element(i, j int, x float32) float32 {
	x = float32(x * f.Alpha)
	if f.flags&flagColBias != 0 {
		x += *f.at(f.ColBias, 4*j)
	}
	if f.flags&flagRowBias != 0 {
		x += *f.at(f.RowBias, 4*i)
	}
	if f.flags&flagResidual != 0 {
		x += float32(f.Beta * *f.at(f.Residual, i*f.LDR+j/16*f.HalfR+j%16*4))
	}
	if f.flags&flagLeaky != 0 && math.Signbit(float64(x)) {
		x = float32(x * f.Slope)
	}
	if f.flags&flagClip != 0 {
		if x < f.Lo {
			x = f.Lo
		}
		if x > f.Hi {
			x = f.Hi
		}
	}
	return x
}
