package blockq

import (
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/dtype/block"
)

// Reference computes m×n results from m rows of k elements and n rows of W as a
// file has them, for a format that is supported: the arithmetic of this package
// without packing, and the specification of the rest.
func Reference(y []float32, f block.Format, m, n, k int, x []float32, rows []byte) {
	if isHalf(f) {
		referenceHalf(y, f, m, n, k, x, rows)
		return
	}
	for i := range m {
		q := quantizeRow(x[i*k : (i+1)*k])
		for j := range n {
			y[i*n+j] = q.times(f, rows[j*len(rows)/n:(j+1)*len(rows)/n])
		}
	}
}

// row is a quantized row of X.
type row struct {
	q      []int8
	shifts []int
	scale  float32
}

func quantizeRow(x []float32) row {
	scale, inverse := rowScale(x)
	r := row{make([]int8, len(x)), make([]int, len(x)/groupSize), scale}
	for g := range r.shifts {
		r.shifts[g] = quantizeBlock(r.q[g*groupSize:][:groupSize], x[g*groupSize:][:groupSize], inverse)
	}
	return r
}

// times is the product with a row of W.
func (r *row) times(f block.Format, w []byte) (y float32) {
	l := layouts[f]
	var u unit
	for g := range r.shifts {
		inUnit := g * groupSize % l.unit() / groupSize
		if inUnit == 0 {
			u.parse(f, w[g*groupSize/l.unit()*f.Bytes():])
		}
		y = r.group(l, &u, g, inUnit, y)
	}
	return y * r.scale
}

// group adds the product of group g, which is group in of its unit.
func (r *row) group(l *layout, u *unit, g, in int, y float32) float32 {
	var dots, sums [2]int32
	for i, q := range r.q[g*groupSize:][:groupSize] {
		dots[i/16] += l.meaning(u.codes[in*groupSize+i]) * int32(q)
		sums[i/16] += int32(q)
	}
	for h := range dots {
		dots[h], sums[h] = dots[h]<<r.shifts[g], sums[h]<<r.shifts[g]
	}
	d, m := dtype.F16ToF32(u.d), dtype.F16ToF32(u.m)
	whole, s := float32(dots[0]+dots[1]), float32(sums[0]+sums[1])
	switch l.scaling {
	case halfMin:
		return fma(m, s, fma(whole, d, y))
	case e8m0:
		return fma(whole, float32(math.Ldexp(1, int(u.d)-128)), y)
	case super:
		y = fma(whole, d*float32(u.sc[in]), y)
		return fma(-(m * float32(u.mins[in])), s, y)
	case superI8:
		return fma(whole, d*float32(int8(u.sc[in])), y)
	case superPair:
		sum := int64(dots[0])*int64(int8(u.sc[2*in])) + int64(dots[1])*int64(int8(u.sc[2*in+1]))
		return fma(float32(sum), d, y)
	case superQ2:
		a, b := u.sc[2*in], u.sc[2*in+1]
		y = fma(float32(dots[0]*int32(a&15)+dots[1]*int32(b&15)), d, y)
		y = fma(-(m * float32(a>>4)), float32(sums[0]), y)
		return fma(-(m * float32(b>>4)), float32(sums[1]), y)
	}
	return fma(whole, d, y)
}

// meaning is the integer that a code stands for.
func (l *layout) meaning(code byte) int32 {
	switch {
	case l.table != nil:
		return int32(l.table[code])
	case l.low == 8:
		return int32(int8(code))
	}
	return int32(code) - int32(l.zero)
}
