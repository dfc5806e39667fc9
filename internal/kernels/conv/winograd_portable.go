package conv

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/window"
)

// portableWinogradInput is the input transform Bᵀ·d·B in Go.
func portableWinogradInput(block int) winogradInputFunc {
	return func(dst, src, _ *byte, dstStride, srcRow, n int) {
		for t := range n {
			for l := range block {
				var d [6][6]float32
				for i := range d {
					row := window.Floats(unsafe.Pointer(src), i*srcRow+4*t*block*4, 6*block)
					for j := range d[i] {
						d[i][j] = row[j*block+l]
					}
				}
				d = bothSides(d, inputPoints)
				for i := range d {
					for j, v := range d[i] {
						window.Floats(unsafe.Pointer(dst), (i*6+j)*dstStride+t*block*4, block)[l] = v
					}
				}
			}
		}
	}
}

// portableWinogradOutput is the output transform Aᵀ·m·A in Go.
func portableWinogradOutput(block int) winogradOutputFunc {
	return func(dst, residual, src, bias, _ *byte, srcStride, dstRow, n int, lo, hi float32, clamp int) {
		for t := range n {
			for l := range block {
				var m [6][6]float32
				for i := range m {
					for j := range m[i] {
						m[i][j] = window.Floats(unsafe.Pointer(src), (i*6+j)*srcStride+t*block*4, block)[l]
					}
				}
				m = bothSides(m, outputPoints)
				for i := range winogradTile {
					for j := range winogradTile {
						at := i*dstRow + (4*t+j)*block*4
						v := m[i][j] + window.Floats(unsafe.Pointer(bias), 0, block)[l]
						if residual != nil {
							v += window.Floats(unsafe.Pointer(residual), at, block)[l]
						}
						if clamp != 0 {
							v = atMost(atLeast(v, lo), hi)
						}
						window.Floats(unsafe.Pointer(dst), at, block)[l] = v
					}
				}
			}
		}
	}
}

// bothSides applies a transform to the columns, then to the rows.
func bothSides(d [6][6]float32, f func([6]float32) [6]float32) [6][6]float32 {
	for j := range 6 {
		c := f([6]float32{d[0][j], d[1][j], d[2][j], d[3][j], d[4][j], d[5][j]})
		for i, v := range c {
			d[i][j] = v
		}
	}
	for i := range d {
		d[i] = f(d[i])
	}
	return d
}

func inputPoints(d [6]float32) [6]float32 {
	a, b := d[4]-float32(4*d[2]), d[3]-float32(4*d[1])
	c, e := d[4]-d[2], float32(2*(d[3]-d[1]))
	return [6]float32{
		float32(4*d[0]) + d[4] - float32(5*d[2]), a + b, a - b, c + e, c - e,
		float32(4*d[1]) + d[5] - float32(5*d[3]),
	}
}

// outputPoints fills the first four.
func outputPoints(m [6]float32) [6]float32 {
	s1, s2, s3, s4 := m[1]+m[2], m[1]-m[2], m[3]+m[4], m[3]-m[4]
	return [6]float32{m[0] + s1 + s3, s2 + float32(2*s4), s1 + float32(4*s3), m[5] + s2 + float32(8*s4)}
}

// weightPoints is G·g·Gᵀ for a 3×3 kernel, in float64.
func weightPoints(g []float32) [winogradPoints]float32 {
	var half [6][3]float64
	for j := range 3 {
		for i, v := range weightSide(float64(g[j]), float64(g[3+j]), float64(g[6+j])) {
			half[i][j] = v
		}
	}
	var out [winogradPoints]float32
	for i, h := range half {
		for j, v := range weightSide(h[0], h[1], h[2]) {
			out[6*i+j] = float32(v)
		}
	}
	return out
}

func weightSide(a, b, c float64) [6]float64 {
	return [6]float64{a / 4, -(a + b + c) / 6, -(a - b + c) / 6, (a + 2*b + 4*c) / 24, (a - 2*b + 4*c) / 24, c}
}
