package image_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/salver-ml/salver"
	"github.com/salver-ml/salver/internal/image"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/testkit"
)

// classify takes a picture file all the way to a ranking.
func classify(t *testing.T, model, picture string, spec image.Spec) image.Ranking {
	t.Helper()
	recipe, err := spec.Recipe()
	if err != nil {
		t.Fatal(err)
	}
	pixels, err := image.DecodeFile(picture)
	if err != nil {
		t.Fatal(err)
	}
	s, err := salver.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in := s.Inputs()[0]
	shape := make([]int, len(in.Shape))
	for i, d := range in.Shape {
		if shape[i] = -1; d >= 0 {
			shape[i] = d
		}
	}
	x, err := recipe.Tensor(pixels, image.Input{Name: in.Name, DType: in.DType, Shape: shape})
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Run(t.Context(), map[string]*tensor.Tensor{in.Name: x})
	if err != nil {
		t.Fatal(err)
	}
	r, err := image.Top(out[s.Outputs()[0].Name], nil, 5)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestPicturesAreRecognised compares with what ONNX Runtime found in the same
// pictures: the same five classes and scores in float32, the best class within
// 0.03 in int8.
func TestPicturesAreRecognised(t *testing.T) {
	spec := image.Spec{Color: "bgr", Resize: "227x227", Mean: image.Numbers{104, 117, 123}}
	for folder, limit := range map[string]float64{"squeezenet-v1.1": 0.001, "squeezenet-v1.1-int8-qdq": 0.03} {
		dir := testkit.Assets(t, "models/"+folder)
		data, err := os.ReadFile(filepath.Join(dir, "meta.json"))
		if err != nil {
			t.Fatal(err)
		}
		var meta struct {
			Model string
			Cases []struct {
				Image string
				Top5  [][2]float64
			}
		}
		if err := json.Unmarshal(data, &meta); err != nil {
			t.Fatal(err)
		}
		for _, c := range meta.Cases {
			r := classify(t, filepath.Join(dir, meta.Model), filepath.Join(testkit.Assets(t, "inputs"), c.Image), spec)
			exact := limit < 0.01
			for i, want := range c.Top5 {
				got := r.Classes[i]
				if (exact || i == 0) && (got.Index != int(want[0]) || math.Abs(got.Score-want[1]) > limit) {
					t.Errorf("%s, %s: place %d is class %d with %.4f, expected %v", folder, c.Image, i+1, got.Index, got.Score, want)
				}
			}
		}
	}
}

func TestMNISTDigitsAreRecognised(t *testing.T) {
	model := filepath.Join(testkit.Assets(t, "models/mnist"), "mnist.onnx")
	for digit := range 10 {
		picture := testkit.Assets(t, fmt.Sprintf("inputs/mnist/%d.png", digit))
		r := classify(t, model, picture, image.Spec{Color: "gray", Scale: image.Numbers{1}})
		if r.Classes[0].Index != digit {
			t.Errorf("%d was taken for %d", digit, r.Classes[0].Index)
		}
		// The demo's own network never saw MNIST.
		r = classify(t, "../demo/models/digits.onnx", picture, image.Spec{Color: "gray", Scale: image.Numbers{1.0 / 255}})
		if r.Classes[0].Index != digit {
			t.Errorf("the demo took %d for %d", digit, r.Classes[0].Index)
		}
	}
}
