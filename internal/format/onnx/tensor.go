package onnx

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/tensor"
	"google.golang.org/protobuf/encoding/protowire"
)

// tensorProto is a TensorProto whose contents are not decoded yet.
type tensorProto struct {
	name     string
	dims     []int64
	dtype    int64
	raw      []byte
	hasRaw   bool
	floats   []field // float_data
	int32s   []field // int32_data
	int64s   []field
	doubles  []field
	uint64s  []field
	strs     [][]byte
	external map[string]string
	location uint64
	segment  bool
}

func parseTensor(b []byte) (*tensorProto, error) {
	t := &tensorProto{}
	err := fields(b, func(f field) (err error) {
		switch f.id {
		case 1:
			t.dims, err = f.ints(t.dims)
		case 2:
			t.dtype = int64(f.num)
		case 3:
			t.segment = true
		case 4:
			t.floats = append(t.floats, f)
		case 5:
			t.int32s = append(t.int32s, f)
		case 6:
			t.strs = append(t.strs, f.bytes)
		case 7:
			t.int64s = append(t.int64s, f)
		case 8:
			t.name = string(f.bytes)
		case 9:
			t.raw, t.hasRaw = f.bytes, true
			err = f.want(protowire.BytesType, "raw_data")
		case 10:
			t.doubles = append(t.doubles, f)
		case 11:
			t.uint64s = append(t.uint64s, f)
		case 13:
			if t.external == nil {
				t.external = map[string]string{}
			}
			err = parseEntry(f.bytes, t.external)
		case 14:
			t.location = f.num
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("tensor %q: %w", t.name, err)
	}
	return t, nil
}

// ParseTensor reads a serialized TensorProto; its data may alias b.
func ParseTensor(b []byte) (name string, t *tensor.Tensor, err error) {
	p, err := parseTensor(b)
	if err != nil {
		return "", nil, err
	}
	t, err = p.decode(nil)
	return p.name, t, err
}

// decode gives the tensor. Raw data is aliased, never copied.
func (p *tensorProto) decode(ext *external) (*tensor.Tensor, error) {
	t, err := p.contents(ext)
	if err != nil {
		return nil, fmt.Errorf("tensor %q: %w", p.name, err)
	}
	return t, nil
}

func (p *tensorProto) contents(ext *external) (*tensor.Tensor, error) {
	if p.segment {
		return nil, fmt.Errorf("segmented tensors are not supported")
	}
	dt, err := dataType(p.dtype)
	if err != nil {
		return nil, err
	}
	if dt == dtype.Invalid || dt >= dtype.Sequence {
		return nil, fmt.Errorf("has no element type")
	}
	shape, err := p.shape(dt)
	if err != nil {
		return nil, err
	}
	switch {
	case p.location == 1:
		raw, err := ext.read(p.external, dt.Bytes(tensor.Count(shape)))
		return &tensor.Tensor{DType: dt, Shape: shape, Data: raw}, err
	case p.location != 0:
		return nil, fmt.Errorf("data location %d is unknown", p.location)
	case dt == dtype.String:
		return p.stringContents(shape)
	case p.hasRaw:
		if want := dt.Bytes(tensor.Count(shape)); len(p.raw) != want {
			return nil, fmt.Errorf("%s%v needs %d bytes of raw data, found %d", dt, shape, want, len(p.raw))
		}
		return &tensor.Tensor{DType: dt, Shape: shape, Data: p.raw}, nil
	}
	return p.typedContents(dt, shape)
}

// maxElements bounds the elements of one tensor: sizes in bytes stay far from
// overflow whatever the element type.
const maxElements = 1 << 48

func (p *tensorProto) shape(dt dtype.Type) ([]int, error) {
	shape := make([]int, len(p.dims))
	n := int64(1)
	for i, d := range p.dims {
		if d < 0 {
			return nil, fmt.Errorf("dimension %d is %d", i, d)
		}
		if d > 0 && n > maxElements/d {
			return nil, fmt.Errorf("shape %v has too many elements", p.dims)
		}
		n *= d
		shape[i] = int(d)
	}
	return shape, nil
}

func (p *tensorProto) stringContents(shape []int) (*tensor.Tensor, error) {
	if len(p.strs) != tensor.Count(shape) {
		return nil, fmt.Errorf("string%v needs %d strings, found %d", shape, tensor.Count(shape), len(p.strs))
	}
	t := tensor.New(dtype.String, shape...)
	for i, s := range p.strs {
		t.Strings[i] = string(s)
	}
	return t, nil
}

// typedContents reads the typed fields (float_data and so on). The number of
// elements is compared before anything of the declared size is allocated.
func (p *tensorProto) typedContents(dt dtype.Type, shape []int) (*tensor.Tensor, error) {
	var data []byte
	n := tensor.Count(shape)
	count := 0
	switch dt {
	case dtype.Float32, dtype.Complex64:
		var v []float32
		for _, f := range p.floats {
			var err error
			if v, err = f.floats(v); err != nil {
				return nil, err
			}
		}
		data, count = tensor.AsBytes(v), len(v)
		if dt == dtype.Complex64 {
			n *= 2
		}
	case dtype.Float64, dtype.Complex128:
		var v []float64
		for _, f := range p.doubles {
			var err error
			if v, err = f.doubles(v); err != nil {
				return nil, err
			}
		}
		data, count = tensor.AsBytes(v), len(v)
		if dt == dtype.Complex128 {
			n *= 2
		}
	default:
		from := p.int32s
		switch dt {
		case dtype.Int64:
			from = p.int64s
		case dtype.Uint32, dtype.Uint64:
			from = p.uint64s
		}
		var v []int64
		for _, f := range from {
			var err error
			if v, err = f.ints(v); err != nil {
				return nil, err
			}
		}
		return p.narrow(dt, shape, v)
	}
	if count != n {
		return nil, fmt.Errorf("%s%v needs %d elements, found %d", dt, shape, n, count)
	}
	return &tensor.Tensor{DType: dt, Shape: shape, Data: data}, nil
}

// narrow stores integers as the element type that they stand for; 16-bit
// floats come as their bits, sub-byte types as packed bytes.
func (p *tensorProto) narrow(dt dtype.Type, shape []int, v []int64) (*tensor.Tensor, error) {
	want := tensor.Count(shape)
	if dt.Bits() < 8 {
		want = dt.Bytes(want)
	}
	if len(v) != want {
		return nil, fmt.Errorf("%s%v needs %d elements, found %d", dt, shape, want, len(v))
	}
	lo, hi := integerRange(dt)
	t := tensor.New(dt, shape...)
	for i, x := range v {
		if x < lo || x > hi {
			return nil, fmt.Errorf("element %d is %d, outside %s", i, x, dt)
		}
		switch {
		case dt.Bits() <= 8:
			t.Data[i] = byte(x)
		case dt.Bits() == 16:
			tensor.Of[uint16](t)[i] = uint16(x)
		case dt.Bits() == 32:
			tensor.Of[uint32](t)[i] = uint32(x)
		default:
			tensor.Of[uint64](t)[i] = uint64(x)
		}
	}
	return t, nil
}

func integerRange(dt dtype.Type) (lo, hi int64) {
	switch dt {
	case dtype.Int8:
		return math.MinInt8, math.MaxInt8
	case dtype.Bool:
		return 0, 1
	case dtype.Int16:
		return math.MinInt16, math.MaxInt16
	case dtype.Uint16, dtype.Float16, dtype.BFloat16:
		return 0, math.MaxUint16
	case dtype.Int32:
		return math.MinInt32, math.MaxInt32
	case dtype.Uint32:
		return 0, math.MaxUint32
	case dtype.Int64, dtype.Uint64:
		return math.MinInt64, math.MaxInt64
	}
	return math.MinInt8, math.MaxUint8 // bytes; some writers sign-extend packed values
}
