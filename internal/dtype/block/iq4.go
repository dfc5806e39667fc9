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
	out := (*[32]float32)(dst)
	for j, q := range (*[16]byte)(qs) {
		out[j] = d * float32(valuesIQ4[q&15])
		out[j+16] = d * float32(valuesIQ4[q>>4])
	}
}

// codesIQ4 has both signs of the scale, as the values reach further down than up.
var codesIQ4 = func() *codebook {
	c := &codebook{lo: float64(valuesIQ4[0]), hi: float64(valuesIQ4[15])}
	c.tops = [][]float64{around(c.hi, 7, 1), around(c.lo, 7, 1)}
	i := 0
	for half := 2 * int(valuesIQ4[0]); half <= 2*int(valuesIQ4[15]); half++ {
		if i < 15 && half >= int(valuesIQ4[i])+int(valuesIQ4[i+1]) {
			i++
		}
		c.halves = append(c.halves, valuesIQ4[i])
	}
	return c
}()

// indexIQ4 is the inverse of valuesIQ4.
var indexIQ4 = func() (index [256]byte) {
	for i, v := range valuesIQ4 {
		index[byte(v)] = byte(i)
	}
	return index
}()

func encodeIQ4_NL(dst []byte, src, importance []float32) {
	var x, w [32]float64
	for i, v := range src {
		x[i] = float64(v)
		w[i] = x[i] * x[i]
	}
	weighImportance(w[:], x[:], importance)
	var levels [32]int8
	putHalf(dst, codesIQ4.fitLevels(levels[:], x[:], w[:]))
	putIQ4(dst[2:18], levels[:])
}

// fitLevels gives the scale that fitScale finds, as a float16 has it, and each
// number's level.
func (c *codebook) fitLevels(levels []int8, x, w []float64) float32 {
	scale, _ := c.fitScale(x, w)
	d := dtype.F16ToF32(dtype.F32ToF16(float32(scale)))
	for i, v := range x {
		levels[i] = int8(c.level(ratio(v, float64(d))))
	}
	return d
}

func putIQ4(dst []byte, levels []int8) {
	for j := range dst {
		dst[j] = indexIQ4[byte(levels[j])] | indexIQ4[byte(levels[j+16])]<<4
	}
}

func encodeIQ4_XS(dst []byte, src, importance []float32) {
	var s symmetric
	s.fit(src, importance, 32, codesIQ4, signed6)
	clear(dst)
	high := uint16(0)
	for j := range 8 {
		v := byte(s.scales[j] + 32)
		dst[4+j/2] |= v & 15 << (j % 2 * 4)
		high |= uint16(v>>4) << (2 * j)
		putIQ4(dst[8+16*j:24+16*j], s.levels[32*j:32*j+32])
	}
	le.PutUint16(dst, s.d)
	le.PutUint16(dst[2:], high)
}
