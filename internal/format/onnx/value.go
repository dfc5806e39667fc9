package onnx

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/tensor"
)

// ParseValue reads a serialized TensorProto, SequenceProto or OptionalProto,
// whichever t says. Conformance suites keep values so.
func ParseValue(b []byte, t ir.Type) (*tensor.Tensor, error) { return parseValue(b, t, 0) }

func parseValue(b []byte, t ir.Type, depth int) (*tensor.Tensor, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("values are nested more than %d deep", maxNesting)
	}
	if t.DType != dtype.Sequence && t.DType != dtype.Optional {
		_, v, err := ParseTensor(b)
		return v, err
	}
	elem := ir.Type{}
	if t.Elem != nil {
		elem = *t.Elem
	}
	v := &tensor.Tensor{DType: t.DType, Shape: []int{}}
	err := fields(b, func(f field) error {
		switch f.id {
		case 3, 5, 7: // tensors, sequences, optionals
			item, err := parseValue(f.bytes, elem, depth+1)
			if err != nil {
				return err
			}
			v.Items = append(v.Items, item)
		case 4, 6:
			return fmt.Errorf("sparse tensors and maps are not supported")
		}
		return nil
	})
	return v, err
}
