package block

import "math"

// The formats of 32 elements: d is the scale, m the minimum. Element j < 16 is
// in the low half of byte j, element j + 16 in its high half; fifth bits are in
// a word of 32.

// Q4_0: d float16, 16 bytes of 4 bits. d · (q - 8).
func decodeQ4_0(dst []float32, src []byte) {
	d, qs, out := half(src), (*[16]byte)(src[2:]), (*[32]float32)(dst)
	for j, q := range qs {
		out[j] = d * float32(int32(q&15)-8)
		out[j+16] = d * float32(int32(q>>4)-8)
	}
}

// Q4_1: d, m float16, 16 bytes of 4 bits. d · q + m.
func decodeQ4_1(dst []float32, src []byte) {
	d, m, qs, out := half(src), half(src[2:]), (*[16]byte)(src[4:]), (*[32]float32)(dst)
	for j, q := range qs {
		out[j] = float32(d*float32(q&15)) + m
		out[j+16] = float32(d*float32(q>>4)) + m
	}
}

// Q5_0: d float16, 32 high bits, 16 bytes of 4 low bits. d · (q - 16).
func decodeQ5_0(dst []float32, src []byte) {
	d, high, qs, out := half(src), le.Uint32(src[2:]), (*[16]byte)(src[6:]), (*[32]float32)(dst)
	for j, q := range qs {
		lo, hi := q&15|byte(high>>(j&15)&1<<4), q>>4|byte(high>>(j&15+16)&1<<4)
		out[j] = d * float32(int32(lo)-16)
		out[j+16] = d * float32(int32(hi)-16)
	}
}

// Q5_1: d, m float16, 32 high bits, 16 bytes of 4 low bits. d · q + m.
func decodeQ5_1(dst []float32, src []byte) {
	d, m, high, qs, out := half(src), half(src[2:]), le.Uint32(src[4:]), (*[16]byte)(src[8:]), (*[32]float32)(dst)
	for j, q := range qs {
		lo, hi := q&15|byte(high>>(j&15)&1<<4), q>>4|byte(high>>(j&15+16)&1<<4)
		out[j] = float32(d*float32(lo)) + m
		out[j+16] = float32(d*float32(hi)) + m
	}
}

// Q8_0: d float16, 32 int8. d · q.
func decodeQ8_0(dst []float32, src []byte) {
	d, out := half(src), (*[32]float32)(dst)
	for j, q := range (*[32]byte)(src[2:]) {
		out[j] = d * float32(int8(q))
	}
}

// What follows rounds as GGML's reference does, to the same bytes.

// inverse is 1/d, or 0 for 0.
func inverse(d float32) float32 {
	if d == 0 {
		return 0
	}
	return 1 / d
}

// quantum cuts v to a whole number from 0 to top.
func quantum(v, top float32) byte { return byte(max(0, min(top, v))) }

// peak is the first value of largest magnitude.
func peak(x []float32) float32 {
	p := float32(0)
	for _, v := range x {
		if abs(v) > abs(p) {
			p = v
		}
	}
	return p
}

func abs(v float32) float32 { return math.Float32frombits(math.Float32bits(v) &^ (1 << 31)) }

// bounds are the least and the largest value.
func bounds(x []float32) (lo, hi float32) {
	lo, hi = x[0], x[0]
	for _, v := range x[1:] {
		lo, hi = min(lo, v), max(hi, v)
	}
	return lo, hi
}

func encodeQ4_0(dst []byte, src []float32) {
	d := peak(src) / -8
	putHalf(dst, d)
	id := inverse(d)
	for j := range 16 {
		lo, hi := quantum(float32(src[j]*id)+8.5, 15), quantum(float32(src[j+16]*id)+8.5, 15)
		dst[2+j] = lo | hi<<4
	}
}

func encodeQ4_1(dst []byte, src []float32) {
	m, top := bounds(src)
	d := (top - m) / 15
	putHalf(dst, d)
	putHalf(dst[2:], m)
	id := inverse(d)
	for j := range 16 {
		lo, hi := quantum(float32((src[j]-m)*id)+0.5, 15), quantum(float32((src[j+16]-m)*id)+0.5, 15)
		dst[4+j] = lo | hi<<4
	}
}

func encodeQ5_0(dst []byte, src []float32) {
	d := peak(src) / -16
	putHalf(dst, d)
	id, high := inverse(d), uint32(0)
	for j := range 16 {
		lo, hi := quantum(float32(src[j]*id)+16.5, 31), quantum(float32(src[j+16]*id)+16.5, 31)
		dst[6+j] = lo&15 | hi<<4
		high |= uint32(lo>>4)<<j | uint32(hi>>4)<<(j+16)
	}
	le.PutUint32(dst[2:], high)
}

func encodeQ5_1(dst []byte, src []float32) {
	m, top := bounds(src)
	d := (top - m) / 31
	putHalf(dst, d)
	putHalf(dst[2:], m)
	id, high := inverse(d), uint32(0)
	for j := range 16 {
		lo, hi := quantum(float32((src[j]-m)*id)+0.5, 31), quantum(float32((src[j+16]-m)*id)+0.5, 31)
		dst[8+j] = lo&15 | hi<<4
		high |= uint32(lo>>4)<<j | uint32(hi>>4)<<(j+16)
	}
	le.PutUint32(dst[4:], high)
}

func encodeQ8_0(dst []byte, src []float32) {
	d := abs(peak(src)) / 127
	putHalf(dst, d)
	id := inverse(d)
	for j, v := range src {
		dst[2+j] = byte(int8(max(-127, min(127, math.Round(float64(v*id))))))
	}
}
