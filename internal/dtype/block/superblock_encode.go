package block

import (
	"math"

	"github.com/salver-ml/salver/internal/dtype"
)

var (
	signed3 = integers(-4, 3)
	signed6 = integers(-32, 31)
	signed8 = integers(-128, 127)
	whole4  = integers(0, 15)
	whole6  = integers(0, 63)
)

// A symmetric super-block: x ≈ d·scale·level.
type symmetric struct {
	d      uint16 // float16
	scales [16]int8
	levels [256]int8
}

// fit quantizes x by sub-blocks of n. Errors count with the square of the value
// they befall, since large weights matter most, or as importance says.
func (s *symmetric) fit(src, importance []float32, n int, elem, scale *codebook) {
	var x, w [256]float64
	var scales, curvatures [16]float64
	for i, v := range src {
		x[i] = float64(v)
		w[i] = x[i] * x[i]
	}
	weighImportance(w[:], x[:], importance)
	subs := 256 / n
	for j := range subs {
		scales[j], curvatures[j] = elem.fitScale(x[n*j:n*j+n], w[n*j:n*j+n])
	}
	d, _ := scale.fitScale(scales[:subs], curvatures[:subs])
	s.d = dtype.F32ToF16(float32(d))
	d = float64(dtype.F16ToF32(s.d))
	for j := range subs {
		level := scale.level(ratio(scales[j], d))
		s.scales[j] = int8(level)
		for i := n * j; i < n*j+n; i++ {
			s.levels[i] = int8(elem.level(ratio(x[i], d*level)))
		}
	}
}

// ratio is x/d, or 0 where d is: then the level does not matter.
func ratio(x, d float64) float64 {
	if d == 0 {
		return 0
	}
	return x / d
}

// An affine super-block: x ≈ d·scale·q - dmin·minimum.
type affine struct {
	d, dmin        uint16 // float16
	scales, minima [16]byte
	q              [256]byte
}

// fit quantizes x by sub-blocks of n to q up to top. Errors count with the
// value's magnitude plus base times the sub-block's root mean square, or as
// importance says.
func (s *affine) fit(src, importance []float32, n int, top, base float64, scale *codebook) {
	var x, w [256]float64
	var scales, minima, curvatures, weights [16]float64
	for i, v := range src {
		x[i] = float64(v)
	}
	weighImportance(w[:], x[:], importance)
	subs := 256 / n
	for j := range subs {
		xs, ws := x[n*j:n*j+n], w[n*j:n*j+n]
		if importance == nil {
			weigh(ws, xs, base)
		}
		weights[j] = sum(ws)
		scales[j], minima[j], curvatures[j] = fitLine(xs, ws, top)
	}
	d, _ := scale.fitScale(scales[:subs], curvatures[:subs])
	dmin, _ := scale.fitScale(minima[:subs], weights[:subs])
	s.d, s.dmin = dtype.F32ToF16(float32(d)), dtype.F32ToF16(float32(dmin))
	d, dmin = float64(dtype.F16ToF32(s.d)), float64(dtype.F16ToF32(s.dmin))
	for j := range subs {
		level, minimum := scale.level(ratio(scales[j], d)), scale.level(ratio(minima[j], dmin))
		s.scales[j], s.minima[j] = byte(level), byte(minimum)
		for i := n * j; i < n*j+n; i++ {
			q := ratio(x[i]+float64(dmin*minimum), d*level)
			s.q[i] = byte(round(clamp(q, 0, top)))
		}
	}
}

// weigh sets w to the magnitudes of x over a floor.
func weigh(w, x []float64, base float64) {
	squares := 0.0
	for _, v := range x {
		squares += float64(v * v)
	}
	floor := float64(base * math.Sqrt(squares/float64(len(x))))
	for i, v := range x {
		w[i] = floor + math.Abs(v)
	}
}

func sum(x []float64) (sum float64) {
	for _, v := range x {
		sum += v
	}
	return sum
}

func encodeQ2_K(dst []byte, src, importance []float32) {
	var s affine
	s.fit(src, importance, 16, 3, 0.25, whole4)
	clear(dst)
	for j := range 16 {
		dst[j] = s.scales[j] | s.minima[j]<<4
	}
	for i, q := range s.q {
		putLow2(dst[16:80], i, q)
	}
	le.PutUint16(dst[80:], s.d)
	le.PutUint16(dst[82:], s.dmin)
}

func putLow2(qs []byte, i int, q byte) { qs[i/128*32+i%32] |= q & 3 << (i / 32 % 4 * 2) }

func encodeQ3_K(dst []byte, src, importance []float32) {
	var s symmetric
	s.fit(src, importance, 16, signed3, signed6)
	clear(dst)
	high, qs, scales := dst[:32], dst[32:96], dst[96:108]
	for i, l := range s.levels {
		q := byte(l + 4)
		putLow2(qs, i, q)
		high[i%32] |= q >> 2 << (i / 32)
	}
	for j, l := range s.scales {
		v := byte(l + 32)
		scales[j%8] |= v & 15 << (j / 8 * 4)
		scales[8+j%4] |= v >> 4 << (j / 4 * 2)
	}
	le.PutUint16(dst[108:], s.d)
}

func encodeQ4_K(dst []byte, src, importance []float32) {
	var s affine
	s.fit(src, importance, 32, 15, 1, whole6)
	clear(dst)
	s.putHead(dst)
	for i, q := range s.q {
		dst[16+i/64*32+i%32] |= q << (i / 32 % 2 * 4)
	}
}

// putHead writes what Q4_K and Q5_K begin with: d, dmin, and the scales and
// minima that scaleMin reads.
func (s *affine) putHead(dst []byte) {
	le.PutUint16(dst, s.d)
	le.PutUint16(dst[2:], s.dmin)
	packed := dst[4:16]
	for j := range 4 {
		packed[j] = s.scales[j] | s.scales[j+4]>>4<<6
		packed[j+4] = s.minima[j] | s.minima[j+4]>>4<<6
		packed[j+8] = s.scales[j+4]&15 | s.minima[j+4]<<4
	}
}

func encodeQ5_K(dst []byte, src, importance []float32) {
	var s affine
	s.fit(src, importance, 32, 31, 1, whole6)
	clear(dst)
	s.putHead(dst)
	for i, q := range s.q {
		dst[16+i%32] |= q >> 4 << (i / 32)
		dst[48+i/64*32+i%32] |= q & 15 << (i / 32 % 2 * 4)
	}
}

func encodeQ6_K(dst []byte, src, importance []float32) {
	var s symmetric
	s.fit(src, importance, 16, signed6, signed8)
	clear(dst)
	for i, l := range s.levels {
		q := byte(l + 32)
		dst[i/128*64+i%64] |= q & 15 << (i / 64 % 2 * 4)
		putLow2(dst[128:192], i, q>>4)
	}
	for j, l := range s.scales {
		dst[192+j] = byte(l)
	}
	le.PutUint16(dst[208:], s.d)
}
