package exec

import (
	"errors"
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/tensor"
)

// inputError is a mistake of the caller, not of the model.
type inputError struct{ error }

// IsInputError reports whether a run failed because of its inputs' names,
// types or shapes.
func IsInputError(err error) bool {
	var e inputError
	return errors.As(err, &e)
}

// compareInputs compares inputs with what the graph declares: types, ranks,
// constant dimensions, and symbols that stand for one size everywhere.
func compareInputs(g *ir.Graph, inputs []*tensor.Tensor) error {
	if len(inputs) != len(g.Inputs) {
		return fmt.Errorf("the model has %d inputs, found %d", len(g.Inputs), len(inputs))
	}
	type binding struct {
		size  int
		input string
	}
	bound := map[string]binding{}
	for i, t := range inputs {
		v := g.Inputs[i]
		if t == nil {
			return fmt.Errorf("input %q is missing: expected %s", v.Name, v.Type)
		}
		if err := checkInput(v, t); err != nil {
			return err
		}
		for j, d := range v.Type.Shape {
			if _, isConst := d.Int(); isConst || d.IsUnknown() {
				continue
			}
			sym := d.String()
			if b, ok := bound[sym]; ok && b.size != t.Shape[j] {
				return fmt.Errorf("input %q: dimension %d (%s) is %d, but %d in input %q", v.Name, j, sym, t.Shape[j], b.size, b.input)
			}
			bound[sym] = binding{t.Shape[j], v.Name}
		}
	}
	return nil
}

func checkInputs(g *ir.Graph, inputs []*tensor.Tensor) error {
	if err := compareInputs(g, inputs); err != nil {
		return inputError{err}
	}
	return nil
}

func checkInput(v *ir.Value, t *tensor.Tensor) error {
	want := v.Type
	if want.DType != dtype.Invalid && t.DType != want.DType {
		return fmt.Errorf("input %q: expected %s, found %s", v.Name, want, t)
	}
	if t.DType == dtype.Sequence || t.DType == dtype.Optional || want.Shape == nil {
		return nil
	}
	if len(t.Shape) != len(want.Shape) {
		return fmt.Errorf("input %q: expected %s (%d dimensions), found %s", v.Name, want, len(want.Shape), t)
	}
	for j, d := range want.Shape {
		if n, ok := d.Int(); ok && n != t.Shape[j] {
			return fmt.Errorf("input %q: expected %s, found %s: dimension %d is %d instead of %d", v.Name, want, t, j, t.Shape[j], n)
		}
	}
	if t.DType != dtype.String && len(t.Data) != t.DType.Bytes(t.Len()) {
		return fmt.Errorf("input %q: %s needs %d bytes, found %d", v.Name, t, t.DType.Bytes(t.Len()), len(t.Data))
	}
	return nil
}
