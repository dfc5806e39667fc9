// Package block has the block-quantized number formats of GGML, in which GGUF
// files store weights: a row of numbers is cut into blocks of 32 or 256, and a
// block holds small integers with a scale that they share. Plain floats are
// formats with blocks of one number.
//
// # Arithmetic
//
// Decode is the specification of each format's values: every product and sum is
// rounded to float32 in the order in which the functions here write it, and
// equals what the gguf package's dequantize gives, bit by bit.
package block

import (
	"fmt"
	"math"
	"strings"
)

// Format is a number format. The numbering is that of GGML's ggml_type, which
// GGUF files use.
type Format uint8

// The formats. A number in a name is the bits of one quantized value, and _0
// means a scale, _1 a scale and a minimum per block; _K formats have scales of
// scales, IQ formats take vectors of values from a table, TQ formats have three
// values. I8 to I64 and F64 occur in files and have sizes, but no Decode: to
// read them as float32 would not be exact.
const (
	F32     Format = 0
	F16     Format = 1
	Q4_0    Format = 2
	Q4_1    Format = 3
	Q5_0    Format = 6
	Q5_1    Format = 7
	Q8_0    Format = 8
	Q2_K    Format = 10
	Q3_K    Format = 11
	Q4_K    Format = 12
	Q5_K    Format = 13
	Q6_K    Format = 14
	IQ2_XXS Format = 16
	IQ2_XS  Format = 17
	IQ3_XXS Format = 18
	IQ1_S   Format = 19
	IQ4_NL  Format = 20
	IQ3_S   Format = 21
	IQ2_S   Format = 22
	IQ4_XS  Format = 23
	I8      Format = 24
	I16     Format = 25
	I32     Format = 26
	I64     Format = 27
	F64     Format = 28
	IQ1_M   Format = 29
	BF16    Format = 30
	TQ1_0   Format = 34
	TQ2_0   Format = 35
	MXFP4   Format = 39
	number         = 64 // of places in the table of formats
)

// info describes a format. The functions see one block, or a whole row where
// blocks have one element.
type info struct {
	name   string
	elems  int
	bytes  int
	decode func(dst []float32, src []byte)
	encode func(dst []byte, src []float32)
	// weighted is encode by the importance of each element, or as encode does if
	// that is nil. A format that has it may lack encode.
	weighted func(dst []byte, src, importance []float32)
}

var infos = [number]info{
	F32:     {"f32", 1, 4, decodeF32, encodeF32, nil},
	F16:     {"f16", 1, 2, decodeF16, encodeF16, nil},
	BF16:    {"bf16", 1, 2, decodeBF16, encodeBF16, nil},
	Q4_0:    {"q4_0", 32, 18, decodeQ4_0, encodeQ4_0, weightedQ4_0},
	Q4_1:    {"q4_1", 32, 20, decodeQ4_1, encodeQ4_1, weightedQ4_1},
	Q5_0:    {"q5_0", 32, 22, decodeQ5_0, encodeQ5_0, weightedQ5_0},
	Q5_1:    {"q5_1", 32, 24, decodeQ5_1, encodeQ5_1, weightedQ5_1},
	Q8_0:    {"q8_0", 32, 34, decodeQ8_0, encodeQ8_0, nil},
	Q2_K:    {"q2_k", 256, 84, decodeQ2_K, nil, encodeQ2_K},
	Q3_K:    {"q3_k", 256, 110, decodeQ3_K, nil, encodeQ3_K},
	Q4_K:    {"q4_k", 256, 144, decodeQ4_K, nil, encodeQ4_K},
	Q5_K:    {"q5_k", 256, 176, decodeQ5_K, nil, encodeQ5_K},
	Q6_K:    {"q6_k", 256, 210, decodeQ6_K, nil, encodeQ6_K},
	IQ1_S:   {"iq1_s", 256, 50, decodeIQ1_S, nil, nil},
	IQ1_M:   {"iq1_m", 256, 56, decodeIQ1_M, nil, nil},
	IQ2_XXS: {"iq2_xxs", 256, 66, decodeIQ2_XXS, nil, nil},
	IQ2_XS:  {"iq2_xs", 256, 74, decodeIQ2_XS, nil, nil},
	IQ2_S:   {"iq2_s", 256, 82, decodeIQ2_S, nil, nil},
	IQ3_XXS: {"iq3_xxs", 256, 98, decodeIQ3_XXS, nil, nil},
	IQ3_S:   {"iq3_s", 256, 110, decodeIQ3_S, nil, nil},
	IQ4_NL:  {"iq4_nl", 32, 18, decodeIQ4_NL, nil, encodeIQ4_NL},
	IQ4_XS:  {"iq4_xs", 256, 136, decodeIQ4_XS, nil, encodeIQ4_XS},
	TQ1_0:   {"tq1_0", 256, 54, decodeTQ1_0, nil, nil},
	TQ2_0:   {"tq2_0", 256, 66, decodeTQ2_0, nil, nil},
	MXFP4:   {"mxfp4", 32, 17, decodeMXFP4, encodeMXFP4, nil},
	I8:      {"i8", 1, 1, nil, nil, nil},
	I16:     {"i16", 1, 2, nil, nil, nil},
	I32:     {"i32", 1, 4, nil, nil, nil},
	I64:     {"i64", 1, 8, nil, nil, nil},
	F64:     {"f64", 1, 8, nil, nil, nil},
}

func (f Format) info() *info {
	if f >= number {
		return &info{}
	}
	return &infos[f]
}

// Valid reports whether f is a format that this package knows.
func (f Format) Valid() bool { return f.info().name != "" }

// String is the format's name in lower case, such as "q4_0".
func (f Format) String() string {
	if s := f.info().name; s != "" {
		return s
	}
	return fmt.Sprintf("ggml_type(%d)", uint8(f))
}

// Parse is the inverse of String; upper case is accepted.
func Parse(s string) (Format, error) {
	var names []string
	for f := range Format(number) {
		if name := f.info().name; name != "" {
			if strings.EqualFold(name, s) {
				return f, nil
			}
			names = append(names, name)
		}
	}
	return 0, fmt.Errorf("%q is no number format: expected one of %s", s, strings.Join(names, ", "))
}

// Elems is the number of elements in a block.
func (f Format) Elems() int { return f.info().elems }

// Bytes is the number of bytes in a block.
func (f Format) Bytes() int { return f.info().bytes }

// Decodes reports whether Decode takes the format.
func (f Format) Decodes() bool { return f.info().decode != nil }

// Encodes reports whether Encode takes the format.
func (f Format) Encodes() bool { return f.info().encode != nil || f.info().weighted != nil }

// RowBytes is the number of bytes that a row of n elements takes. A row that
// is no whole number of blocks is an error.
func (f Format) RowBytes(n int) (int, error) {
	i := f.info()
	switch {
	case i.elems == 0:
		return 0, fmt.Errorf("%v is no number format known here", f)
	case n < 0 || n%i.elems != 0:
		return 0, fmt.Errorf("a row of %d elements cannot be %v: expected a multiple of %d, the elements of a block", n, f, i.elems)
	case n/i.elems > math.MaxInt/i.bytes:
		return 0, fmt.Errorf("a row of %d elements of %v has more bytes than this system can address", n, f)
	}
	return n / i.elems * i.bytes, nil
}

// Decode writes the values of src, whole blocks of format f, to dst. It panics
// if f has no decoder or src is not as long as RowBytes(len(dst)) says.
func Decode(f Format, dst []float32, src []byte) {
	i := f.info()
	if i.decode == nil {
		panic(fmt.Sprintf("block: %v has no decoder", f))
	}
	f.check(len(dst), len(src))
	if i.elems == 1 {
		i.decode(dst, src)
		return
	}
	for ; len(dst) > 0; dst, src = dst[i.elems:], src[i.bytes:] {
		i.decode(dst[:i.elems], src[:i.bytes])
	}
}

// Encode rounds src to whole blocks of format f in dst: to nearest, and for
// formats with a choice of scales to those with a small squared error. It
// panics if f has no encoder or dst is not as long as RowBytes(len(src)) says.
// Scales are float16 in most formats: with values so large that theirs
// overflows, NaN or infinities a block is meaningless; callers check for them.
func Encode(f Format, dst []byte, src []float32) { EncodeWeighted(f, dst, src, nil) }

// EncodeWeighted is Encode where the square of an element's error counts as
// often as importance says: one number of at least 0 for each of src, such as
// the mean square of the activation that is multiplied with it. Without
// importance (nil), and in formats without a choice, it is Encode.
func EncodeWeighted(f Format, dst []byte, src, importance []float32) {
	i := f.info()
	if !f.Encodes() {
		panic(fmt.Sprintf("block: %v has no encoder", f))
	}
	f.check(len(src), len(dst))
	if importance != nil && len(importance) != len(src) {
		panic(fmt.Sprintf("block: %d importances for %d elements", len(importance), len(src)))
	}
	if i.elems == 1 {
		i.encode(dst, src)
		return
	}
	for ; len(src) > 0; dst, src = dst[i.bytes:], src[i.elems:] {
		if i.weighted == nil || i.encode != nil && importance == nil {
			i.encode(dst[:i.bytes], src[:i.elems])
			continue
		}
		var w []float32
		if importance != nil {
			w, importance = importance[:i.elems], importance[i.elems:]
		}
		i.weighted(dst[:i.bytes], src[:i.elems], w)
	}
}

func (f Format) check(elems, bytes int) {
	want, err := f.RowBytes(elems)
	if err != nil {
		panic("block: " + err.Error())
	}
	if want != bytes {
		panic(fmt.Sprintf("block: %d elements of %v take %d bytes, not %d", elems, f, want, bytes))
	}
}
