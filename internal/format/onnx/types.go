package onnx

import (
	"errors"
	"fmt"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/shape"
)

// maxNesting bounds sequences of sequences, subgraphs in subgraphs, and
// functions that call functions.
const maxNesting = 64

var errMap = errors.New("map types are not supported")

// parseType reads a TypeProto.
func parseType(b []byte, depth int) (ir.Type, error) {
	var t ir.Type
	if depth > maxNesting {
		return t, fmt.Errorf("types are nested more than %d deep", maxNesting)
	}
	err := fields(b, func(f field) (err error) {
		switch f.id {
		case 1:
			t, err = parseTensorType(f.bytes)
		case 4, 9:
			elem, err := parseElemType(f.bytes, depth+1)
			t = ir.Type{DType: dtype.Sequence, Elem: &elem}
			if f.id == 9 {
				t.DType = dtype.Optional
			}
			return err
		case 5:
			return errMap
		case 7:
			return fmt.Errorf("opaque types are not supported")
		case 8:
			return fmt.Errorf("sparse tensor types are not supported")
		}
		return err
	})
	return t, err
}

func parseElemType(b []byte, depth int) (t ir.Type, err error) {
	err = fields(b, func(f field) (err error) {
		if f.id == 1 {
			t, err = parseType(f.bytes, depth)
		}
		return err
	})
	return t, err
}

func parseTensorType(b []byte) (ir.Type, error) {
	var t ir.Type
	err := fields(b, func(f field) (err error) {
		switch f.id {
		case 1:
			t.DType, err = dataType(int64(f.num))
		case 2:
			t.Shape, err = parseShape(f.bytes)
		}
		return err
	})
	return t, err
}

// dataType checks a TensorProto.DataType; 0 is a type that is left open.
func dataType(n int64) (dtype.Type, error) {
	if n == 0 {
		return dtype.Invalid, nil
	}
	if n < 0 || n > 200 || !dtype.Type(n).Valid() {
		return dtype.Invalid, fmt.Errorf("element type %d is unknown", n)
	}
	return dtype.Type(n), nil
}

func parseShape(b []byte) (shape.Shape, error) {
	s := shape.Shape{}
	err := fields(b, func(f field) error {
		if f.id != 1 {
			return nil
		}
		d := shape.Unknown()
		err := fields(f.bytes, func(f field) error {
			switch f.id {
			case 1:
				if n := int64(f.num); n >= 0 {
					d = shape.Const(int(n))
				}
			case 2:
				if name := string(f.bytes); name != "" && !strings.Contains(name, "?") {
					d = shape.Sym(name)
				}
			}
			return nil
		})
		s = append(s, d)
		return err
	})
	return s, err
}

// nameDims gives the dimensions of inputs that the file leaves unnamed names of
// their own, such as "x.0" for the first of input x, so that what depends on
// them can be followed. Those of two inputs stay different.
func nameDims(inputs []*ir.Value) {
	taken := map[string]bool{}
	for _, v := range inputs {
		for _, d := range v.Type.Shape {
			taken[d.String()] = true
		}
	}
	for _, v := range inputs {
		for i, d := range v.Type.Shape {
			if !d.IsUnknown() {
				continue
			}
			name := fmt.Sprintf("%s.%d", strings.ReplaceAll(v.Name, "?", "_"), i)
			for taken[name] {
				name += "'"
			}
			taken[name] = true
			v.Type.Shape[i] = shape.Sym(name)
		}
	}
}
