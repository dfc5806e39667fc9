package image

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/npy"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/testkit"
)

func spec(t *testing.T, text string) Spec {
	t.Helper()
	s, err := ParseSpec([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func recipe(t *testing.T, text string) *Recipe {
	t.Helper()
	r, err := spec(t, text).Recipe()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTensorLayoutsAndColors(t *testing.T) {
	p := &Pixels{2, 1, 3, []byte{1, 2, 3, 4, 5, 6}}
	cases := []struct {
		recipe string
		shape  []int
		want   []float32
	}{
		{"{color: rgb, scale: 1}", []int{1, 3, 1, 2}, []float32{1, 4, 2, 5, 3, 6}},
		{"{color: bgr, scale: 1}", []int{-1, 3, 1, 2}, []float32{3, 6, 2, 5, 1, 4}},
		{"{color: rgb, scale: 1, layout: nhwc}", []int{1, 1, 2, 3}, []float32{1, 2, 3, 4, 5, 6}},
		{"{color: bgr, scale: 1}", []int{1, -1, -1, 3}, []float32{3, 2, 1, 6, 5, 4}},
		{"{color: rgb, scale: 1}", []int{3, 1, 2}, []float32{1, 4, 2, 5, 3, 6}},
		{"{color: gray, scale: 1/2}", []int{1, 1, 1, 2}, []float32{1, 2.5}},
		{"{color: rgb, scale: 1, mean: [1, 2, 3], std: 2}", []int{1, 3, 1, 2}, []float32{0, 1.5, 0, 1.5, 0, 1.5}},
		{"{color: bgr, mean: [3, 2, 1]}", []int{1, 3, 1, 2}, []float32{0, 3, 0, 3, 0, 3}},
	}
	for _, c := range cases {
		got, err := recipe(t, c.recipe).Tensor(p, Input{"x", dtype.Float32, c.shape})
		if err != nil {
			t.Errorf("%s: %v", c.recipe, err)
			continue
		}
		if !slices.Equal(tensor.Of[float32](got), c.want) {
			t.Errorf("%s: %v, want %v", c.recipe, tensor.Of[float32](got), c.want)
		}
	}
}

func TestElementTypes(t *testing.T) {
	p := &Pixels{1, 1, 1, []byte{130}}
	in := func(dt dtype.Type) Input { return Input{"x", dt, []int{1, 1, 1, 1}} }
	if got, err := recipe(t, "{color: gray, scale: 1, layout: nchw}").Tensor(p, in(dtype.Uint8)); err != nil || got.Data[0] != 130 {
		t.Error(got, err)
	}
	if got, err := recipe(t, "{color: gray, scale: 1, mean: 128, layout: nchw}").Tensor(p, in(dtype.Int8)); err != nil || got.Data[0] != 2 {
		t.Error(got, err)
	}
	if got, err := recipe(t, "{color: gray, scale: 1/256, layout: nchw}").Tensor(p, in(dtype.Float16)); err != nil || dtype.F16ToF32(tensor.Of[uint16](got)[0]) != 130.0/256 {
		t.Error(got, err)
	}
	for dt, want := range map[dtype.Type]string{dtype.Uint8: "which is no uint8", dtype.Int64: "cannot fill an input of type int64"} {
		if _, err := recipe(t, "{color: gray, scale: 1/256, layout: nchw}").Tensor(p, in(dt)); err == nil || !strings.Contains(err.Error(), want) {
			t.Error(err)
		}
	}
}

func TestImpliedScale(t *testing.T) {
	for text, want := range map[string]float64{
		"{color: rgb, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}": 1.0 / 255,
		"{color: rgb, mean: 0.5, std: 0.5}":                                     1.0 / 255,
		"{color: rgb, mean: 127, std: 128}":                                     1,
		"{color: rgb, mean: [104, 117, 123]}":                                   1,
		"{color: rgb, mean: 0.5, std: 0.5, scale: 1}":                           1,
		"{color: rgb, mean: 0, std: 1}":                                         0,
		"{color: rgb, mean: 127.5, std: 0.5}":                                   0,
	} {
		r, err := spec(t, text).Recipe()
		if want == 0 {
			if err == nil || !strings.Contains(err.Error(), "--scale 1/255") {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		if err != nil || math.Abs(r.spec.Scale[0]-want) > 1e-12 {
			t.Errorf("%s: %v %v", text, r, err)
		}
	}
}

func TestBadRecipes(t *testing.T) {
	cases := map[string]string{
		"{colour: rgb}":                                     "colour",
		"{color: rgb, color: bgr}":                          "already defined",
		"{}":                                                "--color rgb|bgr|gray) and the range of values (--mean",
		"{color: cmyk, scale: 1}":                           `color "cmyk"`,
		"{color: rgb, scale: 1, resize: 10x}":               `resize "10x"`,
		"{color: rgb, scale: 1, resize: 0}":                 `resize "0"`,
		"{color: rgb, scale: 1, resize: 99999}":             "from 1 to 16384",
		"{color: rgb, scale: 1, resize: 10, filter: cubic}": `filter "cubic"`,
		"{color: rgb, scale: 1, resize: letterbox:10x10}":   "pad and letterbox go together",
		"{color: rgb, scale: 1, pad: 3}":                    "pad and letterbox go together",
		"{color: rgb, scale: [1, 2]}":                       "scale: expected one number",
		"{color: rgb, scale: one}":                          "expected a number or a fraction",
		"{color: rgb, scale: 1/0}":                          "expected a number or a fraction",
		"{color: rgb, scale: 1, mean: [1, 2]}":              "mean: expected 1 or 3 numbers, found 2",
		"{color: gray, scale: 1, std: 0}":                   "std: expected a number other than 0",
		"{color: rgb, scale: 1, layout: chw}":               `layout "chw"`,
		"{color: rgb, scale: 1, crop: 10x-1}":               `crop "10x-1"`,
	}
	for text, want := range cases {
		s, err := ParseSpec([]byte(text))
		if err == nil {
			_, err = s.Recipe()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want …%s…", text, err, want)
		}
	}
}

func TestMisfitsSayExpectedAndFound(t *testing.T) {
	p := NewPixels(40, 30, 3)
	cases := []struct {
		recipe string
		shape  []int
		want   string
	}{
		{"{color: rgb, scale: 1}", []int{1, 3, 224, 224}, "expected float32[1,3,224,224], but the recipe gives float32[1,3,30,40] (nchw); say --resize 224x224"},
		{"{color: rgb, scale: 1, layout: nchw}", []int{1, 1, 30, 40}, "expected float32[1,1,30,40], but the recipe gives float32[1,3,30,40] (nchw); check --color"},
		{"{color: gray, scale: 1}", []int{1, 3, 30, 40}, "gives 1 channels (color gray)"},
		{"{color: rgb, scale: 1}", []int{8, 3, 30, 40}, "takes exactly 8 pictures"},
		{"{color: rgb, scale: 1}", []int{1, 3, -1, 3}, "say --layout"},
		{"{color: rgb, scale: 1}", []int{-1, -1, -1, -1}, "say --layout"},
		{"{color: rgb, scale: 1}", []int{1, 1200}, "a picture needs an input of 4 dimensions"},
		{"{color: rgb, scale: 1, crop: 31x31}", []int{1, 3, 31, 31}, "31x31 does not fit in the picture of 40x30"},
	}
	for _, c := range cases {
		_, err := recipe(t, c.recipe).Tensor(p, Input{"data", dtype.Float32, c.shape})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %v: %v, want …%s…", c.recipe, c.shape, err, c.want)
		}
	}
}

func TestRecipeBesideModel(t *testing.T) {
	dir := t.TempDir()
	model := filepath.Join(dir, "1", "net.onnx")
	if err := os.MkdirAll(filepath.Dir(model), 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := NewRecipe(model, Spec{}); err == nil || !strings.Contains(err.Error(), "net.yaml, preprocess.yaml or preprocessor_config.json") {
		t.Error(err)
	}
	if _, err := NewRecipe(model, Spec{Color: "rgb", Scale: Numbers{1}}); err != nil {
		t.Error("flags alone:", err)
	}
	write("preprocessor_config.json", `{"image_processor_type": "ViTImageProcessor"}`)
	write("preprocess.yaml", "color: bgr\nscale: 1\nresize: 8\n")
	r, err := NewRecipe(model, Spec{Resize: "9x7"})
	if err != nil || r.String() != "--resize 9x7 --filter bilinear --color bgr --scale 1" {
		t.Error(r, err)
	}
	write("1/net.yaml", "color: purple\nscale: 1\n")
	if _, err := NewRecipe(model, Spec{}); err == nil || !strings.Contains(err.Error(), "net.yaml") {
		t.Error(err)
	}
}

// TestTrainedModelsInputs makes the recorded inputs of trained models from
// the pictures that they were made of.
func TestTrainedModelsInputs(t *testing.T) {
	cases := []struct{ model, golden, key, picture, recipe string }{
		{"squeezenet-v1.1", "golden_0.npz", "", "chelsea.png", "{color: bgr, resize: 227x227, mean: [104, 117, 123]}"},
		{"squeezenet-v1.1", "golden_1.npz", "", "coffee.png", "{color: bgr, resize: 227x227, mean: [104, 117, 123]}"},
		{"fastestdet", "golden_1.npz", "", "chelsea.png", "{color: bgr, resize: 352x352, scale: 1/255}"},
		{"ultraface-rfb320", "golden_0.npz", "", "astronaut.png", "{color: rgb, resize: 320x240, mean: 127, std: 128}"},
		{"yunet-n-320", "golden_0.npz", "", "astronaut.png", "{color: bgr, resize: 320x320, scale: 1}"},
		{"mnist", "golden_3.npz", "", "mnist/3.png", "{color: gray, scale: 1, layout: nchw}"},
	}
	for _, c := range cases {
		inputs := testkit.Assets(t, "inputs")
		p, err := DecodeFile(filepath.Join(inputs, c.picture))
		if err != nil {
			t.Fatal(err)
		}
		golden, err := npy.ReadArchive(filepath.Join(testkit.Assets(t, "models/"+c.model), c.golden))
		if err != nil {
			t.Fatal(err)
		}
		for key, want := range golden {
			if !strings.HasPrefix(key, "in_") {
				continue
			}
			got, err := recipe(t, c.recipe).Tensor(p, Input{key, want.DType, want.Shape})
			if err != nil {
				t.Error(err)
				continue
			}
			worst := 0.0
			for i, v := range tensor.Of[float32](got) {
				worst = max(worst, math.Abs(float64(v)-float64(tensor.Of[float32](want)[i])))
			}
			t.Logf("%s %s: largest difference %g", c.model, c.picture, worst)
			if worst > 1e-6 {
				t.Errorf("%s %s: largest difference %g", c.model, c.picture, worst)
			}
		}
	}
}
