package nbits

import (
	"math"
	"unsafe"
)

// The portable kernels are the specification of the others, but that each product is rounded
// before it is added.

var portable = kernels{fourCols: panelCols}

func init() {
	for _, bits := range []int{4, 8} {
		for _, zeros := range []bool{false, true} {
			f := format{bits, zeros}
			portable.row[f.index()] = f.rows(1)
			portable.four[f.index()] = f.rows(4)
			portable.widen[f.index()] = f.widen()
		}
	}
}

// rows is the kernel that multiplies so many rows.
func (f format) rows(n int) kernel {
	return func(arg *byte) {
		a := (*args)(unsafe.Pointer(arg))
		for r := range n {
			x := view[float32](unsafe.Add(a.x, r*a.ldx), a.groups*groupSize)
			sums := view[float32](unsafe.Add(a.out, r*vector), panelCols)
			for j := range sums {
				for k, v := range x {
					sums[j] += float32(v * f.weight(unsafe.Add(a.w, 4*j), k))
				}
			}
		}
	}
}

func (f format) widen() kernel {
	return func(arg *byte) {
		a := (*args)(unsafe.Pointer(arg))
		for k := range a.groups * groupSize {
			row := view[float32](unsafe.Add(a.out, k*a.ldw), widenCols)
			for j := range row {
				row[j] = f.weight(unsafe.Add(a.w, 4*j), k)
			}
		}
	}
}

// weight is number k of the column whose first scale is at p.
func (f format) weight(p unsafe.Pointer, k int) float32 {
	group := view[uint32](unsafe.Add(p, k/groupSize*f.groupBytes()), f.groupBytes()/4-panelCols+1)
	k %= groupSize
	perWord := 32 / f.bits
	word := group[f.codesAt()/4+k/perWord*panelCols] << (32 - f.bits*(k%perWord+1))
	if f.zeros {
		return (float32(word>>(32-f.bits)) - math.Float32frombits(group[panelCols])) * math.Float32frombits(group[0])
	}
	return float32(int32(word)>>(32-f.bits)) * math.Float32frombits(group[0])
}

// view is n elements at p.
func view[T any](p unsafe.Pointer, n int) []T { return unsafe.Slice((*T)(p), n) }
