package block

import "math"

// valuesE2M1 are the 4-bit floats of the OCP Microscaling specification, times two.
var valuesE2M1 = [16]int8{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}

// MXFP4: an exponent with bias 127, 16 bytes of 4-bit floats. 2^(e-127) · value.
// Exponent 255, a NaN in the specification, is 2^128 here as in GGML.
func decodeMXFP4(dst []float32, src []byte) {
	d, out := halfE8M0(src[0]), (*[32]float32)(dst)
	for j, q := range (*[16]byte)(src[1:]) {
		out[j] = d * float32(valuesE2M1[q&15])
		out[j+16] = d * float32(valuesE2M1[q>>4])
	}
}

// halfE8M0 is half of 2^(e-127), as the values are doubled.
func halfE8M0(e byte) float32 {
	if e < 2 { // subnormal
		return math.Float32frombits(1 << (21 + e))
	}
	return math.Float32frombits(uint32(e-1) << 23)
}

// encodeMXFP4 takes the exponent at which the largest magnitude is between 4
// and 8, and then the nearest values, of two as near that of the lower code.
func encodeMXFP4(dst []byte, src []float32) {
	dst[0] = 0
	if p := peak(src); p != 0 {
		_, e := math.Frexp(float64(p)) // 2^(e-1) ≤ |p| < 2^e
		dst[0] = byte(max(0, e-3+127))
	}
	d := halfE8M0(dst[0])
	for j := range 16 {
		dst[1+j] = codeE2M1(src[j], d) | codeE2M1(src[j+16], d)<<4
	}
}

func codeE2M1(v, d float32) byte {
	best, least := 0, float32(math.Inf(1))
	for i, l := range valuesE2M1 {
		if err := abs(float32(d*float32(l)) - v); err < least {
			best, least = i, err
		}
	}
	return byte(best)
}
