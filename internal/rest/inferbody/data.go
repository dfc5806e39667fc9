package inferbody

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/oip"
	"github.com/salver-ml/salver/internal/rest/jsonnum"
	"github.com/salver-ml/salver/internal/tensor"
)

// data reads the elements of t, whose datatype and shape are set and whose
// memory for n elements is there. The array is flat, or nested as the shape is.
func (s *scanner) data(t *tensor.Tensor, n int) error {
	if s.peek() != '[' {
		return s.errorf("data: expected an array, found %s", s.found())
	}
	start := s.i
	depth := s.depth()
	rank := t.Rank()
	if depth > 1 && depth != rank {
		return s.errorf("data: expected a flat array or one nested %d deep as the shape %v is, found one nested %d deep", rank, t.Shape, depth)
	}
	var err error
	switch {
	case n == 0:
		err = s.nothing(t)
	case depth == 1:
		s.i++
		if err = s.row(t, 0, n); err == nil {
			err = s.closeRow(1)
		}
	default:
		err = s.nested(t)
	}
	if err == errCount {
		s.i = start
		return s.errorf("data: expected %d elements for shape %v, found %s", n, t.Shape, s.count(depth))
	}
	return err
}

// depth counts the brackets that open at the current place.
func (s *scanner) depth() int {
	i := s.i
	d := 0
	for s.peek() == '[' && d <= oip.MaxRank {
		d++
		s.i++
	}
	s.i = i
	return d
}

// errCount says that a row has another number of elements than the shape.
var errCount = fmt.Errorf("wrong number of elements")

// nothing reads an array without elements: [] or, say, [[], []].
func (s *scanner) nothing(t *tensor.Tensor) error {
	depth := 0
	for {
		switch c := s.peek(); c {
		case '[':
			if depth++; depth > max(1, t.Rank()) {
				return errCount
			}
			s.i++
			continue
		case ']':
			depth--
			s.i++
		default:
			return errCount
		}
		if depth == 0 {
			return nil
		}
		if s.peek() == ',' {
			s.i++
			if s.peek() != '[' {
				return errCount
			}
		}
	}
}

// nested reads rows inside as many brackets as the shape has dimensions.
func (s *scanner) nested(t *tensor.Tensor) error {
	rank := t.Rank()
	width := t.Shape[rank-1]
	rows := tensor.Count(t.Shape[:rank-1])
	for r := range rows {
		// A row that begins k dimensions opens k brackets beside its own; the
		// one before it has closed as many.
		if r > 0 {
			if s.peek() != ',' {
				return errCount
			}
			s.i++
		}
		for range 1 + carry(t.Shape[:rank-1], r) {
			if s.peek() != '[' {
				return errCount
			}
			s.i++
		}
		if err := s.row(t, r*width, width); err != nil {
			return err
		}
		if err := s.closeRow(1 + carry(t.Shape[:rank-1], r+1)); err != nil {
			return err
		}
	}
	return nil
}

// carry is how many of the dimensions start anew at the given row: how often
// its index divides by them from the last one on.
func carry(dims []int, row int) int {
	n := 0
	for i := len(dims) - 1; i >= 0 && row%dims[i] == 0; i-- {
		n++
		row /= dims[i]
	}
	return n
}

func (s *scanner) closeRow(brackets int) error {
	for range brackets {
		switch s.peek() {
		case ']':
			s.i++
		case ',':
			return errCount
		default:
			return s.errorf("data: expected ',' or ']', found %s", s.found())
		}
	}
	return nil
}

// count says how many elements the array at the current place has.
func (s *scanner) count(depth int) string {
	n, c := 0, byte('[')
	for {
		before := c
		switch c = s.peek(); c {
		case 0:
			return fmt.Sprint("at least ", n)
		case '[', ',', ']':
		case '"':
			s.skipText()
			n++
		default:
			if before == '[' || before == ',' {
				n++
			}
		}
		s.i++
		if c == '[' {
			depth++
		}
		if c == ']' {
			if depth--; s.peek() != ',' && s.peek() != ']' {
				return fmt.Sprint(n)
			}
		}
	}
}

// row reads n elements, separated by commas, into t from element base on.
func (s *scanner) row(t *tensor.Tensor, base, n int) error {
	switch t.DType {
	case dtype.Float32:
		return row(s, t, tensor.Of[float32](t)[base:base+n], float32At, singles)
	case dtype.Float64:
		return row(s, t, tensor.Of[float64](t)[base:base+n], float64At, nil)
	case dtype.Int8:
		return row(s, t, tensor.Of[int8](t)[base:base+n], intAt[int8], nil)
	case dtype.Int16:
		return row(s, t, tensor.Of[int16](t)[base:base+n], intAt[int16], nil)
	case dtype.Int32:
		return row(s, t, tensor.Of[int32](t)[base:base+n], intAt[int32], nil)
	case dtype.Int64:
		return row(s, t, tensor.Of[int64](t)[base:base+n], intAt[int64], nil)
	case dtype.Uint8:
		return row(s, t, tensor.Of[uint8](t)[base:base+n], uintAt[uint8], nil)
	case dtype.Uint16:
		return row(s, t, tensor.Of[uint16](t)[base:base+n], uintAt[uint16], nil)
	case dtype.Uint32:
		return row(s, t, tensor.Of[uint32](t)[base:base+n], uintAt[uint32], nil)
	case dtype.Uint64:
		return row(s, t, tensor.Of[uint64](t)[base:base+n], uintAt[uint64], nil)
	case dtype.Bool:
		return row(s, t, tensor.Of[bool](t)[base:base+n], boolAt, nil)
	case dtype.String:
		return s.texts(t.Strings[base : base+n])
	}
	return s.errorf("data: JSON has no numbers for %s; send the tensor in binary form (binary_data_size)", t.DType.OIP())
}

// row reads elements with at, and with run where that is given: many at once, of
// which it returns the number.
func row[T any](s *scanner, t *tensor.Tensor, dst []T, at func(b []byte, i int) (T, int, error), run func(b []byte, dst []T) int) error {
	b, i := s.b, s.i
	for k := 0; ; {
		if run != nil {
			n := run(b[i:], dst[k:])
			k, i = k+n, i+2*n
		}
		i = skipSpace(b, i)
		v, next, err := at(b, i)
		if err != nil {
			s.i = i
			return s.badElement(t, k, err)
		}
		dst[k], i = v, next
		if k++; k == len(dst) {
			break
		}
		if i = skipSpace(b, i); i >= len(b) || b[i] != ',' {
			s.i = i
			return s.shortRow()
		}
		i++
	}
	s.i = i
	return nil
}

// singles reads elements of one digit, with the comma behind each, four at a
// time: much of a picture is such. The last element of dst is never among them.
func singles(b []byte, dst []float32) (n int) {
	for n+4 < len(dst) && len(b) >= 8 {
		w := binary.LittleEndian.Uint64(b) ^ 0x2c302c302c302c30 // "0,0,0,0,"
		if w&0xfff0fff0fff0fff0 != 0 || (w+0x0006000600060006)&0x0010001000100010 != 0 {
			break
		}
		d := dst[n : n+4]
		d[0], d[1], d[2], d[3] = float32(w&15), float32(w>>16&15), float32(w>>32&15), float32(w>>48)
		b, n = b[8:], n+4
	}
	return n
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// shortRow explains what stands where a comma should.
func (s *scanner) shortRow() error {
	if s.peek() == ']' {
		return errCount
	}
	return s.errorf("data: expected ',' or ']', found %s", s.found())
}

func (s *scanner) badElement(t *tensor.Tensor, k int, err error) error {
	switch c := s.peek(); {
	case c == '[' || c == ']' && k == 0:
		return errCount
	case err == jsonnum.ErrRange:
		return s.errorf("data: expected a value in the range of %s, found %s", t.DType.OIP(), s.found())
	case err == jsonnum.ErrInteger:
		return s.errorf("data: expected an integer for %s, found %s", t.DType.OIP(), s.found())
	case t.DType == dtype.Bool:
		return s.errorf("data: expected true or false for BOOL, found %s", s.found())
	}
	return s.errorf("data: expected a number for %s, found %s", t.DType.OIP(), s.found())
}

func (s *scanner) texts(dst []string) error {
	for k := range dst {
		if k > 0 {
			if s.peek() != ',' {
				return s.shortRow()
			}
			s.i++
		}
		if c := s.peek(); c == '[' || c == ']' && k == 0 {
			return errCount
		}
		t, err := s.text("data: a string for BYTES")
		if err != nil {
			return err
		}
		dst[k] = string(t)
	}
	return nil
}

func float32At(b []byte, i int) (float32, int, error) {
	if i+1 < len(b) && b[i+1] == ',' && b[i]-'0' <= 9 { // such as the ground of a picture
		return float32(b[i] - '0'), i + 1, nil
	}
	v, next, err := jsonnum.Float32(b, i)
	if err == jsonnum.ErrSyntax {
		d, next, err := special(b, i)
		return float32(d), next, err
	}
	return v, next, err
}

func float64At(b []byte, i int) (float64, int, error) {
	v, next, err := jsonnum.Float64(b, i)
	if err == jsonnum.ErrSyntax {
		return special(b, i)
	}
	return v, next, err
}

// special reads a value that JSON has no number for: NaN, Infinity and
// -Infinity, as a string (our own form, and protobuf's) or bare (as Python
// and Triton write them).
func special(b []byte, i int) (float64, int, error) {
	quoted := i < len(b) && b[i] == '"'
	if quoted {
		i++
	}
	for _, w := range [...]struct {
		word  string
		value float64
	}{{"NaN", math.NaN()}, {"Infinity", math.Inf(1)}, {"-Infinity", math.Inf(-1)}} {
		next := i + len(w.word)
		if len(b) < next || string(b[i:next]) != w.word {
			continue
		}
		if !quoted {
			return w.value, next, nil
		}
		if next < len(b) && b[next] == '"' {
			return w.value, next + 1, nil
		}
	}
	return 0, i, jsonnum.ErrSyntax
}

func intAt[T int8 | int16 | int32 | int64](b []byte, i int) (T, int, error) {
	v, next, err := jsonnum.Int(b, i, tensor.TypeOf[T]().Bits())
	return T(v), next, err
}

func uintAt[T uint8 | uint16 | uint32 | uint64](b []byte, i int) (T, int, error) {
	v, next, err := jsonnum.Uint(b, i, tensor.TypeOf[T]().Bits())
	return T(v), next, err
}

// boolAt reads true or false, and 1 or 0, which some clients write for them.
func boolAt(b []byte, i int) (bool, int, error) {
	switch rest := b[i:]; {
	case len(rest) >= 4 && string(rest[:4]) == "true":
		return true, i + 4, nil
	case len(rest) >= 5 && string(rest[:5]) == "false":
		return false, i + 5, nil
	}
	v, next, err := jsonnum.Uint(b, i, 1)
	return v == 1, next, err
}
