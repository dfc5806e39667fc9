package block

// The formats of 256 elements in sub-blocks of 16 or 32: d scales the
// sub-blocks' integer scales, dmin their integer minima. In what follows
// element i is at place l = i%32 of row i/32 of 32 elements.

// Q2_K: 16 bytes of scale (low half) and minimum (high half) per 16 elements,
// 64 bytes of 2 bits, d, dmin float16. d·s·q - dmin·m.
func decodeQ2_K(dst []float32, src []byte) {
	scales, qs, d, dmin := src[:16], src[16:80], half(src[80:]), half(src[82:])
	for j, s := range scales {
		dl, ml := d*float32(s&15), dmin*float32(s>>4)
		low, shift := low2(qs, j)
		out := sub16(dst, j)
		for l, q := range low {
			out[l] = float32(dl*float32(q>>(shift&7)&3)) - ml
		}
	}
}

// low2 is where the 2 bits of each of elements 16j to 16j+15 are: four rows of
// 32 share 32 bytes.
func low2(qs []byte, j int) (bytes *[16]byte, shift int) {
	return (*[16]byte)(qs[j/8*32+j%2*16:]), j / 2 % 4 * 2
}

// sub16 is elements 16j to 16j+15. Arrays and masked shifts spare the loops
// their checks, which took half of the time.
func sub16(dst []float32, j int) *[16]float32 { return (*[16]float32)(dst[16*j:]) }

// sub32 is elements 32j to 32j+31.
func sub32(dst []float32, j int) *[32]float32 { return (*[32]float32)(dst[32*j:]) }

// Q3_K: 32 bytes of high bits, 64 bytes of 2 low bits, 12 bytes of 16 scales of
// 6 bits, d float16. d·(s-32)·(q-4).
func decodeQ3_K(dst []float32, src []byte) {
	high, qs, scales, d := src[:32], src[32:96], src[96:108], half(src[108:])
	for j := range 16 {
		dl := d * float32(int(scaleQ3_K(scales, j))-32)
		low, shift := low2(qs, j)
		out, top := sub16(dst, j), (*[16]byte)(high[j%2*16:])
		for l, q := range low {
			out[l] = dl * float32(int32(q>>(shift&7)&3|top[l]>>(j/2&7)&1<<2)-4)
		}
	}
}

// scaleQ3_K is scale j: four low bits from the first 8 bytes, two high bits
// from the last 4.
func scaleQ3_K(packed []byte, j int) byte {
	return packed[j%8]>>(j/8*4)&15 | packed[8+j%4]>>(j/4*2)&3<<4
}

// Q4_K: d, dmin float16, 12 bytes of 8 scales and 8 minima of 6 bits, 128 bytes
// of 4 bits. d·s·q - dmin·m.
func decodeQ4_K(dst []float32, src []byte) {
	d, dmin, scales, qs := half(src), half(src[2:]), src[4:16], src[16:144]
	for j := range 8 {
		s, m := scaleMin(scales, j)
		dl, ml := d*float32(s), dmin*float32(m)
		out, shift := sub32(dst, j), j%2*4
		for l, q := range (*[32]byte)(qs[j/2*32:]) {
			out[l] = float32(dl*float32(q>>(shift&7)&15)) - ml
		}
	}
}

// scaleMin is the scale and the minimum of row j of 32 in Q4_K and Q5_K. The
// first four of each are whole in bytes 0 to 7; the others have four bits in
// bytes 8 to 11 and two on top of the first ones'.
func scaleMin(packed []byte, j int) (scale, minimum byte) {
	if j < 4 {
		return packed[j] & 63, packed[j+4] & 63
	}
	return packed[j+4]&15 | packed[j-4]>>6<<4, packed[j+4]>>4 | packed[j]>>6<<4
}

// Q5_K: d, dmin float16, scales and minima as in Q4_K, 32 bytes of high bits,
// 128 bytes of 4 low bits. d·s·q - dmin·m.
func decodeQ5_K(dst []float32, src []byte) {
	d, dmin, scales, high, qs := half(src), half(src[2:]), src[4:16], src[16:48], src[48:176]
	for j := range 8 {
		s, m := scaleMin(scales, j)
		dl, ml := d*float32(s), dmin*float32(m)
		out, top, shift := sub32(dst, j), (*[32]byte)(high), j%2*4
		for l, q := range (*[32]byte)(qs[j/2*32:]) {
			out[l] = float32(dl*float32(q>>(shift&7)&15|top[l]>>(j&7)&1<<4)) - ml
		}
	}
}

// Q6_K: 128 bytes of 4 low bits, 64 bytes of 2 high bits, 16 int8 scales,
// d float16. d·s·(q-32). Rows 0 and 2 of four share 32 bytes of low bits, and so
// do rows 1 and 3.
func decodeQ6_K(dst []float32, src []byte) {
	low, high, scales, d := src[:128], src[128:192], src[192:208], half(src[208:])
	for j, s := range scales {
		dl := d * float32(int8(s))
		out, lowShift := sub16(dst, j), j/4%2*4
		top, shift := low2(high, j)
		for l, q := range (*[16]byte)(low[j/8*64+j%4*16:]) {
			out[l] = dl * float32(int32(q>>(lowShift&7)&15|top[l]>>(shift&7)&3<<4)-32)
		}
	}
}
