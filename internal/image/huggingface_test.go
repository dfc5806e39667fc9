package image

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/tensor"
)

// TestHuggingFaceProcessors compares with what transformers' own processors
// made of the same picture (testdata/make_hf.py).
func TestHuggingFaceProcessors(t *testing.T) {
	var golden struct {
		Cases []struct {
			Config json.RawMessage
			Shape  []int
			Values []float64
		}
	}
	if err := json.Unmarshal(readFile(t, "testdata/huggingface.json"), &golden); err != nil {
		t.Fatal(err)
	}
	p := noise(200, 151, 3)
	for _, c := range golden.Cases {
		s, err := ParseHuggingFace(c.Config)
		if err != nil {
			t.Errorf("%s: %v", c.Config, err)
			continue
		}
		s.Layout = "nchw"
		r, err := s.Recipe()
		if err != nil {
			t.Errorf("%s: %v", c.Config, err)
			continue
		}
		got, err := r.Tensor(p, Input{"pixel_values", dtype.Float32, c.Shape})
		if err != nil {
			t.Errorf("%s: %v", c.Config, err)
			continue
		}
		x := tensor.Of[float32](got)
		for i, want := range c.Values {
			v := float64(x[i*(len(x)-1)/63])
			if math.Abs(v-want) > 1e-6*max(1, math.Abs(want)) {
				t.Errorf("%s: value %d is %g, transformers has %g", c.Config, i, v, want)
				break
			}
		}
	}
	if len(golden.Cases) < 20 {
		t.Errorf("only %d cases", len(golden.Cases))
	}
}

func TestHuggingFaceRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{`: "unexpected end",
		`{"image_processor_type": "ViTImageProcessor", "do_pad": true}`:     `field "do_pad": true is not supported`,
		`{"image_processor_type": "ViTImageProcessor", "size_divisor": 32}`: `field "size_divisor"`,
		`{"do_resize": true}`: `do_resize, do_rescale and do_normalize must be stated (the defaults of processor ""`,
		`{"image_processor_type": "LevitImageProcessor", "do_resize": true}`:                             `processor "Levit" are not known`,
		`{"image_processor_type": "ViTImageProcessor", "size": {"longest_edge": 5}}`:                     "size: expected a number",
		`{"image_processor_type": "ViTImageProcessor", "size": -3}`:                                      "expected 1 to 16384",
		`{"image_processor_type": "ViTImageProcessor", "resample": 9}`:                                   "resample",
		`{"image_processor_type": "CLIPImageProcessor", "crop_size": {"shortest_edge": 5}}`:              "crop_size",
		`{"do_resize": false, "do_rescale": true, "do_normalize": true}`:                                 "do_normalize without image_mean",
		`{"image_processor_type": "ConvNextImageProcessor", "size": {"height": 1, "width": 1}}`:          "ConvNext",
		`{"image_processor_type": "ConvNextImageProcessor", "crop_pct": 0, "size": {"shortest_edge":1}}`: "ConvNext",
	} {
		if _, err := ParseHuggingFace([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want …%s…", text, err, want)
		}
	}
	// What is off or null changes nothing, whatever its name.
	if _, err := ParseHuggingFace([]byte(`{"image_processor_type": "ViTFeatureExtractor", "do_pad": false, "pad_size": null, "size": null}`)); err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"image_processor_type": "ConvNextImageProcessor", "size": 64, "crop_pct": 0.5}`))
	f.Add([]byte("color: rgb\nscale: 1/255\nresize: letterbox:8x8\npad: 3\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, parse := range []func([]byte) (Spec, error){ParseSpec, ParseHuggingFace} {
			if s, err := parse(data); err == nil {
				s.Recipe() // must not panic
			}
		}
	})
}
