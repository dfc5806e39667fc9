package onnx_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/format/onnx"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// maps declares an output as a sequence of maps from string to float.
func maps(name string) []byte {
	float := field(1, field(1, 1))
	class := field(5, msg(field(1, 8), field(2, float)))
	return field(12, msg(field(1, name), field(2, field(4, field(1, class)))))
}

// classifier ends with a ZipMap whose result is called p; more nodes may follow.
func classifier(more ...[]byte) []byte {
	return msg(field(1, 8), opset(17), field(8, msg(field(1, "ai.onnx.ml"), field(2, 3))), field(7, msg(
		node("Softmax", []string{"x"}, []string{"s"}),
		node("ZipMap", []string{"s"}, []string{"p"}, field(7, "ai.onnx.ml"),
			field(5, msg(field(1, "classlabels_strings"), field(9, "no"), field(9, "yes"), field(20, 8)))),
		field(2, "g"), value(11, "x", 3, 2), msg(more...))))
}

func TestMapsAtTheEndAreATensorWithLabels(t *testing.T) {
	m, err := onnx.Parse(classifier(maps("p")))
	if err != nil {
		t.Fatal(err)
	}
	out := m.Graph.Outputs[0]
	if got := op.ClassLabels(out.Value); !slices.Equal(got, []string{"no", "yes"}) {
		t.Errorf("labels %q, expected no and yes", got)
	}
	y := runModel(t, m, tensor.FromSlice([]float32{0, 0, 500, 0, 0, 500}, 3, 2))[0]
	if got := tensor.Of[float32](y); !slices.Equal(y.Shape, []int{3, 2}) || !slices.Equal(got, []float32{.5, .5, 1, 0, 0, 1}) {
		t.Errorf("found %s %v, expected the scores of three rows", y, got)
	}
	var b bytes.Buffer
	if err := m.Write(&b); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b.Bytes(), maps("p")) {
		t.Error("what is written does not declare its output as a sequence of maps")
	}
	again, err := onnx.Parse(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if got := op.ClassLabels(again.Graph.Outputs[0].Value); len(got) != 2 {
		t.Errorf("read again it has the labels %q", got)
	}
}

func TestMapsElsewhereAreRefused(t *testing.T) {
	for _, c := range []struct {
		name, want string
		model      []byte
	}{
		{"read by a node", "expected them to be the model's output", classifier(node("Identity", []string{"p"}, []string{"q"}), value(12, "q", 3, 2))},
		{"of another node", "map types are not supported", classifier(maps("s"))},
	} {
		if _, err := onnx.Parse(c.model); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected an error with %q", c.name, err, c.want)
		}
	}
}
