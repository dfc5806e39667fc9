package image

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/tensor"
)

// Recipe is a checked Spec.
type Recipe struct {
	spec          Spec
	channels      int
	bgr           bool
	width, height int // exact size; 0 if not stated
	shorter       int // shorter side; 0 if not stated
	letterbox     bool
	pad           byte
	filter        Filter
	cropW, cropH  int
	layout        string // empty: read it from the model's input
	table         [3][256]float64
}

// Input is what a model says of the input that a picture shall fill.
type Input struct {
	Name  string
	DType dtype.Type
	Shape []int // -1 where any size is taken
}

// String writes e.g. "float32[?,3,224,224]".
func (in Input) String() string {
	s := make([]string, len(in.Shape))
	for i, d := range in.Shape {
		s[i] = "?"
		if d >= 0 {
			s[i] = fmt.Sprint(d)
		}
	}
	return fmt.Sprintf("%s[%s]", in.DType, strings.Join(s, ","))
}

// Tensor makes the model's input out of a picture: values are
// (pixel*scale - mean) / std in float64, then rounded to the input's type.
func (r *Recipe) Tensor(p *Pixels, in Input) (*tensor.Tensor, error) {
	layout, err := r.layoutFor(in)
	if err != nil {
		return nil, fmt.Errorf("image: input %s %s: %w", in.Name, in, err)
	}
	p, err = r.Pixels(p)
	if err != nil {
		return nil, fmt.Errorf("image: input %s: %w", in.Name, err)
	}
	shape := []int{1, p.Channels, p.Height, p.Width}
	if layout == "nhwc" {
		shape = []int{1, p.Height, p.Width, p.Channels}
	}
	if len(in.Shape) == 3 {
		shape = shape[1:]
	}
	for i, want := range in.Shape {
		if want >= 0 && want != shape[i] {
			return nil, r.misfit(in, layout, shape)
		}
	}
	return r.fill(p, in, layout, shape)
}

// Pixels does the geometry: resize, crop and colour.
func (r *Recipe) Pixels(p *Pixels) (*Pixels, error) {
	if r.channels == 1 {
		p = p.Gray()
	} else {
		p = p.RGB()
	}
	switch {
	case r.letterbox:
		p = p.Letterbox(r.width, r.height, r.filter, r.pad)
	case r.shorter > 0:
		w, h := p.ShorterSide(r.shorter)
		if w > maxSide || h > maxSide {
			return nil, fmt.Errorf("resize: %dx%d becomes %dx%d: expected at most %d a side", p.Width, p.Height, w, h, maxSide)
		}
		p = p.Resize(w, h, r.filter)
	case r.width > 0:
		p = p.Resize(r.width, r.height, r.filter)
	}
	if r.cropW > 0 {
		return p.CropCenter(r.cropW, r.cropH)
	}
	return p, nil
}

// layoutFor takes the stated layout, or the only one that the model's shape allows.
func (r *Recipe) layoutFor(in Input) (string, error) {
	if len(in.Shape) != 4 && len(in.Shape) != 3 {
		return "", fmt.Errorf("a picture needs an input of 4 dimensions (or 3, without a batch), found %d", len(in.Shape))
	}
	if r.layout != "" {
		return r.layout, nil
	}
	first, last := in.Shape[len(in.Shape)-3], in.Shape[len(in.Shape)-1]
	isFirst, isLast := first == r.channels, last == r.channels
	switch {
	case isFirst && !isLast && last != -1 || isFirst && last == -1 && r.channels > 1:
		return "nchw", nil
	case isLast && !isFirst && first != -1 || isLast && first == -1 && r.channels > 1:
		return "nhwc", nil
	case first != -1 && last != -1 && !isFirst && !isLast:
		return "", fmt.Errorf("the recipe%s gives %d channels (color %s), which is neither the first nor the last dimension; check --color", r.spec.from(), r.channels, r.spec.Color)
	}
	return "", errors.New("the shape does not tell where the channels are; say --layout nchw or nhwc")
}

func (r *Recipe) misfit(in Input, layout string, shape []int) error {
	c, h, w := len(shape)-3, len(shape)-2, len(shape)-1
	if layout == "nhwc" {
		h, w, c = len(shape)-3, len(shape)-2, len(shape)-1
	}
	hint := "check --color and --layout"
	switch {
	case in.Shape[c] >= 0 && in.Shape[c] != shape[c]:
	case len(shape) == 4 && in.Shape[0] > 1:
		hint = fmt.Sprintf("the model takes exactly %d pictures at once", in.Shape[0])
	case in.Shape[w] >= 0 && in.Shape[h] >= 0:
		hint = fmt.Sprintf("say --resize %dx%d, or a larger --resize with --crop %[1]dx%d, as the model was trained", in.Shape[w], in.Shape[h])
	default:
		hint = "check --resize and --crop"
	}
	found := Input{DType: in.DType, Shape: shape}
	return fmt.Errorf("image: input %s: expected %s, but the recipe%s gives %s (%s); %s", in.Name, in, r.spec.from(), found, layout, hint)
}

// fill writes the values in the model's element type.
func (r *Recipe) fill(p *Pixels, in Input, layout string, shape []int) (*tensor.Tensor, error) {
	t := tensor.New(in.DType, shape...)
	pixel, channel := 1, p.Width*p.Height
	if layout == "nhwc" {
		pixel, channel = p.Channels, 1
	}
	for c := range p.Channels {
		from := c
		if r.bgr {
			from = 2 - c
		}
		encoded, err := encode(r.table[c][:], in.DType)
		if err != nil {
			return nil, fmt.Errorf("image: input %s: %w", in.Name, err)
		}
		size := in.DType.Bytes(1)
		for i := range p.Width * p.Height {
			v := int(p.Pix[i*p.Channels+from]) * size
			at := (i*pixel + c*channel) * size
			copy(t.Data[at:at+size], encoded[v:v+size])
		}
	}
	return t, nil
}

// encode gives the 256 possible values of a channel in an element type.
func encode(values []float64, dt dtype.Type) ([]byte, error) {
	t := tensor.New(dt, len(values))
	for i, v := range values {
		switch dt {
		case dtype.Float32:
			tensor.Of[float32](t)[i] = float32(v)
		case dtype.Float64:
			tensor.Of[float64](t)[i] = v
		case dtype.Float16:
			tensor.Of[uint16](t)[i] = dtype.F32ToF16(float32(v))
		case dtype.BFloat16:
			tensor.Of[uint16](t)[i] = dtype.F32ToBF16(float32(v))
		case dtype.Uint8:
			if v < 0 || v > 255 || v != math.Trunc(v) {
				return nil, fmt.Errorf("the recipe turns %d into %g, which is no uint8; expected --scale 1 without --mean and --std", i, v)
			}
			t.Data[i] = uint8(v)
		case dtype.Int8:
			if v < -128 || v > 127 || v != math.Trunc(v) {
				return nil, fmt.Errorf("the recipe turns %d into %g, which is no int8; expected --scale 1 --mean 128", i, v)
			}
			t.Data[i] = byte(int8(v))
		default:
			return nil, fmt.Errorf("a picture cannot fill an input of type %s: expected a float type, uint8 or int8", dt)
		}
	}
	return t.Data, nil
}

// FindSpec looks for the recipe of a model file: MODEL.yaml, preprocess.yaml,
// then preprocessor_config.json (Hugging Face) in its folder, and in the folder
// above where the model's is called "onnx" or is a version number. ok says
// whether there is one.
func FindSpec(model string) (s Spec, ok bool, err error) {
	dir := filepath.Dir(model)
	stem := strings.TrimSuffix(filepath.Base(model), filepath.Ext(model))
	dirs := []string{dir}
	if name := filepath.Base(dir); name == "onnx" || name != "" && strings.Trim(name, "0123456789") == "" {
		dirs = append(dirs, filepath.Dir(dir))
	}
	for _, d := range dirs {
		for _, name := range []string{stem + ".yaml", "preprocess.yaml", "preprocessor_config.json"} {
			path := filepath.Join(d, name)
			data, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return Spec{}, false, err
			}
			parse := ParseSpec
			if filepath.Ext(name) == ".json" {
				parse = ParseHuggingFace
			}
			s, err := parse(data)
			if err != nil {
				return Spec{}, false, fmt.Errorf("%s: %w", path, err)
			}
			s.Source = path
			return s, true, nil
		}
	}
	return Spec{}, false, nil
}

// NewRecipe joins the recipe beside a model with what flags state; flags win.
func NewRecipe(model string, flags Spec) (*Recipe, error) {
	base, ok, err := FindSpec(model)
	if err != nil {
		return nil, err
	}
	r, err := flags.Over(base).Recipe()
	if err != nil && !ok {
		return nil, fmt.Errorf("%w; nor is there a recipe beside the model (%s.yaml, preprocess.yaml or preprocessor_config.json)",
			err, strings.TrimSuffix(filepath.Base(model), filepath.Ext(model)))
	}
	return r, err
}

// String describes the recipe as the flags that would give it.
func (r *Recipe) String() string {
	var b strings.Builder
	for _, f := range [][2]string{
		{"resize", r.spec.Resize}, {"filter", r.spec.Filter}, {"pad", r.spec.Pad}, {"crop", r.spec.Crop}, {"color", r.spec.Color},
		{"scale", r.spec.Scale.String()}, {"mean", r.spec.Mean.String()}, {"std", r.spec.Std.String()}, {"layout", r.spec.Layout},
	} {
		if f[1] != "" {
			fmt.Fprintf(&b, " --%s %s", f[0], f[1])
		}
	}
	return strings.TrimSpace(b.String())
}
