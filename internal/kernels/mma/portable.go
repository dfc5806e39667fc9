package mma

import (
	"math"
	"sync/atomic"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
)

// The specifications of the other kernels: of tiles, and of vectors.
var (
	portable        = twin(tileSum)
	portableVectors = twin(vectorSum)
)

// specified are the portable kernels that For gives.
var specified atomic.Pointer[Kernels]

func init() { specified.Store(&portable) }

// Specify makes the portable kernels those that a level's add up as, until restore is
// called: for tests, which compare with them.
func Specify(l cpu.Target) (restore func()) {
	k := &portable
	if l == cpu.AVX512 && cpu.Has().AVX512BF16 {
		k = &portableVectors
	}
	old := specified.Swap(k)
	return func() { specified.Store(old) }
}

// A sum is c plus the products of pairs of bfloat16.
type sum func(c float32, a, b unsafe.Pointer, pairs int) float32

// twin has kernels that add up so.
func twin(s sum) Kernels {
	return Kernels{
		multiply: [2]func(*byte){s.bf16, s.bf16},
		strip:    [2][2]func(*byte){{s.strip, s.strip}, {s.strip, s.strip}},
		conv:     [2][2]func(*byte){{s.conv, s.conv}, {s.conv, s.conv}},
		round:    portableRound, pairs: portablePairs, finish: portableFinish, blocks: portableBlocks, planes: portablePlanes,
		halves: portableHalves, pixels: portablePixels, pixelsSilu: portablePixels, maximum: portableMaximum, depthwise: portableDepthwise, widen: portableWiden,
	}
}

// view is n elements at p.
func view[T any](p unsafe.Pointer, n int) []T { return unsafe.Slice((*T)(p), n) }

// bf16 computes a *Block.
func (s sum) bf16(t *byte) {
	x := (*Block)(unsafe.Pointer(t))
	offsets := view[int](x.Offsets, x.Steps)
	for n := range x.Panels * x.Tiles {
		p, tile := n/x.Tiles, n%x.Tiles
		panel := unsafe.Add(x.B, p*(x.Steps*StepB+x.SkipB))
		for i := range x.rows {
			row := view[float32](unsafe.Add(x.C, p*x.PanelC+tile*x.TileC+i*x.LDC), Cols)
			for j := range x.columns(p) {
				var c float32
				if x.Add != 0 {
					c = row[j]
				}
				for k, off := range offsets {
					c = s(c, unsafe.Add(x.A, tile*x.TileA+i*x.LDA+off), unsafe.Add(panel, k*StepB+4*j), x.words())
				}
				row[j] = c
			}
		}
	}
}

// tileSum is that of TDPBF16PS.
func tileSum(c float32, pa, pb unsafe.Pointer, pairs int) float32 {
	var even, odd float32
	for k, a := range view[[2]uint16](pa, pairs) {
		b := pairOf(pb, k)
		even = fma(widen(a[0]), widen(b[0]), even)
		odd = fma(widen(a[1]), widen(b[1]), odd)
	}
	return add(zeroed(c), add(even, odd))
}

// vectorSum is that of VDPBF16PS.
func vectorSum(c float32, pa, pb unsafe.Pointer, pairs int) float32 {
	c = zeroed(c)
	for k, a := range view[[2]uint16](pa, pairs) {
		b := pairOf(pb, k)
		c = fma(widen(a[1]), widen(b[1]), c)
		c = fma(widen(a[0]), widen(b[0]), c)
	}
	return c
}

// pairOf is the pair of k of a column of a panel.
func pairOf(column unsafe.Pointer, k int) *[2]uint16 {
	return (*[2]uint16)(unsafe.Add(column, k*4*Cols))
}

// columns is how many columns of a panel are computed.
func (b *Block) columns(panel int) int {
	if b.Narrow == 1 && panel == b.Panels-1 {
		return Cols / 2
	}
	return Cols
}

// words is the size of a step in units of 4 bytes.
func (b *Block) words() int { return b.config.words() }

func (c *config) words() int { return int(c.colBytes[4]) / 4 }

func widen(x uint16) float32 { return zeroed(math.Float32frombits(uint32(x) << 16)) }

// smallest is the least normal number.
const smallest = 0x1p-126

// zeroed is x, or zero with its sign where x is denormal.
func zeroed(x float32) float32 {
	if x > -smallest && x < smallest {
		return float32(math.Copysign(0, float64(x)))
	}
	return x
}

// fma is a·b + c rounded once, for a and b of 8 bits.
func fma(a, b, c float32) float32 { return rounded(float64(a)*float64(b), float64(c)) }

func add(a, b float32) float32 { return rounded(float64(a), float64(b)) }

// rounded is x + y rounded to float32, once; a denormal result is zero.
func rounded(x, y float64) float32 { return flushed(odd(x, y)) }

// odd rounds x + y to odd in float64. That has more than twice the bits of float32, so
// to round again to nearest there is like rounding once.
func odd(x, y float64) float64 {
	s := x + y
	if math.IsInf(s, 0) || s != s {
		return s
	}
	v := s - x
	if e := (x - (s - v)) + (y - v); e != 0 {
		if b := math.Float64bits(s); b&1 == 0 {
			if (e > 0) == (s > 0) {
				b++
			} else {
				b--
			}
			s = math.Float64frombits(b)
		}
	}
	return s
}

// flushed rounds to float32; what is below the least normal number after being
// rounded to 24 bits is zero.
func flushed(s float64) float32 {
	if math.Abs(s) < smallest-0x1p-151 {
		return float32(math.Copysign(0, s))
	}
	return float32(s)
}

// Round is x as bfloat16.
func Round(x float32) uint16 {
	b := math.Float32bits(zeroed(x))
	if x != x {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

func portableRound(dst *uint16, src *float32, n int) {
	to := unsafe.Slice(dst, n)
	for i, x := range unsafe.Slice(src, n) {
		to[i] = Round(x)
	}
}

func portablePairs(dst *uint16, src *float32, stride, pairs, n int) {
	for p := range pairs {
		to := view[[2]uint16](unsafe.Add(unsafe.Pointer(dst), p*128), Cols)
		for i := range 2 {
			row := view[float32](unsafe.Add(unsafe.Pointer(src), (2*p+i)*stride), n)
			for j := range to {
				to[j][i] = 0
				if j < n {
					to[j][i] = Round(row[j])
				}
			}
		}
	}
}

func portableBlocks(dst *uint16, lo, hi *float32, n, step int) {
	for p := range n {
		to := view[[2][16]uint16](unsafe.Add(unsafe.Pointer(dst), 64*p), 1)
		for half, src := range []*float32{lo, hi} {
			if src == nil {
				to[0][half] = [16]uint16{}
				continue
			}
			for i, x := range view[float32](unsafe.Add(unsafe.Pointer(src), p*step), 16) {
				to[0][half][i] = Round(x)
			}
		}
	}
}

func portablePlanes(dst *uint16, p0, p1, p2, p3 *float32, n int) {
	to := view[[4]uint16](unsafe.Pointer(dst), n)
	for c, plane := range []*float32{p0, p1, p2, p3} {
		for i := range to {
			to[i][c] = 0
			if plane != nil {
				to[i][c] = Round(view[float32](unsafe.Pointer(plane), n)[i])
			}
		}
	}
}
