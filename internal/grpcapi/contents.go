package grpcapi

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/tensor"
)

// The fields of InferTensorContents.
const (
	boolContents protowire.Number = 1 + iota
	intContents
	int64Contents
	uintContents
	uint64Contents
	fp32Contents
	fp64Contents
	bytesContents
)

var contentsNames = [...]string{"", "bool_contents", "int_contents", "int64_contents", "uint_contents", "uint64_contents", "fp32_contents", "fp64_contents", "bytes_contents"}

// contentsOf is the field that holds the elements of a datatype; 0 if none does.
func contentsOf(t dtype.Type) protowire.Number {
	switch t {
	case dtype.Bool:
		return boolContents
	case dtype.Int8, dtype.Int16, dtype.Int32:
		return intContents
	case dtype.Int64:
		return int64Contents
	case dtype.Uint8, dtype.Uint16, dtype.Uint32:
		return uintContents
	case dtype.Uint64:
		return uint64Contents
	case dtype.Float32:
		return fp32Contents
	case dtype.Float64:
		return fp64Contents
	case dtype.String:
		return bytesContents
	}
	return 0
}

// fillTyped reads the n elements of t from an InferTensorContents message.
func (c *call) fillTyped(t *tensor.Tensor, n int, b []byte) error {
	want := contentsOf(t.DType)
	if want == 0 {
		return fmt.Errorf("%s has no typed contents; send it in raw_input_contents", t.DType.OIP())
	}
	if n > len(b) { // each element takes a byte at least
		return errElements(t, n, len(b), "at most ")
	}
	w := contentsWriter{t: t, n: n, bytes: len(b)}
	var f field
	var err error
	for len(b) > 0 {
		if f, b, err = next(b); err != nil {
			return err
		}
		if f.number < boolContents || f.number > bytesContents {
			continue
		}
		if f.number != want {
			if f.kind == protowire.BytesType && f.number != bytesContents && len(f.bytes) == 0 {
				continue // an empty list
			}
			return fmt.Errorf("expected %s for %s, found %s", contentsNames[want], t.DType.OIP(), contentsNames[f.number])
		}
		if err := w.add(c, &f); err != nil {
			return err
		}
	}
	if w.have != n {
		return errElements(t, n, w.have, "")
	}
	if n == 0 && t.DType != dtype.String {
		t.Data = []byte{}
	}
	return nil
}

func errElements(t *tensor.Tensor, want, have int, words string) error {
	return fmt.Errorf("%s %v has %d elements, found %s%d in its contents", t.DType.OIP(), t.Shape, want, words, have)
}

// contentsWriter fills a tensor from fields.
type contentsWriter struct {
	t     *tensor.Tensor
	n     int // elements expected
	have  int // elements found, also beyond n
	bytes int // of the message
}

// add takes the elements of one field: a string, a number or a packed list of numbers.
func (w *contentsWriter) add(c *call, f *field) error {
	t := w.t
	if t.DType == dtype.String {
		if f.kind != protowire.BytesType {
			return errWire
		}
		if t.Strings == nil {
			if err := c.room.Add(w.n*stringBytes + w.bytes); err != nil {
				return err
			}
			t.Strings = make([]string, w.n)
		}
		if w.have < w.n {
			t.Strings[w.have] = string(f.bytes)
		}
		w.have++
		return nil
	}
	size := t.DType.Bits() / 8
	fixed := t.DType == dtype.Float32 || t.DType == dtype.Float64
	if fixed && f.kind == protowire.BytesType && w.have == 0 && len(f.bytes) == w.n*size {
		t.Data, w.have = f.bytes, w.n // little-endian and without padding: the tensor as it is
		return nil
	}
	if t.Data == nil {
		if err := c.room.Add(w.n * size); err != nil {
			return err
		}
		t.Data = c.scratch.Alloc(w.n * size)
	}
	switch {
	case f.kind == protowire.BytesType && fixed:
		if len(f.bytes)%size != 0 {
			return errWire
		}
		if w.have < w.n {
			copy(t.Data[w.have*size:], f.bytes)
		}
		w.have += len(f.bytes) / size
		return nil
	case f.kind == protowire.BytesType:
		return w.varints(f.bytes)
	case !fixed && f.kind == protowire.VarintType, t.DType == dtype.Float32 && f.kind == protowire.Fixed32Type, t.DType == dtype.Float64 && f.kind == protowire.Fixed64Type:
		return w.number(f.num)
	}
	return errWire
}

// varints takes a packed list.
func (w *contentsWriter) varints(b []byte) error {
	for len(b) > 0 {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return errWire
		}
		if err := w.number(v); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// number takes one element as it is on the wire.
func (w *contentsWriter) number(v uint64) error {
	i := w.have
	w.have++
	if i >= w.n {
		return nil // an error at the end, with the whole count
	}
	t := w.t
	ok := true
	switch t.DType {
	case dtype.Bool:
		tensor.Of[bool](t)[i] = v != 0
	case dtype.Int8:
		ok = int32(v) >= math.MinInt8 && int32(v) <= math.MaxInt8
		tensor.Of[int8](t)[i] = int8(v)
	case dtype.Int16:
		ok = int32(v) >= math.MinInt16 && int32(v) <= math.MaxInt16
		tensor.Of[int16](t)[i] = int16(v)
	case dtype.Int32, dtype.Uint32, dtype.Float32:
		tensor.Of[uint32](t)[i] = uint32(v)
	case dtype.Uint8:
		ok = uint32(v) <= math.MaxUint8
		tensor.Of[uint8](t)[i] = uint8(v)
	case dtype.Uint16:
		ok = uint32(v) <= math.MaxUint16
		tensor.Of[uint16](t)[i] = uint16(v)
	default: // Int64, Uint64, Float64
		tensor.Of[uint64](t)[i] = v
	}
	if !ok {
		return fmt.Errorf("element %d: expected a value in the range of %s, found %d", i, t.DType.OIP(), int32(v))
	}
	return nil
}
