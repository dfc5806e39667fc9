//go:build !noasm

package elemwise

import "math"

// mended is a function of float32 whose kernel leaves some elements to portable code.
type mended struct {
	op   Binary
	wide bool
}

// undone are the bits of a NaN that a kernel leaves for what is computed one by one.
const undone = 0x7fe5a5a5

// compute calls a kernel by name, so that nothing escapes to the heap; it returns how many elements are undone.
func (f mended) compute(dst, a, b []float32) int {
	switch {
	case f.op == Pow && f.wide:
		return powerAVX512(dst, a, b, undone)
	case f.op == Pow:
		return powerAVX2(dst, a, b, undone)
	case f.op == Mod && f.wide:
		return modAVX512(dst, a, b, undone)
	case f.op == Mod:
		return modAVX2(dst, a, b, undone)
	case f.wide:
		return fmodAVX512(dst, a, b, undone)
	}
	return fmodAVX2(dst, a, b, undone)
}

// one computes an element that the kernel can't.
func (f mended) one(x, y float32) float32 {
	switch f.op {
	case Pow:
		return pow(x, y)
	case Mod:
		return float32(floorMod(float64(x), float64(y)))
	}
	return float32(fmod(float64(x), float64(y)))
}

// mendedLanes is a multiple of every kernel's step.
const mendedLanes = 16

func (f mended) row(dst, a, b []float32, sa, sb int) {
	if f.op == Pow && sa == 1 && sb == 0 && len(dst) > 0 && (b[0] == 2 || b[0] == 3) {
		f.products(dst, a, b[0] == 3)
		return
	}
	var x, y, z [block]float32
	for len(dst) > 0 {
		n := min(block, len(dst))
		m := (n + mendedLanes - 1) / mendedLanes * mendedLanes
		fillMended(x[:m], a, n, sa)
		fillMended(y[:m], b, n, sb)
		if f.compute(z[:m], x[:m], y[:m]) > 0 {
			for i, v := range z[:n] {
				if math.Float32bits(v) == undone {
					z[i] = f.one(x[i], y[i])
				}
			}
		}
		copy(dst, z[:n])
		dst, a, b = dst[n:], a[n*sa:], b[n*sb:]
	}
}

// fillMended copies n elements of src, or as many times the value that it is, and ones after
// them.
func fillMended(dst, src []float32, n, stride int) {
	if stride != 0 {
		copy(dst, src[:n])
	} else {
		for i := range n {
			dst[i] = src[0]
		}
	}
	for i := n; i < len(dst); i++ {
		dst[i] = 1
	}
}

// products is a·a, or with cube a·a·a.
func (f mended) products(dst, a []float32, cube bool) {
	var square [block]float32
	for len(dst) > 0 {
		n := min(block, len(dst))
		f.multiply(square[:n], a[:n], a[:n])
		if cube {
			f.multiply(dst[:n], square[:n], a[:n])
		} else {
			copy(dst, square[:n])
		}
		dst, a = dst[n:], a[n:]
	}
}

// multiply calls a kernel by name, so that nothing escapes to the heap.
func (f mended) multiply(dst, a, b []float32) {
	if f.wide {
		mulRRAVX512(dst, a, b)
	} else {
		mulRRAVX2(dst, a, b)
	}
}
