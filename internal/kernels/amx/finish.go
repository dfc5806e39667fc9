package amx

import (
	"math"
	"unsafe"
)

// A Finish turns 16 columns of sums in float32 into results: in this order, each
// rounded, times alpha, plus the column's bias, plus the row's, plus beta times
// the residual (the product rounded first), the slope where the sign is set, the
// limits. The sums' rows are those of a panel: 128 bytes apart. No bounds are
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
	f.flags = 0
	for i, set := range [...]bool{f.ColBias != nil, f.RowBias != nil, f.Residual != nil, f.Leaky, f.Clip} {
		if set {
			f.flags |= 1 << i
		}
	}
	k.finish((*byte)(unsafe.Pointer(f)))
}

func portableFinish(t *byte) {
	f := (*Finish)(unsafe.Pointer(t))
	for i := range f.Rows {
		for j, x := range view[float32](unsafe.Add(f.Src, i*4*Cols), 16) {
			if f.Mask>>j&1 != 0 {
				*f.at(f.Dst, i*f.LDC+4*j) = f.element(i, j, x)
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
		x += float32(f.Beta * *f.at(f.Residual, i*f.LDR+4*j))
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
