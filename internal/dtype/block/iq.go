package block

import (
	"math"
	"math/bits"
)

// The IQ formats of less than 4 bits: an index chooses a vector of magnitudes
// from a table, and signs, if any, follow apart. In IQ2_XXS, IQ2_XS and IQ3_XXS
// 7 bits stand for 8 signs, as an even number of them is negative.

// evenSigns is the 8 signs of a 7-bit code.
func evenSigns(code byte) byte { return code | byte(bits.OnesCount8(code)&1)<<7 }

// signed writes the vector times d, negated where signs has a bit.
func signed(dst []float32, d float32, vector []int8, signs byte) {
	dst = dst[:len(vector)]
	for k, v := range vector {
		negative := uint32(signs) >> (k & 7) << 31
		dst[k] = math.Float32frombits(math.Float32bits(d*float32(v)) ^ negative)
	}
}

// IQ2_XXS: d float16, 8 times four indices of 8 bits, then four times 7 bits of
// signs and a scale of 4 bits. d·(s+½)/4 · vector.
func decodeIQ2_XXS(dst []float32, src []byte) {
	table, d := gridIQ2_XXS(), half(src)
	for j := range 8 {
		index, rest := src[2+8*j:6+8*j], le.Uint32(src[6+8*j:])
		db := d * (0.5 + float32(rest>>28)) * 0.25
		for k, i := range index {
			at := 32*j + 8*k
			signed(dst[at:at+8], db, table[8*int(i):8*int(i)+8], evenSigns(byte(rest>>(7*k)&127)))
		}
	}
}

// IQ2_XS: d float16, 32 words of an index of 9 bits and signs of 7, 8 bytes of
// a 4-bit scale per 16 elements. d·(s+½)/4 · vector.
func decodeIQ2_XS(dst []float32, src []byte) {
	table, d, scales := gridIQ2_XS(), half(src), src[66:74]
	for j := range 32 {
		word := le.Uint16(src[2+2*j:])
		i, s := int(word&511), scales[j/4]>>(j/2%2*4)&15
		db := d * (0.5 + float32(s)) * 0.25
		signed(dst[8*j:8*j+8], db, table[8*i:8*i+8], evenSigns(byte(word>>9)))
	}
}

// IQ2_S: d float16, 32 bytes of low index bits, 32 of signs, 8 with 2 high index
// bits each, 8 of a 4-bit scale per 16 elements. d·(s+½)/4 · vector.
func decodeIQ2_S(dst []float32, src []byte) {
	table, d, low, signs, high, scales := gridIQ2_S(), half(src), src[2:34], src[34:66], src[66:74], src[74:82]
	for j := range 32 {
		i, s := int(low[j])|int(high[j/4]>>(j%4*2)&3)<<8, scales[j/4]>>(j/2%2*4)&15
		db := d * (0.5 + float32(s)) * 0.25
		signed(dst[8*j:8*j+8], db, table[8*i:8*i+8], signs[j])
	}
}

// IQ3_XXS: d float16, 64 indices of 8 bits, 8 words of four times 7 bits of signs
// and a scale of 4 bits. d·(s+½)/2 · vector.
func decodeIQ3_XXS(dst []float32, src []byte) {
	table, d, index := gridIQ3_XXS(), half(src), src[2:66]
	for j := range 64 {
		rest, i := le.Uint32(src[66+j/8*4:]), int(index[j])
		db := d * (0.5 + float32(rest>>28)) * 0.5
		signs := evenSigns(byte(rest>>(j/2%4*7)&127)) >> (j % 2 * 4)
		signed(dst[4*j:4*j+4], db, table[4*i:4*i+4], signs)
	}
}

// IQ3_S: d float16, 64 bytes of low index bits, 8 of high ones, 32 of signs, 4
// of a 4-bit scale per 32 elements. d·(2s+1) · vector.
func decodeIQ3_S(dst []float32, src []byte) {
	table, d, low, high, signs, scales := gridIQ3_S(), half(src), src[2:66], src[66:74], src[74:106], src[106:110]
	for j := range 64 {
		i, s := int(low[j])|int(high[j/8]>>(j%8)&1)<<8, scales[j/16]>>(j/8%2*4)&15
		signed(dst[4*j:4*j+4], d*float32(2*s+1), table[4*i:4*i+4], signs[j/2]>>(j%2*4))
	}
}

// shifted writes (vector + ⅛)·d, or (vector - ⅛)·d if down.
func shifted(dst []float32, d float32, vector []int8, down bool) {
	delta := float32(0.125)
	if down {
		delta = -delta
	}
	dst = dst[:len(vector)]
	for k, v := range vector {
		dst[k] = d * (float32(v) + delta)
	}
}

// IQ1_S: d float16, 32 bytes of low index bits, 8 words of four times 3 high
// index bits, a scale of 3 bits and the shift's sign. d·(2s+1) · (vector ± ⅛).
func decodeIQ1_S(dst []float32, src []byte) {
	table, d, low := gridIQ1(), half(src), src[2:34]
	for j := range 32 {
		word := le.Uint16(src[34+j/4*2:])
		i := int(low[j]) | int(word>>(j%4*3)&7)<<8
		shifted(dst[8*j:8*j+8], d*float32(2*(word>>12&7)+1), table[8*i:8*i+8], word>>15 != 0)
	}
}

// IQ1_M: 32 bytes of low index bits, 32 half bytes of 3 high index bits and the
// shift's sign, 4 words of four scales of 3 bits, one per 16 elements, whose high
// halves are the float16 d. d·(2s+1) · (vector ± ⅛).
func decodeIQ1_M(dst []float32, src []byte) {
	table, low, high, scales := gridIQ1(), src[:32], src[32:48], src[48:56]
	d := half([]byte{scales[1]>>4 | scales[3]&0xf0, scales[5]>>4 | scales[7]&0xf0})
	for j := range 32 {
		h := high[j/2] >> (j % 2 * 4)
		i := int(low[j]) | int(h&7)<<8
		s := le.Uint16(scales[j/8*2:]) >> (j / 2 % 4 * 3) & 7
		shifted(dst[8*j:8*j+8], d*float32(2*s+1), table[8*i:8*i+8], h&8 != 0)
	}
}
