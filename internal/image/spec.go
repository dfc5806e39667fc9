package image

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Spec is a recipe as people write it: in a YAML file or as flags of the same
// names. Empty fields are not stated.
type Spec struct {
	Color  string  `yaml:"color"`  // rgb, bgr or gray
	Resize string  `yaml:"resize"` // WxH, N (shorter side) or letterbox:WxH
	Filter string  `yaml:"filter"` // bilinear (if not stated), bicubic, lanczos, box, hamming, nearest
	Pad    string  `yaml:"pad"`    // letterbox ground, 0..255
	Crop   string  `yaml:"crop"`   // WxH or N, from the middle
	Scale  Numbers `yaml:"scale"`  // one factor, e.g. 1/255; if not stated, what Mean and Std imply
	Mean   Numbers `yaml:"mean"`   // one, or one per channel in the order of Color
	Std    Numbers `yaml:"std"`
	Layout string  `yaml:"layout"` // nchw or nhwc

	Source string `yaml:"-"` // the file it was read from, for messages
}

// Numbers is a list of numbers; each may be a fraction such as 1/255.
type Numbers []float64

// ParseNumbers reads "0.5", "1/255" or "0.485,0.456,0.406".
func ParseNumbers(s string) (Numbers, error) {
	var out Numbers
	for part := range strings.SplitSeq(s, ",") {
		v, err := parseNumber(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func parseNumber(s string) (float64, error) {
	over, under, fraction := strings.Cut(s, "/")
	v, err := strconv.ParseFloat(over, 64)
	if err == nil && fraction {
		var d float64
		d, err = strconv.ParseFloat(under, 64)
		v /= d
	}
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("%q: expected a number or a fraction such as 1/255", s)
	}
	return v, nil
}

// UnmarshalYAML reads one number or a list of them.
func (n *Numbers) UnmarshalYAML(node *yaml.Node) error {
	items := []*yaml.Node{node}
	if node.Kind == yaml.SequenceNode {
		items = node.Content
	}
	*n = nil
	for _, item := range items {
		v, err := parseNumber(item.Value)
		if err != nil {
			return fmt.Errorf("line %d: %w", item.Line, err)
		}
		*n = append(*n, v)
	}
	return nil
}

// String writes the numbers as a flag takes them.
func (n Numbers) String() string {
	s := make([]string, len(n))
	for i, v := range n {
		s[i] = strconv.FormatFloat(v, 'g', -1, 64)
	}
	return strings.Join(s, ",")
}

// ParseSpec reads a recipe file. Fields it does not know are errors.
func ParseSpec(data []byte) (Spec, error) {
	var s Spec
	if err := yaml.Load(data, &s, yaml.WithKnownFields()); err != nil {
		return Spec{}, fmt.Errorf("recipe: %w (fields: color, resize, filter, pad, crop, scale, mean, std, layout)", err)
	}
	return s, nil
}

// Over gives base with the fields that s states replaced.
func (s Spec) Over(base Spec) Spec {
	for _, f := range []struct{ to, from *string }{
		{&base.Color, &s.Color}, {&base.Resize, &s.Resize}, {&base.Filter, &s.Filter}, {&base.Pad, &s.Pad},
		{&base.Crop, &s.Crop}, {&base.Layout, &s.Layout},
	} {
		if *f.from != "" {
			*f.to = *f.from
		}
	}
	for _, f := range []struct{ to, from *Numbers }{{&base.Scale, &s.Scale}, {&base.Mean, &s.Mean}, {&base.Std, &s.Std}} {
		if len(*f.from) > 0 {
			*f.to = *f.from
		}
	}
	return base
}

// Recipe checks s and turns it into a form that can be applied.
func (s Spec) Recipe() (*Recipe, error) {
	if len(s.Scale) == 0 {
		s.Scale = s.impliedScale()
	}
	if s.Resize != "" && s.Filter == "" {
		s.Filter = Bilinear.String()
	}
	r := &Recipe{spec: s}
	if missing := s.missing(); missing != "" {
		return nil, fmt.Errorf("image: the recipe%s does not say %s", s.from(), missing)
	}
	if err := r.parse(s); err != nil {
		return nil, fmt.Errorf("image: recipe%s: %w", s.from(), err)
	}
	return r, nil
}

func (s Spec) from() string {
	if s.Source == "" {
		return ""
	}
	return " of " + s.Source
}

// impliedScale reads the unit of the values off mean and std: numbers above 1
// belong to pixels of 0..255, fractions to values of 0..1. Where they are of
// both kinds or of neither, the scale must be stated.
func (s Spec) impliedScale() Numbers {
	var fraction, large bool
	for _, v := range append(append(Numbers{}, s.Mean...), s.Std...) {
		v = math.Abs(v)
		large = large || v > 1
		fraction = fraction || v > 0 && v < 1
	}
	switch {
	case large && !fraction:
		return Numbers{1}
	case fraction && !large:
		return Numbers{1.0 / 255}
	}
	return nil
}

// missing names what cannot be left open: without it a picture gives numbers
// that the network was not trained on, and no error.
func (s Spec) missing() string {
	var m []string
	if s.Color == "" {
		m = append(m, "the channels (--color rgb|bgr|gray)")
	}
	if len(s.Scale) == 0 {
		m = append(m, "the range of values (--mean and --std as the model was trained, or --scale 1/255 for 0..1, or --scale 1 for 0..255)")
	}
	return strings.Join(m, " and ")
}

func (r *Recipe) parse(s Spec) (err error) {
	switch s.Color {
	case "rgb", "bgr":
		r.channels = 3
	case "gray", "grey":
		r.channels = 1
	default:
		return fmt.Errorf("color %q: expected rgb, bgr or gray", s.Color)
	}
	r.bgr = s.Color == "bgr"
	if err := r.parseResize(s); err != nil {
		return err
	}
	if s.Crop != "" {
		if r.cropW, r.cropH, err = parseSize(strings.TrimPrefix(s.Crop, "center:")); err != nil {
			return fmt.Errorf("crop %q: %w", s.Crop, err)
		}
	}
	switch s.Layout {
	case "", "nchw", "nhwc":
		r.layout = s.Layout
	default:
		return fmt.Errorf("layout %q: expected nchw or nhwc", s.Layout)
	}
	if len(s.Scale) != 1 {
		return fmt.Errorf("scale: expected one number, found %d", len(s.Scale))
	}
	return r.parseValues(s)
}

func (r *Recipe) parseResize(s Spec) (err error) {
	if s.Filter != "" {
		if r.filter, err = ParseFilter(s.Filter); err != nil {
			return err
		}
	}
	if s.Resize != "" {
		text := s.Resize
		if rest, ok := strings.CutPrefix(text, "letterbox:"); ok {
			r.letterbox, text = true, rest
		}
		if !r.letterbox && !strings.Contains(text, "x") {
			r.shorter, err = parseSide(text)
		} else {
			r.width, r.height, err = parseSize(text)
		}
		if err != nil {
			return fmt.Errorf("resize %q: %w", s.Resize, err)
		}
	}
	if r.letterbox != (s.Pad != "") {
		return fmt.Errorf("pad and letterbox go together: expected resize: letterbox:WxH with pad: 0..255, found resize %q and pad %q", s.Resize, s.Pad)
	}
	if s.Pad != "" {
		v, err := strconv.ParseUint(s.Pad, 10, 8)
		if err != nil {
			return fmt.Errorf("pad %q: expected a grey value from 0 to 255", s.Pad)
		}
		r.pad = byte(v)
	}
	return nil
}

func (r *Recipe) parseValues(s Spec) error {
	for c := range r.channels {
		mean, err := perChannel("mean", s.Mean, c, r.channels, 0)
		if err != nil {
			return err
		}
		std, err := perChannel("std", s.Std, c, r.channels, 1)
		if err != nil {
			return err
		}
		if std == 0 {
			return fmt.Errorf("std: expected a number other than 0")
		}
		for v := range 256 {
			r.table[c][v] = (float64(float64(v)*s.Scale[0]) - mean) / std
		}
	}
	return nil
}

func perChannel(name string, n Numbers, channel, channels int, none float64) (float64, error) {
	switch len(n) {
	case 0:
		return none, nil
	case 1:
		return n[0], nil
	case channels:
		return n[channel], nil
	}
	return 0, fmt.Errorf("%s: expected 1 or %d numbers, found %d", name, channels, len(n))
}

// maxSide bounds what a recipe may ask for.
const maxSide = 1 << 14

// parseSize reads "320x240" or "224" for a square.
func parseSize(s string) (w, h int, err error) {
	ws, hs, both := strings.Cut(s, "x")
	if !both {
		hs = ws
	}
	if w, err = parseSide(ws); err == nil {
		h, err = parseSide(hs)
	}
	return w, h, err
}

func parseSide(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxSide {
		return 0, fmt.Errorf("expected WxH in pixels, each from 1 to %d", maxSide)
	}
	return n, nil
}
