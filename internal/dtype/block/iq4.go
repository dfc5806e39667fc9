package block

import "github.com/salver-ml/salver/internal/dtype"

// valuesIQ4 are the values of 4 bits in IQ4 formats: denser near zero, as
// weights are.
var valuesIQ4 = [16]int8{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

// IQ4_NL: d float16, 16 bytes of 4 bits. d · value.
func decodeIQ4_NL(dst []float32, src []byte) { decodeIQ4(dst, half(src), src[2:18]) }

// IQ4_XS: d float16, 16 bits of high and 4 bytes of low bits of 8 scales of 6
// bits, 8 times 16 bytes of 4 bits. d·(s-32)·value.
func decodeIQ4_XS(dst []float32, src []byte) {
	d, high, low, qs := half(src), le.Uint16(src[2:]), src[4:8], src[8:136]
	for j := range 8 {
		s := low[j/2]>>(j%2*4)&15 | byte(high>>(2*j)&3<<4)
		decodeIQ4(dst[32*j:32*j+32], d*float32(int(s)-32), qs[16*j:16*j+16])
	}
}

func decodeIQ4(dst []float32, d float32, qs []byte) {
	for j, q := range qs {
		dst[j] = d * float32(valuesIQ4[q&15])
		dst[j+16] = d * float32(valuesIQ4[q>>4])
	}
}

// codesIQ4 tries both signs of the scale, as the values reach further down
// than up.
var codesIQ4 = func() codebook {
	c := codebook{level: func(v float64) float64 { return float64(valuesIQ4[indexIQ4(v)]) }}
	for k := -7; k <= 7; k++ {
		c.tops = append(c.tops, float64(int(valuesIQ4[0])+k), float64(int(valuesIQ4[15])+k))
	}
	return c
}()

// indexIQ4 is the index of the nearest value, of two as near the upper.
func indexIQ4(v float64) byte {
	i := 0
	for step := 8; step > 0; step /= 2 {
		if j := i + step; 2*v >= float64(int(valuesIQ4[j-1])+int(valuesIQ4[j])) {
			i = j
		}
	}
	return byte(i)
}

func encodeIQ4_NL(dst []byte, src []float32) {
	var x, w [32]float64
	for i, v := range src {
		x[i] = float64(v)
		w[i] = x[i] * x[i]
	}
	d, _ := codesIQ4.fitScale(x[:], w[:])
	h := dtype.F32ToF16(float32(d))
	d = float64(dtype.F16ToF32(h))
	le.PutUint16(dst, h)
	for j := range 16 {
		dst[2+j] = indexIQ4(ratio(x[j], d)) | indexIQ4(ratio(x[j+16], d))<<4
	}
}

func encodeIQ4_XS(dst []byte, src []float32) {
	var s symmetric
	s.fit(src, 32, codesIQ4, signed6)
	clear(dst)
	high := uint16(0)
	for j := range 8 {
		v := byte(s.scales[j] + 32)
		dst[4+j/2] |= v & 15 << (j % 2 * 4)
		high |= uint16(v>>4) << (2 * j)
		for k := range 16 {
			at := 32*j + k
			dst[8+16*j+k] = indexIQ4(float64(s.levels[at])) | indexIQ4(float64(s.levels[at+16]))<<4
		}
	}
	le.PutUint16(dst, s.d)
	le.PutUint16(dst[2:], high)
}
