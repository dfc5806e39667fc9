package onnx

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// field is one field of a protobuf message: bytes for length-delimited fields,
// num for the others.
type field struct {
	id    protowire.Number
	typ   protowire.Type
	bytes []byte
	num   uint64
}

// fields calls visit for each field of a message, in order. Byte fields alias
// the message. Groups do not occur in ONNX and are an error.
func fields(msg []byte, visit func(f field) error) error {
	for len(msg) > 0 {
		id, typ, n := protowire.ConsumeTag(msg)
		if n < 0 {
			return fmt.Errorf("damaged protobuf: %w", protowire.ParseError(n))
		}
		msg = msg[n:]
		f := field{id: id, typ: typ}
		switch typ {
		case protowire.VarintType:
			f.num, n = protowire.ConsumeVarint(msg)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(msg)
			f.num = uint64(v)
		case protowire.Fixed64Type:
			f.num, n = protowire.ConsumeFixed64(msg)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(msg)
		default:
			return fmt.Errorf("damaged protobuf: field %d has wire type %d", id, typ)
		}
		if n < 0 {
			return fmt.Errorf("damaged protobuf: field %d: %w", id, protowire.ParseError(n))
		}
		msg = msg[n:]
		if err := visit(f); err != nil {
			return err
		}
	}
	return nil
}

// want checks the wire type of a field that is known.
func (f field) want(t protowire.Type, what string) error {
	if f.typ != t {
		return fmt.Errorf("damaged model: %s (field %d) has wire type %d, expected %d", what, f.id, f.typ, t)
	}
	return nil
}

func (f field) float() float32 { return math.Float32frombits(uint32(f.num)) }

// ints appends a repeated integer field, packed or not.
func (f field) ints(to []int64) ([]int64, error) {
	if f.typ == protowire.VarintType {
		return append(to, int64(f.num)), nil
	}
	b := f.bytes
	for len(b) > 0 {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return nil, fmt.Errorf("damaged protobuf: packed field %d: %w", f.id, protowire.ParseError(n))
		}
		to, b = append(to, int64(v)), b[n:]
	}
	return to, nil
}

// floats appends a repeated float field, packed or not.
func (f field) floats(to []float32) ([]float32, error) {
	if f.typ == protowire.Fixed32Type {
		return append(to, f.float()), nil
	}
	if len(f.bytes)%4 != 0 {
		return nil, fmt.Errorf("damaged protobuf: packed field %d has %d bytes, expected a multiple of 4", f.id, len(f.bytes))
	}
	for b := f.bytes; len(b) > 0; b = b[4:] {
		v, _ := protowire.ConsumeFixed32(b)
		to = append(to, math.Float32frombits(v))
	}
	return to, nil
}

// doubles appends a repeated double field, packed or not.
func (f field) doubles(to []float64) ([]float64, error) {
	if f.typ == protowire.Fixed64Type {
		return append(to, math.Float64frombits(f.num)), nil
	}
	if len(f.bytes)%8 != 0 {
		return nil, fmt.Errorf("damaged protobuf: packed field %d has %d bytes, expected a multiple of 8", f.id, len(f.bytes))
	}
	for b := f.bytes; len(b) > 0; b = b[8:] {
		v, _ := protowire.ConsumeFixed64(b)
		to = append(to, math.Float64frombits(v))
	}
	return to, nil
}
