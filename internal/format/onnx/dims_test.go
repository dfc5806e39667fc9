package onnx_test

import (
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/format/onnx"
)

// dim is a TensorShapeProto.Dimension: a size, a name, or nothing.
func dim(v any) []byte {
	switch v := v.(type) {
	case int:
		return field(1, field(1, v))
	case string:
		return field(1, field(2, v))
	}
	return field(1, []byte{})
}

func input(name string, dims ...any) []byte {
	var shape []byte
	for _, d := range dims {
		shape = append(shape, dim(d)...)
	}
	return field(11, msg(field(1, name), field(2, field(1, msg(field(1, 1), field(2, shape))))))
}

func output(name string) []byte {
	return field(12, msg(field(1, name), field(2, field(1, field(1, 1)))))
}

func TestUnnamedDimensionsOfInputsAreNamed(t *testing.T) {
	m, err := onnx.Parse(model(node("Add", []string{"a", "b"}, []string{"y"}),
		input("a", nil, 3, "n", "?", -1), input("b", "", "a.0", nil, 4, nil), output("y")))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"[a.0',3,n,a.3,a.4]", "[b.0,a.0,b.2,4,b.4]"} {
		if got := m.Graph.Inputs[i].Type.Shape.String(); got != want {
			t.Errorf("input %d has the shape %s, expected %s", i, got, want)
		}
	}
}

func TestUnnamedFirstDimensionIsTheBatch(t *testing.T) {
	m, err := onnx.Parse(model(node("Relu", []string{"x"}, []string{"y"}), input("x", nil, 3), output("y")))
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.ProveRows(m.Graph); err != nil {
		t.Error(err)
	}
	if got := m.Graph.Outputs[0].Value.Type.Shape.String(); got != "[x.0,3]" {
		t.Errorf("the output has the shape %s, expected [x.0,3]", got)
	}
	m, err = onnx.Parse(model(node("Add", []string{"a", "b"}, []string{"y"}), input("a", nil, 3), input("b", nil, 3), output("y")))
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.ProveRows(m.Graph); err == nil || !strings.Contains(err.Error(), `inputs "a" and "b" begin with different dimensions, a.0 and b.0`) {
		t.Errorf("got %v, expected that the first dimensions differ", err)
	}
}
