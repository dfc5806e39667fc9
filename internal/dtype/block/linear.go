package block

// The formats of 32 elements: d is the scale, m the minimum. Element j < 16 is
// in the low half of byte j, element j + 16 in its high half; fifth bits are in
// a word of 32.

// Q4_0: d float16, 16 bytes of 4 bits. d · (q - 8).
func decodeQ4_0(dst []float32, src []byte) {
	d, qs := half(src), src[2:18]
	for j, q := range qs {
		dst[j] = d * float32(int(q&15)-8)
		dst[j+16] = d * float32(int(q>>4)-8)
	}
}

// Q4_1: d, m float16, 16 bytes of 4 bits. d · q + m.
func decodeQ4_1(dst []float32, src []byte) {
	d, m, qs := half(src), half(src[2:]), src[4:20]
	for j, q := range qs {
		dst[j] = float32(d*float32(q&15)) + m
		dst[j+16] = float32(d*float32(q>>4)) + m
	}
}

// Q5_0: d float16, 32 high bits, 16 bytes of 4 low bits. d · (q - 16).
func decodeQ5_0(dst []float32, src []byte) {
	d, high, qs := half(src), le.Uint32(src[2:]), src[6:22]
	for j, q := range qs {
		lo, hi := q&15|byte(high>>j&1<<4), q>>4|byte(high>>(j+16)&1<<4)
		dst[j] = d * float32(int(lo)-16)
		dst[j+16] = d * float32(int(hi)-16)
	}
}

// Q5_1: d, m float16, 32 high bits, 16 bytes of 4 low bits. d · q + m.
func decodeQ5_1(dst []float32, src []byte) {
	d, m, high, qs := half(src), half(src[2:]), le.Uint32(src[4:]), src[8:24]
	for j, q := range qs {
		lo, hi := q&15|byte(high>>j&1<<4), q>>4|byte(high>>(j+16)&1<<4)
		dst[j] = float32(d*float32(lo)) + m
		dst[j+16] = float32(d*float32(hi)) + m
	}
}

// Q8_0: d float16, 32 int8. d · q.
func decodeQ8_0(dst []float32, src []byte) {
	d := half(src)
	for j, q := range src[2:34] {
		dst[j] = d * float32(int8(q))
	}
}
