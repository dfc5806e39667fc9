package image

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/tensor"
)

func TestTop(t *testing.T) {
	r, err := Top(tensor.FromSlice([]float32{0.1, 0.7, 0.2}, 1, 3), []string{"a", "b", "c"}, 2)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if _, err := r.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if want := "probabilities of the model:\n  0.7000      1  b\n  0.2000      2  c\n"; b.String() != want {
		t.Errorf("%q", b.String())
	}
	r, err = Top(tensor.FromSlice([]float32{0.9, 0.8, 0}, 1, 3), nil, 1)
	if err != nil || r.Kind != "scores of the model, 0 to 1" || r.Classes[0].Score != float64(float32(0.9)) {
		t.Error(r, err)
	}
	r, err = Top(tensor.FromSlice([]float64{1, 3, 2}, 1, 3, 1, 1), nil, 5)
	if err != nil || r.Kind != "softmax of the model's raw scores" || len(r.Classes) != 3 || r.Classes[0].Index != 1 {
		t.Fatal(r, err)
	}
	if want := math.Exp(3) / (math.Exp(1) + math.Exp(2) + math.Exp(3)); math.Abs(r.Classes[0].Score-want) > 1e-12 {
		t.Error(r.Classes[0].Score, want)
	}
}

func TestTopRefuses(t *testing.T) {
	for want, x := range map[string]*tensor.Tensor{
		"expected one row":                tensor.New(dtype.Float32, 2, 3),
		"expected an output of float":     tensor.New(dtype.Int64, 1, 3),
		"score 0 of float32[1,1] is NaN":  tensor.FromSlice([]float32{float32(math.NaN())}, 1, 1),
		"has 4 classes, the label file 3": tensor.New(dtype.Float32, 1, 4),
	} {
		if _, err := Top(x, []string{"a", "b", "c"}, 5); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want …%s…", err, want)
		}
	}
}

func TestReadLabels(t *testing.T) {
	path := filepath.Join(t.TempDir(), "labels.txt")
	if err := os.WriteFile(path, []byte("\ufeffcat\r\n\ndog, wild\n\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := ReadLabels(path)
	if err != nil || strings.Join(got, "|") != "cat||dog, wild" {
		t.Errorf("%q %v", got, err)
	}
}
