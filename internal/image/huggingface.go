package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// hfConfig holds the fields of Hugging Face's preprocessor_config.json that
// change pixels. Pointers and raw values tell "absent" from zero.
type hfConfig struct {
	Type      string          `json:"image_processor_type"`
	OldType   string          `json:"feature_extractor_type"`
	DoResize  *bool           `json:"do_resize"`
	Size      json.RawMessage `json:"size"`
	Resample  *int            `json:"resample"`
	Square    *bool           `json:"default_to_square"`
	CropPct   *float64        `json:"crop_pct"`
	DoCrop    *bool           `json:"do_center_crop"`
	CropSize  json.RawMessage `json:"crop_size"`
	DoRescale *bool           `json:"do_rescale"`
	Rescale   *float64        `json:"rescale_factor"`
	DoNorm    *bool           `json:"do_normalize"`
	Mean      Numbers         `json:"image_mean"`
	Std       Numbers         `json:"image_std"`
	FlipOrder *bool           `json:"do_flip_channel_order"`
}

// hfUsed are the fields of hfConfig; hfHarmless those that do not change the
// pixels of a classification, detection or embedding input.
var (
	hfUsed = []string{"image_processor_type", "feature_extractor_type", "do_resize", "size", "resample", "default_to_square", "crop_pct",
		"do_center_crop", "crop_size", "do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std", "do_flip_channel_order"}
	hfHarmless = []string{"processor_class", "_processor_class", "auto_map", "_valid_processor_keys", "data_format", "input_data_format",
		"return_tensors", "do_convert_rgb", "do_reduce_labels", "reduce_labels", "device", "disable_grouping", "model_input_names"}
)

// ParseHuggingFace reads a preprocessor_config.json. Fields it leaves out have
// the defaults of its processor's class; a class that is not known must state
// them all. Fields that would change pixels in other ways are errors.
func ParseHuggingFace(data []byte) (Spec, error) {
	s, err := parseHF(data)
	if err != nil {
		return Spec{}, fmt.Errorf("preprocessor_config.json: %w; write a recipe of our own as MODEL.yaml instead", err)
	}
	return s, nil
}

func parseHF(data []byte) (Spec, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return Spec{}, err
	}
	if err := checkHFFields(all); err != nil {
		return Spec{}, err
	}
	var c hfConfig
	if err := json.Unmarshal(data, &c); err != nil {
		return Spec{}, err
	}
	class := c.class()
	d, known := hfDefaults[class]
	s, err := c.or(d).spec(class)
	if err != nil && !known {
		return Spec{}, fmt.Errorf("%w (the defaults of processor %q are not known)", err, class)
	}
	return s, err
}

func checkHFFields(all map[string]json.RawMessage) error {
	for name, v := range all {
		off := string(v) == "null" || string(v) == "false" && strings.HasPrefix(name, "do_")
		if !off && !slices.Contains(hfUsed, name) && !slices.Contains(hfHarmless, name) {
			return fmt.Errorf("field %q: %s is not supported", name, clip(v))
		}
	}
	return nil
}

func clip(v []byte) string {
	if len(v) > 60 {
		return string(v[:60]) + "…"
	}
	return string(v)
}

// or fills what c leaves out from d.
func (c hfConfig) or(d hfConfig) hfConfig {
	fill(&c.DoResize, d.DoResize)
	fill(&c.Resample, d.Resample)
	fill(&c.Square, d.Square)
	fill(&c.CropPct, d.CropPct)
	fill(&c.DoCrop, d.DoCrop)
	fill(&c.DoRescale, d.DoRescale)
	fill(&c.DoNorm, d.DoNorm)
	fill(&c.FlipOrder, d.FlipOrder)
	if len(c.Size) == 0 || string(c.Size) == "null" {
		c.Size = d.Size
	}
	if len(c.CropSize) == 0 || string(c.CropSize) == "null" {
		c.CropSize = d.CropSize
	}
	if c.Mean == nil {
		c.Mean = d.Mean
	}
	if c.Std == nil {
		c.Std = d.Std
	}
	return c
}

func fill[T any](to **T, from *T) {
	if *to == nil {
		*to = from
	}
}

// class is the processor's family name, e.g. "ViT".
func (c hfConfig) class() string {
	name := c.Type
	if name == "" {
		name = c.OldType
	}
	for _, suffix := range []string{"Fast", "Pil", "ImageProcessor", "FeatureExtractor"} {
		name = strings.TrimSuffix(name, suffix)
	}
	return name
}

// spec interprets a complete configuration.
func (c hfConfig) spec(class string) (Spec, error) {
	s := Spec{Color: "rgb", Scale: Numbers{1}}
	if c.DoResize == nil || c.DoRescale == nil || c.DoNorm == nil {
		return s, errors.New("do_resize, do_rescale and do_normalize must be stated")
	}
	if c.FlipOrder != nil && *c.FlipOrder {
		s.Color = "bgr"
	}
	if *c.DoRescale {
		s.Scale = Numbers{1.0 / 255}
		if c.Rescale != nil {
			s.Scale = Numbers{*c.Rescale}
		}
	}
	if *c.DoNorm {
		if len(c.Mean) == 0 || len(c.Std) == 0 {
			return s, errors.New("do_normalize without image_mean and image_std")
		}
		s.Mean, s.Std = c.Mean, c.Std
	}
	crop := c.DoCrop != nil && *c.DoCrop
	if crop {
		w, h, short, err := c.side(c.CropSize, true)
		if err != nil || short > 0 {
			return s, fmt.Errorf("crop_size: expected a number or {height, width}, found %s", clip(c.CropSize))
		}
		s.Crop = fmt.Sprintf("%dx%d", w, h)
	}
	if !*c.DoResize {
		return s, nil
	}
	if c.Resample == nil || *c.Resample < 0 || *c.Resample >= len(filterNames) {
		return s, errors.New("resample: expected one of Pillow's filters, 0 to 5")
	}
	s.Filter = Filter(*c.Resample).String()
	w, h, short, err := c.side(c.Size, c.Square == nil || *c.Square)
	if err != nil {
		return s, fmt.Errorf("size: %w", err)
	}
	switch {
	case class == "ConvNext":
		return c.convNext(s, short)
	case short > 0:
		s.Resize = fmt.Sprint(short)
	default:
		s.Resize = fmt.Sprintf("%dx%d", w, h)
	}
	return s, nil
}

// convNext: below 384 pixels the shorter side becomes size/crop_pct and the
// middle is cropped; from 384 on the picture is stretched to a square.
func (c hfConfig) convNext(s Spec, short int) (Spec, error) {
	if short == 0 || c.CropPct == nil || *c.CropPct <= 0 || *c.CropPct > 1 {
		return s, errors.New("ConvNext: expected size {shortest_edge} and crop_pct in 0..1")
	}
	s.Resize = fmt.Sprintf("%dx%d", short, short)
	if short < 384 {
		s.Crop = s.Resize
		s.Resize = fmt.Sprint(int(float64(short) / *c.CropPct))
	}
	return s, nil
}

// side reads a size: 224, {"height": h, "width": w} or {"shortest_edge": n}. A
// bare number is a square or the shorter side.
func (c hfConfig) side(raw json.RawMessage, square bool) (w, h, short int, err error) {
	var n int
	if json.Unmarshal(raw, &n) == nil {
		if n < 1 || n > maxSide {
			return 0, 0, 0, fmt.Errorf("%d: expected 1 to %d pixels", n, maxSide)
		}
		if square {
			return n, n, 0, nil
		}
		return 0, 0, n, nil
	}
	var m map[string]int
	if err := json.Unmarshal(raw, &m); err != nil {
		return 0, 0, 0, fmt.Errorf("expected a number, {height, width} or {shortest_edge}, found %s", clip(raw))
	}
	for _, v := range m {
		if v < 1 || v > maxSide {
			return 0, 0, 0, fmt.Errorf("%s: expected 1 to %d pixels", clip(raw), maxSide)
		}
	}
	switch {
	case len(m) == 2 && m["height"] > 0 && m["width"] > 0:
		return m["width"], m["height"], 0, nil
	case len(m) == 1 && m["shortest_edge"] > 0:
		return 0, 0, m["shortest_edge"], nil
	}
	return 0, 0, 0, fmt.Errorf("expected a number, {height, width} or {shortest_edge}, found %s", clip(raw))
}
