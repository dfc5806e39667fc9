package block

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
