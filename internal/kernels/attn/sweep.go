package attn

import (
	"math"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/mma"
)

// sweepArgs takes up to 32 queries over tiles of keys. The assembly knows the offsets of
// its fields. No bounds are checked.
type sweepArgs struct {
	q, k, v, bias            unsafe.Pointer
	o                        unsafe.Pointer // sums of weighted values so far, 32 rows in whole panels
	l                        unsafe.Pointer // sums of weights so far, streamLanes of each row
	s, p                     unsafe.Pointer // scores and weights of two tiles
	ldq, ldo                 int            // bytes from row to row
	skipV                    int            // bytes from a panel of V to the next
	steps, cols, tiles, rows int
	scale                    float32
	config                   unsafe.Pointer // of tile registers

	block mma.Block // without tiles: it would escape
}

// settleArgs divides rows by the sums of their lanes.
type settleArgs struct {
	o, l, dst, sums   unsafe.Pointer
	ldo, ldd, rows, n int
}

func portableSweep(a *sweepArgs) { a.take(mma.For(cpu.Generic), portableWeigh) }

// take goes through the tiles of keys with kernels for products, and one that makes scores
// weights.
func (a *sweepArgs) take(kern *mma.Kernels, weigh func(a *sweepArgs, bias unsafe.Pointer)) {
	for tile := range a.tiles {
		b := &a.block
		*b = mma.Block{A: a.q, LDA: a.ldq, B: unsafe.Add(a.k, tile*streamTile/mma.Cols*a.steps*mma.StepB), C: a.s, LDC: 4 * scoreRow, PanelC: 4 * mma.Cols, Panels: streamTile / mma.Cols}
		b.SetRows(a.rows)
		kern.Contiguous(b, a.steps)
		weigh(a, unsafe.Add(a.bias, 4*tile*streamTile))
		for c := range a.cols {
			*b = mma.Block{A: a.p, LDA: 4 * weightRow, B: unsafe.Add(a.v, c*a.skipV+tile*streamTile/mma.StepBF16*mma.StepB), C: unsafe.Add(a.o, 4*c*mma.Cols), LDC: a.ldo, Panels: 1, Add: 1}
			b.SetRows(a.rows)
			kern.Contiguous(b, streamTile/mma.StepBF16)
		}
	}
}

// portableWeigh makes rows of scores weights, and adds them to their rows' sums.
func portableWeigh(a *sweepArgs, add unsafe.Pointer) {
	bias := unsafe.Slice((*float32)(add), streamTile)
	for i := range a.rows {
		scores := unsafe.Slice((*float32)(unsafe.Add(a.s, 4*i*scoreRow)), streamTile)
		weights := unsafe.Slice((*uint16)(unsafe.Add(a.p, 4*i*weightRow)), streamTile)
		sums := unsafe.Slice((*float32)(unsafe.Add(a.l, 4*i*streamLanes)), streamLanes)
		for j, l := range sums {
			var e [4]float32
			for k := range e {
				n := j + k*streamLanes
				e[k] = exp2(fma(scores[n], a.scale, bias[n]))
				weights[n] = mma.Round(e[k])
			}
			sums[j] = ((e[0] + e[1]) + (e[2] + e[3])) + l
		}
	}
}

// exp2 is 2^x within 1e-4 of itself, exact for integers. Denormal results are zeros, as
// denormal x is.
func exp2(x float32) float32 {
	x = normal(x)
	floor := float32(math.Floor(float64(x)))
	f := float32(float64(x) - float64(floor))
	if math.IsInf(float64(x), 0) {
		f = 0
	}
	e := float32(0.07826822996139526)
	for _, c := range [3]float32{0.22630727291107178, 0.695424497127533, 1} {
		e = fma(e, f, c)
	}
	switch {
	case x != x:
		return x
	case floor > 200:
		return float32(math.Inf(1))
	case floor < -200:
		return 0
	}
	return normal(float32(math.Ldexp(float64(e), int(floor))))
}

// normal is x, or zero for a denormal.
func normal(x float32) float32 {
	if x > -0x1p-126 && x < 0x1p-126 {
		return 0
	}
	return x
}

// fma is a·b + c, rounded once: to odd in float64, which has more than twice the bits,
// and then to nearest.
func fma(a, b, c float32) float32 {
	x, y := float64(a)*float64(b), float64(c)
	s := x + y
	if math.IsInf(s, 0) || s != s {
		return float32(s)
	}
	v := s - x
	if e := (x - (s - v)) + (y - v); e != 0 {
		if bits := math.Float64bits(s); bits&1 == 0 {
			if (e > 0) == (s > 0) {
				bits++
			} else {
				bits--
			}
			s = math.Float64frombits(bits)
		}
	}
	return float32(s)
}

func portableSettle(a *settleArgs) {
	for i := range a.rows {
		lanes := [streamLanes]float32(unsafe.Slice((*float32)(unsafe.Add(a.l, 4*i*streamLanes)), streamLanes))
		for h := streamLanes / 2; h > 0; h /= 2 {
			for j := range h {
				lanes[j] += lanes[j+h]
			}
		}
		*(*float32)(unsafe.Add(a.sums, 4*i)) = lanes[0]
		inverse := 1 / lanes[0]
		for j, x := range unsafe.Slice((*float32)(unsafe.Add(a.o, i*a.ldo)), a.n) {
			*(*float32)(unsafe.Add(a.dst, i*a.ldd+4*j)) = x * inverse
		}
	}
}

func portablePairs(dst, src *uint16, stride, pairs, n int) {
	for i := range pairs {
		to := unsafe.Slice((*uint16)(unsafe.Add(unsafe.Pointer(dst), i*4*mma.Cols)), 2*mma.Cols)
		clear(to)
		even := unsafe.Slice((*uint16)(unsafe.Add(unsafe.Pointer(src), 2*i*stride)), n)
		odd := unsafe.Slice((*uint16)(unsafe.Add(unsafe.Pointer(src), (2*i+1)*stride)), n)
		for j := range n {
			to[2*j], to[2*j+1] = even[j], odd[j]
		}
	}
}
