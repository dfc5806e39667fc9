package block

// The formats of BitNet models: -d, 0 or d.

// TQ1_0: 32, 16 and 4 bytes of five elements each (the last four of four), d
// float16. A byte is a fraction of 256 whose digits to the base of three are its
// elements plus one; a digit is what carries when the fraction is tripled.
func decodeTQ1_0(dst []float32, src []byte) {
	d := half(src[52:])
	for _, part := range [][]byte{src[:32], src[32:48], src[48:52]} {
		for n, power := 0, byte(1); n < 5 && len(dst) > 0; n, power = n+1, power*3 {
			for m, q := range part {
				dst[m] = d * float32(int(uint16(q*power)*3>>8)-1)
			}
			dst = dst[len(part):]
		}
	}
}

// TQ2_0: 64 bytes of 2 bits, d float16. d·(q-1).
func decodeTQ2_0(dst []float32, src []byte) {
	qs, d := src[:64], half(src[64:])
	for j := range 16 {
		low, shift := low2(qs, j)
		out := sub16(dst, j)
		for l, q := range low {
			out[l] = d * float32(int32(q>>(shift&7)&3)-1)
		}
	}
}
