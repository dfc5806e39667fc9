package blockq

import (
	"math"
	"math/bits"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/dtype/block"
)

// portable is the specification of the other kernels.
var portable = kernels{
	level: cpu.Generic, mr: 4, sizes: []int{1, 2, 4},
	unpack:   portableUnpack(),
	tile:     portableTiles(),
	quantize: portableQuantize,
	finish:   portableFinish,
	half:     map[block.Format]*halfKernels{block.F16: {widen: portableWiden(dtype.F16ToF32)}, block.BF16: {widen: portableWiden(dtype.BF16ToF32)}},
}

// fma is x·y + z, rounded once. The product of two float32 is exact in float64;
// the sum is rounded to odd there, so that rounding it again is harmless.
func fma(x, y, z float32) float32 {
	p := float64(float64(x) * float64(y))
	c := float64(z)
	s := p + c
	t := s - p
	err := (p - (s - t)) + (c - t)
	if err != 0 && err == err && math.Float64bits(s)&1 == 0 {
		if (err > 0) == (s > 0) {
			s = math.Float64frombits(math.Float64bits(s) + 1)
		} else {
			s = math.Float64frombits(math.Float64bits(s) - 1)
		}
	}
	return float32(s)
}

// tiny is the magnitude below which a row counts as zero: 127/tiny times 2^mostShift is finite.
const tiny = 0x1p-100

// mostShift is how many times finer than its row a block may be quantized, as a power of
// two: the largest sum of products, 32·127·128, shifted by it has 31 bits.
const mostShift = 12

func portableQuantize(arg *byte) {
	a := (*quantizeArgs)(unsafe.Pointer(arg))
	scale, inverse := rowScale(view[float32](a.x, groupSize*a.groups))
	*(*float32)(a.scale) = scale
	for g := range a.groups {
		x := view[float32](unsafe.Add(a.x, 4*groupSize*g), groupSize)
		q := view[int8](unsafe.Add(a.q, g*groupSize*a.rows), groupSize)
		shift := quantizeBlock(q, x, inverse)
		var sums [2]int32
		for i, v := range q {
			sums[i/16] += int32(v)
		}
		at := func(p unsafe.Pointer, i int) unsafe.Pointer { return unsafe.Add(p, 4*a.rows*i) }
		*(*int32)(at(a.shift, g)) = int32(shift)
		*(*float32)(at(a.s, g)) = float32((sums[0] + sums[1]) << shift)
		*(*int32)(at(a.c, g)) = -128 * (sums[0] + sums[1])
		for h, s := range sums {
			*(*float32)(at(a.sHalf, 2*g+h)) = float32(s << shift)
			*(*int32)(at(a.cHalf, 2*g+h)) = -128 * s
		}
	}
}

// rowScale gives what a row's results are multiplied by, and what its numbers are, unless
// that is 0: they all count as zero.
func rowScale(x []float32) (scale, inverse float32) {
	switch a := largest(x); {
	case math.Float32bits(a) >= 0x7f800000:
		return float32(math.NaN()), 0
	case a < tiny:
		return 0, 0
	default:
		return a / 127 / (1 << mostShift), 127 / a
	}
}

// largest is the largest magnitude, of which those that are not finite are the largest.
func largest(x []float32) float32 {
	var most uint32 // magnitudes are ordered as their bits are
	for _, v := range x {
		most = max(most, math.Float32bits(v)&^(1<<31))
	}
	return math.Float32frombits(most)
}

// quantizeBlock gives the number of bits that sums of products with q are shifted by. A
// block that has room for it is multiplied by a power of two, and shifted less.
func quantizeBlock(q []int8, x []float32, inverse float32) (shift int) {
	clear(q)
	if inverse == 0 {
		return 0
	}
	const above = 0x42ff0000 // 127.5, as bits: what is below becomes 127 at most
	finer := min((above-1-math.Float32bits(largest(x)*inverse))>>23, mostShift)
	inverse *= float32(uint32(1) << finer)
	for i, v := range x {
		q[i] = int8(math.RoundToEven(float64(float32(v * inverse))))
	}
	return mostShift - int(finer)
}

func portableUnpack() map[block.Format]kernel {
	m := map[block.Format]kernel{}
	for f, l := range layouts {
		m[f] = func(arg *byte) { l.unpack((*args)(unsafe.Pointer(arg))) }
	}
	return m
}

// unpack writes the values and scales of a panel.
func (l *layout) unpack(a *args) {
	groups := l.unit() / groupSize
	src := view[byte](a.w, a.units*l.unitBytes())
	halves := 1
	if k := l.kind(); k == pair || k == twoOffsets {
		halves = 2
	}
	for g := range a.units * groups {
		if g%groups == 0 && g > 0 {
			src = src[l.unitBytes():]
		}
		header, group := src[:l.headerBytes()], src[l.headerBytes()+g%groups*l.groupBytes():][:l.groupBytes()]
		values := view[byte](unsafe.Add(a.values, g*8*vector), 8*vector)
		dw := view[float32](unsafe.Add(a.dw, 4*cols*g), cols)
		extra := view[float32](unsafe.Add(a.extra, 4*cols*halves*g), cols*halves)
		for j := range cols {
			scale, factor := l.scales(header, group, j, extra)
			dw[j] = scale
			for k := range groupSize {
				v := l.value(group[l.scaleBytes():], j, k) * factor[k/16]
				values[k/4*vector+4*j+k%4] = byte(v)
			}
		}
	}
}

// value is element k of column j in a group.
func (l *layout) value(planes []byte, j, k int) int {
	t, i := k/4, 4*j+k%4
	var c int
	switch l.low {
	case 8:
		return int(int8(planes[t*vector+i]))
	case 4:
		c = int(planes[t%4*vector+i] >> (t / 4 * 4) & 15)
	case 2:
		c = int(planes[t%2*vector+i] >> (t / 2 * 2) & 3)
	}
	switch high := planes[l.low*vector:]; l.high {
	case 2:
		c |= int(high[t%2*vector+i]>>(t/2*2)&3) << l.low
	case 1:
		c |= int(high[i]>>t&1) << l.low
	}
	if l.table != nil {
		return int(l.table[c])
	}
	return c - l.zero
}

// scales gives column j's scale in a group, and sets what else its kind has.
// Values of Q2_K are multiplied by the factors.
func (l *layout) scales(header, group []byte, j int, extra []float32) (dw float32, factor [2]int) {
	factor = [2]int{1, 1}
	f16 := func(b []byte) float32 { return dtype.F16ToF32(le.Uint16(b)) }
	f32 := func(b []byte) float32 { return math.Float32frombits(le.Uint32(b)) }
	switch l.scaling {
	case half:
		dw = f16(group[2*j:])
	case halfMin:
		dw, extra[j] = f16(group[2*j:]), f16(group[2*cols+2*j:])
	case single:
		dw = f32(group[4*j:])
	case singleMin:
		dw, extra[j] = f32(group[4*j:]), f32(group[4*cols+4*j:])
	case e8m0:
		dw = halfE8M0(group[j])
	case super:
		dw = f16(header[2*j:]) * float32(group[j])
		extra[j] = -(f16(header[2*cols+2*j:]) * float32(group[cols+j]))
	case superI8:
		dw = f16(header[2*j:]) * float32(int8(group[j]))
	case superPair:
		dw = f16(header[2*j:])
		extra[j], extra[cols+j] = float32(int8(group[j])), float32(int8(group[cols+j]))
	case superQ2:
		dw = f16(header[2*j:])
		dmin := f16(header[2*cols+2*j:])
		for h := range 2 {
			b := group[h*cols+j]
			factor[h], extra[h*cols+j] = int(b&15), -(dmin * float32(b>>4))
		}
	}
	return dw, factor
}

// halfE8M0 is 2^(e-128).
func halfE8M0(e byte) float32 {
	if e < 2 { // subnormal
		return math.Float32frombits(1 << (21 + e))
	}
	return math.Float32frombits(uint32(e-1) << 23)
}

func portableTiles() (t [kinds]kernel) {
	for k := range kinds {
		t[k] = func(arg *byte) { k.tile((*args)(unsafe.Pointer(arg))) }
	}
	return t
}

// tile multiplies a.rows rows by an unpacked panel.
func (k kind) tile(a *args) {
	acc := view[float32](a.acc, a.rows*cols)
	clear(acc)
	for g := range a.units {
		values := (*[8 * vector]int8)(unsafe.Add(a.values, g*8*vector))
		dw := (*[cols]float32)(unsafe.Add(a.dw, 4*cols*g))
		for r := range a.rows {
			q := (*[groupSize]int8)(unsafe.Add(a.q, (g*a.rows+r)*groupSize))
			shift := view[int32](a.shift, (g+1)*a.rows)[g*a.rows+r]
			for j := range cols {
				dots := dot(values, q, j)
				for h := range dots {
					dots[h] <<= shift
				}
				k.add(a, &acc[r*cols+j], dots, dw[j], g, r, j)
			}
		}
	}
}

// add adds a group's contribution to a result.
func (k kind) add(a *args, y *float32, dots [2]int32, dw float32, g, r, j int) {
	halves := func(h int) float32 { return view[float32](a.extra, (2*g+h+1)*cols)[(2*g+h)*cols+j] }
	switch k {
	case pair:
		*y = fma(float32(int64(dots[0])*int64(halves(0))+int64(dots[1])*int64(halves(1))), dw, *y)
		return
	default:
		*y = fma(float32(dots[0]+dots[1]), dw, *y)
	}
	switch k {
	case offset:
		s := view[float32](a.s, (g+1)*a.rows)[g*a.rows+r]
		*y = fma(view[float32](a.extra, (g+1)*cols)[g*cols+j], s, *y)
	case twoOffsets:
		for h := range 2 {
			s := view[float32](a.s, (2*g+h+1)*a.rows)[(2*g+h)*a.rows+r]
			*y = fma(halves(h), s, *y)
		}
	}
}

// dot is the integer products of the halves of a group with column j.
func dot(values *[8 * vector]int8, q *[groupSize]int8, j int) (s [2]int32) {
	for t := range 8 {
		v, x := (*[4]int8)(values[t*vector+4*j:]), (*[4]int8)(q[4*t:])
		s[t/4] += int32(v[0])*int32(x[0]) + int32(v[1])*int32(x[1]) + int32(v[2])*int32(x[2]) + int32(v[3])*int32(x[3])
	}
	return s
}

func portableFinish(arg *byte) {
	a := (*finishArgs)(unsafe.Pointer(arg))
	n := bits.Len64(a.mask)
	for r := range a.rows {
		acc := view[float32](unsafe.Add(a.acc, 4*cols*r), n)
		y := view[float32](unsafe.Add(a.y, a.ldy*r), n)
		for j, v := range acc {
			if a.scales != nil {
				v *= view[float32](a.scales, a.rows)[r]
			}
			if a.bias != nil {
				v += view[float32](a.bias, n)[j]
			}
			if a.residual != nil {
				v += view[float32](unsafe.Add(a.residual, a.ldr*r), n)[j]
			}
			y[j] = v
		}
	}
}
