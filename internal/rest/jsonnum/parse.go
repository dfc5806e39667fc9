// Package jsonnum reads and writes the numbers of JSON arrays at the speed that
// tensors need: floats are correctly rounded and integers exact, without an
// allocation per number.
package jsonnum

import (
	"encoding/binary"
	"errors"
	"math"
	"strconv"
)

// The errors of the parsers. They say what is wrong with the number; the caller
// says where.
var (
	ErrSyntax  = errors.New("not a number")
	ErrRange   = errors.New("out of range")
	ErrInteger = errors.New("not an integer")
)

// decimal is a number as written: mant × 10^exp, and whether mant is only a
// prefix of the digits (more than 19).
type decimal struct {
	mant  uint64
	exp   int
	neg   bool
	long  bool
	plain bool // no fraction and no exponent: an integer literal
}

// scan reads the JSON number at b[i:] and returns the index behind it, or -1 if
// there is none. It accepts exactly RFC 8259's grammar.
func scan(b []byte, i int) (d decimal, next int) {
	if i < len(b) && b[i] == '-' {
		d.neg = true
		i++
	}
	if i >= len(b) {
		return d, -1
	}
	start := i
	switch c := b[i]; {
	case c == '0':
		i++
		if i < len(b) && isDigit(b[i]) {
			return d, -1
		}
	case isDigit(c):
		d.mant, i = digits(b, i, 0)
	default:
		return d, -1
	}
	significant := i - start
	d.plain = true
	if i < len(b) && b[i] == '.' {
		d.plain = false
		dot := i + 1
		d.mant, i = digits(b, dot, d.mant)
		if i == dot {
			return d, -1
		}
		d.exp = dot - i
		significant += i - dot
	}
	if significant > 19 {
		d.long = longDigits(b[start:i])
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		d.plain = false
		return d.exponent(b, i+1)
	}
	return d, i
}

// exponent reads what follows the letter e.
func (d decimal) exponent(b []byte, i int) (decimal, int) {
	neg := false
	if i < len(b) && (b[i] == '+' || b[i] == '-') {
		neg = b[i] == '-'
		i++
	}
	start, e := i, 0
	for ; i < len(b) && isDigit(b[i]); i++ {
		if e < 1e6 { // more is out of any range, with any mantissa a request can hold
			e = e*10 + int(b[i]-'0')
		}
	}
	if i == start {
		return d, -1
	}
	if neg {
		e = -e
	}
	d.exp += e
	return d, i
}

// longDigits reports whether text has more than 19 significant digits, so that
// they overflow 64 bits.
func longDigits(text []byte) bool {
	n, leading := 0, true
	for _, c := range text {
		if c == '.' || leading && c == '0' {
			continue
		}
		leading = false
		n++
	}
	return n > 19
}

func isDigit(c byte) bool { return c-'0' <= 9 }

// digits appends the decimal digits at b[i:] to mant.
func digits(b []byte, i int, mant uint64) (uint64, int) {
	for i+8 <= len(b) {
		w := binary.LittleEndian.Uint64(b[i:])
		// All eight bytes are digits if their high nibbles are 3 and stay so
		// when 6 is added.
		if (w&0xf0f0f0f0f0f0f0f0)|((w+0x0606060606060606)&0xf0f0f0f0f0f0f0f0)>>4 != 0x3333333333333333 {
			break
		}
		w -= 0x3030303030303030
		w = w*10 + w>>8 // pairs, then fours, then all eight
		w = ((w&0x000000ff000000ff)*0x000f424000000064 + (w>>16&0x000000ff000000ff)*0x0000271000000001) >> 32
		mant = mant*100000000 + w&0xffffffff
		i += 8
	}
	for i < len(b) && isDigit(b[i]) {
		mant = mant*10 + uint64(b[i]-'0')
		i++
	}
	return mant, i
}

// pow10 holds the powers of ten that a float64 represents exactly.
var pow10 = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// inv10 holds the float64 nearest to each negative power of ten.
var inv10 = [...]float64{1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11,
	1e-12, 1e-13, 1e-14, 1e-15, 1e-16, 1e-17, 1e-18, 1e-19}

// Float32 reads the number at b[i:] as the nearest float32, ties to even. A
// number beyond the finite range is ErrRange.
//
// The common form, up to 19 digits without an exponent, is read here; the rest
// goes to float32Slow.
func Float32(b []byte, i int) (v float32, next int, err error) {
	p := i
	if p < len(b) && b[p] == '-' {
		p++
	}
	first := p
	var mant uint64
	for p < len(b) && isDigit(b[p]) {
		mant = mant*10 + uint64(b[p]-'0')
		p++
	}
	whole := p - first
	if whole == 0 || whole > 1 && b[first] == '0' {
		return 0, i, ErrSyntax
	}
	fraction := 0
	if p < len(b) && b[p] == '.' {
		dot := p + 1
		mant, p = digits(b, dot, mant)
		if fraction = p - dot; fraction == 0 {
			return 0, i, ErrSyntax
		}
	}
	if whole+fraction > 19 || p < len(b) && b[p]|0x20 == 'e' {
		return float32Slow(b, i)
	}
	if mant == 0 {
		if first > i {
			v = float32(math.Copysign(0, -1))
		}
		return v, p, nil
	}
	// The conversion, the power and the product each err by half an ulp of
	// float64 at most, so f is within 2 ulps of the number. Rounding f again to
	// float32 is right unless a tie between two float32 values lies that near:
	// bit 28 set and the 28 bits below it clear, in the normal range.
	f := float64(mant) * inv10[fraction]
	if below := math.Float64bits(f) & (1<<29 - 1); below-(1<<28-8) <= 16 || f < 0x1p-125 {
		return float32Slow(b, i)
	}
	v = float32(f)
	if first > i {
		v = -v
	}
	return v, p, nil
}

func float32Slow(b []byte, i int) (v float32, next int, err error) {
	d, next := scan(b, i)
	if next < 0 {
		return 0, i, ErrSyntax
	}
	if d.mant == 0 && !d.long {
		if d.neg {
			return float32(math.Copysign(0, -1)), next, nil
		}
		return 0, next, nil
	}
	f, err := strconv.ParseFloat(string(b[i:next]), 32)
	if err != nil {
		return 0, next, ErrRange
	}
	return float32(f), next, nil
}

// Float64 reads the number at b[i:] as the nearest float64, ties to even. A
// number beyond the finite range is ErrRange.
func Float64(b []byte, i int) (v float64, next int, err error) {
	d, next := scan(b, i)
	if next < 0 {
		return 0, i, ErrSyntax
	}
	if !d.long && d.mant < 1<<53 && d.exp >= -22 && d.exp <= 22 {
		f := float64(d.mant) // exact, so one operation rounds once
		if d.exp < 0 {
			f /= pow10[-d.exp]
		} else {
			f *= pow10[d.exp]
		}
		if d.neg {
			f = -f
		}
		return f, next, nil
	}
	v, err = strconv.ParseFloat(string(b[i:next]), 64)
	if err != nil {
		return 0, next, ErrRange
	}
	return v, next, nil
}

// Int reads the number at b[i:] as an integer of the given size in bits. A
// fraction or an exponent is ErrInteger, even where the value is whole.
func Int(b []byte, i, bits int) (v int64, next int, err error) {
	d, next := scan(b, i)
	switch {
	case next < 0:
		return 0, i, ErrSyntax
	case !d.plain:
		return 0, next, ErrInteger
	case d.long:
		return 0, next, ErrRange
	}
	limit := uint64(1) << (bits - 1)
	if d.neg {
		if d.mant > limit {
			return 0, next, ErrRange
		}
		return -int64(d.mant), next, nil
	}
	if d.mant >= limit {
		return 0, next, ErrRange
	}
	return int64(d.mant), next, nil
}

// Uint reads the number at b[i:] as an unsigned integer of the given size in
// bits. A fraction or an exponent is ErrInteger, even where the value is whole.
func Uint(b []byte, i, bits int) (v uint64, next int, err error) {
	d, next := scan(b, i)
	switch {
	case next < 0:
		return 0, i, ErrSyntax
	case !d.plain:
		return 0, next, ErrInteger
	case d.neg && d.mant != 0:
		return 0, next, ErrRange
	case d.long || next-i > 19: // 20 digits may still fit 64 bits
		v, err = strconv.ParseUint(string(b[i:next]), 10, bits)
		if err != nil {
			return 0, next, ErrRange
		}
		return v, next, nil
	case bits < 64 && d.mant>>bits != 0:
		return 0, next, ErrRange
	}
	return d.mant, next, nil
}
