package tensorops

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/tensor"
)

func inf32() float32 { return float32(math.Inf(1)) }

// conversion is how values that do not fit the target are treated, which
// matters for the 8-bit floats only.
type conversion struct {
	saturate bool
	round    string // of float8e8m0: up, down or nearest
}

// convert writes src's elements to dst in dst's type. Integers wrap; floats to
// integers truncate, and beyond the range give what x86 gives (see
// elemwise.Cast); narrower floats round to nearest, ties to even.
func (cv conversion) convert(dst, src *tensor.Tensor) error {
	switch {
	case src.DType == dst.DType:
		dst.CopyElements(0, src, 0, src.Len())
		return nil
	case src.DType == dtype.String:
		return cv.parse(dst, src.Strings)
	case dst.DType == dtype.String:
		return format(dst.Strings, src)
	}
	switch dt := src.DType; {
	case dt.Bits() < 8 && dt != dtype.Float4E2M1:
		cv.fromInts(dst, unpacked(src))
	case dt == dtype.Uint64:
		cv.fromUints(dst, num.Uint64s(src))
	case dt.IsInt() || dt == dtype.Bool:
		cv.fromInts(dst, num.Int64s(src))
	default:
		cv.fromFloats(dst, floats(src))
	}
	return nil
}

// floats reads floating-point elements of any width.
func floats(t *tensor.Tensor) []float64 {
	if t.DType.Bits() > 8 {
		return num.Floats(t)
	}
	codes := t.Data
	if t.DType.Bits() < 8 {
		codes = t.Unpack()
	}
	out := make([]float64, t.Len())
	for i := range out {
		out[i] = float64(dtype.FromNarrow(t.DType, codes[i]))
	}
	return out
}

// unpacked reads 2-bit and 4-bit integers.
func unpacked(t *tensor.Tensor) []int64 {
	bits := t.DType.Bits()
	out := make([]int64, t.Len())
	for i, v := range t.Unpack() {
		out[i] = int64(v)
		if t.DType.IsSigned() && v >= 1<<(bits-1) {
			out[i] -= 1 << bits
		}
	}
	return out
}

func (cv conversion) fromFloats(dst *tensor.Tensor, v []float64) {
	switch dt := dst.DType; {
	case dt.Bits() <= 8 && dt.IsFloat():
		cv.setNarrow(dst, v)
	case dt == dtype.Uint64:
		u := make([]uint64, len(v))
		for i, x := range v {
			u[i] = toUint64(x)
		}
		num.SetUint64s(dst, u)
	case dt.IsInt():
		n := make([]int64, len(v))
		for i, x := range v {
			n[i] = toInt64(x)
		}
		cv.fromInts(dst, n)
	default:
		num.SetFloats(dst, v)
	}
}

func (cv conversion) setNarrow(dst *tensor.Tensor, v []float64) {
	codes := make([]byte, len(v))
	for i, x := range v {
		if dst.DType == dtype.Float8E8M0 {
			codes[i] = dtype.ToE8M0(float32(x), cv.saturate, cv.round)
		} else {
			codes[i] = dtype.ToNarrow(dst.DType, float32(x), cv.saturate)
		}
	}
	if dst.DType.Bits() < 8 {
		dst.Pack(codes)
	} else {
		copy(dst.Data, codes)
	}
}

func (cv conversion) fromInts(dst *tensor.Tensor, v []int64) {
	switch dt := dst.DType; {
	case dt.Bits() < 8 && !dt.IsFloat():
		low := make([]byte, len(v))
		for i, x := range v {
			low[i] = byte(x)
		}
		dst.Pack(low)
	case dt.Bits() <= 8 && dt.IsFloat():
		f := make([]float64, len(v))
		for i, x := range v {
			f[i] = float64(x)
		}
		cv.setNarrow(dst, f)
	default:
		num.SetInt64s(dst, v)
	}
}

func (cv conversion) fromUints(dst *tensor.Tensor, v []uint64) {
	if dst.DType.Bits() > 8 || dst.DType.Bits() == 8 && !dst.DType.IsFloat() {
		num.SetUint64s(dst, v)
		return
	}
	f := make([]float64, len(v))
	n := make([]int64, len(v))
	for i, x := range v {
		f[i], n[i] = float64(x), int64(x)
	}
	if dst.DType.IsFloat() {
		cv.setNarrow(dst, f)
	} else {
		cv.fromInts(dst, n)
	}
}

// toInt64 truncates; NaN and what is out of range give the least integer.
func toInt64(x float64) int64 {
	if x >= -(1<<63) && x < 1<<63 {
		return int64(x)
	}
	return math.MinInt64
}

func toUint64(x float64) uint64 {
	if x >= 1<<63 && x < 1<<64 {
		return uint64(x)
	}
	return uint64(toInt64(x))
}

// parse reads numbers as ONNX writes them: plain or scientific, INF, NaN.
func (cv conversion) parse(dst *tensor.Tensor, text []string) error {
	if dst.DType.IsInt() && dst.DType.Bits() >= 8 {
		if n, ok := parseInts(text); ok {
			num.SetInt64s(dst, n)
			return nil
		}
	}
	v := make([]float64, len(text))
	for i, s := range text {
		f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
		if err != nil && !isRange(err) {
			return fmt.Errorf("element %d: expected a number, found %q", i, s)
		}
		v[i] = f
	}
	cv.fromFloats(dst, v)
	return nil
}

func isRange(err error) bool {
	e, ok := err.(*strconv.NumError)
	return ok && e.Err == strconv.ErrRange
}

// parseInts reads integers exactly, those above the largest int64 as uint64.
func parseInts(text []string) ([]int64, bool) {
	out := make([]int64, len(text))
	for i, s := range text {
		s = strings.TrimSpace(s)
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			u, err := strconv.ParseUint(s, 10, 64)
			if err != nil {
				return nil, false
			}
			n = int64(u)
		}
		out[i] = n
	}
	return out, true
}

// format writes numbers as text: integers in decimal, floats with the fewest
// digits that read back as the same number.
func format(dst []string, src *tensor.Tensor) error {
	switch dt := src.DType; {
	case dt == dtype.Uint64:
		for i, v := range num.Uint64s(src) {
			dst[i] = strconv.FormatUint(v, 10)
		}
	case dt.Bits() < 8 && !dt.IsFloat():
		for i, v := range unpacked(src) {
			dst[i] = strconv.FormatInt(v, 10)
		}
	case dt == dtype.Bool:
		for i, v := range tensor.Of[bool](src) {
			dst[i] = "False"
			if v {
				dst[i] = "True"
			}
		}
	case dt.IsInt():
		for i, v := range num.Int64s(src) {
			dst[i] = strconv.FormatInt(v, 10)
		}
	case dt.IsFloat():
		bits := 32
		if dt == dtype.Float64 {
			bits = 64
		}
		for i, v := range floats(src) {
			dst[i] = formatFloat(v, bits)
		}
	default:
		return fmt.Errorf("cannot convert %s to string", src)
	}
	return nil
}

func formatFloat(v float64, bits int) string {
	switch {
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 1):
		return "INF"
	case math.IsInf(v, -1):
		return "-INF"
	}
	return strconv.FormatFloat(v, 'g', -1, bits)
}
