package dtype

import "math"

// narrow describes a floating-point format of at most 8 bits.
type narrow struct {
	man, bias int
	max       float64 // largest finite magnitude
	nan, inf  byte    // codes; inf is nan where the format has no infinity
	overflow  bool    // the format cannot hold NaN or infinity: what overflows saturates
	noNegZero bool
	signBit   byte
}

var narrows = map[Type]narrow{
	Float8E4M3FN:   {man: 3, bias: 7, max: 448, nan: 0x7f, inf: 0x7f, signBit: 0x80},
	Float8E4M3FNUZ: {man: 3, bias: 8, max: 240, nan: 0x80, inf: 0x80, noNegZero: true, signBit: 0x80},
	Float8E5M2:     {man: 2, bias: 15, max: 57344, nan: 0x7e, inf: 0x7c, signBit: 0x80},
	Float8E5M2FNUZ: {man: 2, bias: 16, max: 57344, nan: 0x80, inf: 0x80, noNegZero: true, signBit: 0x80},
	Float4E2M1:     {man: 1, bias: 1, max: 6, nan: 8, inf: 7, overflow: true, signBit: 8},
}

// FromNarrow gives the value of a code of an 8-bit or 4-bit floating-point
// type; NaN for any other type.
func FromNarrow(t Type, code byte) float32 {
	if t == Float8E8M0 {
		if code == 0xff {
			return float32(math.NaN())
		}
		return float32(math.Ldexp(1, int(code)-127))
	}
	n, ok := narrows[t]
	if !ok {
		return float32(math.NaN())
	}
	mag := code &^ n.signBit
	v := n.magnitude(mag)
	switch {
	case n.noNegZero && code == n.nan:
		return float32(math.NaN())
	case n.inf != n.nan && !n.overflow && mag == n.inf:
		v = math.Inf(1)
	case !n.overflow && v > n.max:
		v = math.NaN()
	}
	if code&n.signBit != 0 {
		v = -v
	}
	return float32(v)
}

func (n narrow) magnitude(mag byte) float64 {
	exp, frac := int(mag>>n.man), int(mag)&(1<<n.man-1)
	if exp == 0 {
		return math.Ldexp(float64(frac), 1-n.bias-n.man)
	}
	return math.Ldexp(float64(frac+1<<n.man), exp-n.bias-n.man)
}

// ToNarrow rounds to an 8-bit or 4-bit floating-point type, to nearest, ties to
// even. What is too large becomes the largest finite value if saturate, else
// infinity or NaN, as the format has. Float8E8M0 is rounded by ToE8M0.
func ToNarrow(t Type, f float32, saturate bool) byte {
	if t == Float8E8M0 {
		return ToE8M0(f, saturate, "up")
	}
	n := narrows[t]
	sign := byte(0)
	if math.Signbit(float64(f)) {
		sign = n.signBit
	}
	a := math.Abs(float64(f))
	switch {
	case math.IsNaN(a) && (n.noNegZero || n.overflow):
		return n.nan
	case math.IsNaN(a):
		return n.nan | sign
	}
	code, over := n.encode(a)
	switch {
	case over && (saturate || n.overflow):
		code, _ = n.encode(n.max)
	case over && n.noNegZero:
		return n.nan
	case over:
		code = n.inf
	case code == 0 && n.noNegZero:
		return 0
	}
	return code | sign
}

// encode rounds a magnitude; over says that it exceeds the format's largest.
func (n narrow) encode(a float64) (code byte, over bool) {
	if math.IsInf(a, 0) {
		return 0, true
	}
	if a == 0 {
		return 0, false
	}
	_, e := math.Frexp(a)
	e = max(e-1, 1-n.bias)
	q := math.RoundToEven(math.Ldexp(a, n.man-e))
	if math.Ldexp(q, e-n.man) > n.max {
		return 0, true
	}
	// q < 2^man is subnormal; a carry into 2^(man+1) is the next exponent's first.
	return byte((e+n.bias-1)<<n.man + int(q)), false
}

// ToE8M0 rounds to a power of two from 2^-127 to 2^127 by its bits, as the
// Microscaling formats do: mode is up, down or nearest. Signs are dropped; NaN
// and infinity give NaN.
func ToE8M0(f float32, saturate bool, mode string) byte {
	bits := math.Float32bits(f)
	exp := bits >> 23 & 0xff
	if exp == 0xff {
		return 0xff
	}
	frac := bits & 0x7fffff
	up := false
	switch mode {
	case "up":
		up = frac > 0
	case "nearest":
		up = frac > 0x400000 || frac == 0x400000 && exp > 0
	}
	if up && !(saturate && exp == 0xfe) {
		exp++
	}
	return byte(exp)
}
