package inferbody

import (
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/oip"
	"github.com/salver-ml/salver/internal/rest/jsonnum"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/tensor"
)

// Wants tells how output i of the answer is wanted: as JSON or in binary form,
// and with how many classes of the classification extension (0: the tensor itself).
func (c *Call) Wants(i int) (binary bool, classes int) {
	if len(c.outputs) == 0 {
		return c.binaryAll, 0
	}
	o := &c.outputs[i]
	return o.binary == yes || o.binary == unsaid && c.binaryAll, o.classes
}

// AllBinary asks for every output in binary form, unless the request says otherwise.
func (c *Call) AllBinary() { c.binaryAll = true }

// AppendJSON appends the JSON of an answer to dst and reports whether binary
// tensors follow it: those of the outputs that Wants calls binary, in order.
func (c *Call) AppendJSON(dst []byte, r *serve.Response) (b []byte, hasBinary bool, err error) {
	b = append(dst, `{"model_name":`...)
	b = appendText(b, r.Model)
	b = append(b, `,"model_version":`...)
	b = appendText(b, r.Version)
	if r.ID != "" {
		b = append(b, `,"id":`...)
		b = appendText(b, r.ID)
	}
	b = append(b, `,"outputs":[`...)
	for i := range r.Outputs {
		if i > 0 {
			b = append(b, ',')
		}
		binary, _ := c.Wants(i)
		hasBinary = hasBinary || binary
		if b, err = c.appendOutput(b, &r.Outputs[i], binary); err != nil {
			return nil, false, err
		}
	}
	return append(b, "]}"...), hasBinary, nil
}

func (c *Call) appendOutput(b []byte, o *serve.NamedTensor, binary bool) ([]byte, error) {
	t := o.Tensor
	if t.DType.OIP() == "" {
		return nil, serve.Errorf(serve.InvalidArgument, "output %q is %s, for which the protocol has no datatype; leave it out of the outputs", o.Name, t.DType)
	}
	b = append(b, `{"name":`...)
	b = appendText(b, o.Name)
	b = append(b, `,"datatype":"`...)
	b = append(b, t.DType.OIP()...)
	b = append(b, `","shape":[`...)
	for i, d := range t.Shape {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(d), 10)
	}
	if binary {
		b = append(b, `],"parameters":{"binary_data_size":`...)
		b = strconv.AppendInt(b, int64(oip.RawSize(t)), 10)
		return append(b, "}}"...), nil
	}
	b = append(b, `],"data":[`...)
	size := textSize(t)
	if err := c.Room.Add(size); err != nil {
		return nil, err
	}
	b, err := appendData(slices.Grow(b, size), t)
	if err != nil {
		return nil, serve.Errorf(serve.InvalidArgument, "output %q: %w", o.Name, err)
	}
	return append(b, "]}"...), nil
}

// textSize is the most bytes that the elements of t take as JSON, with a comma each.
func textSize(t *tensor.Tensor) int {
	if t.DType != dtype.String {
		return t.Len() * textBytes[t.DType]
	}
	n := 0
	for _, s := range t.Strings {
		n += len(s) + len(`"",`)
		for i := range len(s) {
			switch c := s[i]; {
			case c == '"', c == '\\':
				n++
			case c < ' ':
				n += len(`\u0000`) - 1
			}
		}
	}
	return n
}

// textBytes is the longest that an element of a type gets, such as -1.17549435e-38 and a comma.
var textBytes = [256]int{
	dtype.Float32: 16, dtype.Float64: 25, dtype.Bool: 6,
	dtype.Int8: 5, dtype.Int16: 7, dtype.Int32: 12, dtype.Int64: 21,
	dtype.Uint8: 4, dtype.Uint16: 6, dtype.Uint32: 11, dtype.Uint64: 21,
}

// appendData appends the elements of t, flat.
func appendData(b []byte, t *tensor.Tensor) ([]byte, error) {
	switch t.DType {
	case dtype.Float32:
		for i, v := range tensor.Of[float32](t) {
			b = jsonnum.AppendFloat(comma(b, i), float64(v), 32)
		}
	case dtype.Float64:
		for i, v := range tensor.Of[float64](t) {
			b = jsonnum.AppendFloat(comma(b, i), v, 64)
		}
	case dtype.Int8:
		b = appendInts(b, tensor.Of[int8](t))
	case dtype.Int16:
		b = appendInts(b, tensor.Of[int16](t))
	case dtype.Int32:
		b = appendInts(b, tensor.Of[int32](t))
	case dtype.Int64:
		b = appendInts(b, tensor.Of[int64](t))
	case dtype.Uint8:
		b = appendInts(b, tensor.Of[uint8](t))
	case dtype.Uint16:
		b = appendInts(b, tensor.Of[uint16](t))
	case dtype.Uint32:
		b = appendInts(b, tensor.Of[uint32](t))
	case dtype.Uint64:
		for i, v := range tensor.Of[uint64](t) {
			b = strconv.AppendUint(comma(b, i), v, 10)
		}
	case dtype.Bool:
		for i, v := range tensor.Of[bool](t) {
			b = strconv.AppendBool(comma(b, i), v)
		}
	case dtype.String:
		for i, v := range t.Strings {
			if !utf8.ValidString(v) {
				return nil, errBinaryOnly("element %d is not UTF-8, so JSON can't hold it", i)
			}
			b = appendText(comma(b, i), v)
		}
	default:
		return nil, errBinaryOnly("JSON has no numbers for %s", t.DType.OIP())
	}
	return b, nil
}

func errBinaryOnly(format string, args ...any) error {
	return serve.Errorf(serve.InvalidArgument, format+`; ask for it in binary form (parameter "binary_data": true)`, args...)
}

func comma(b []byte, i int) []byte {
	if i == 0 {
		return b
	}
	return append(b, ',')
}

func appendInts[T int8 | int16 | int32 | int64 | uint8 | uint16 | uint32](b []byte, v []T) []byte {
	for i, v := range v {
		b = strconv.AppendInt(comma(b, i), int64(v), 10)
	}
	return b
}

// appendText appends a string, which is UTF-8, in quotes.
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	plain := 0 // where the text not yet appended begins
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[plain:i]...)
		plain = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, `\n`...)
		case '\t':
			b = append(b, `\t`...)
		case '\r':
			b = append(b, `\r`...)
		default:
			b = append(b, '\\', 'u', '0', '0', '0'+c>>4, "0123456789abcdef"[c&15])
		}
	}
	return append(append(b, s[plain:]...), '"')
}
