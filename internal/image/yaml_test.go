package image

import (
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// yamlSpec is a Spec as a whole parser of YAML reads it.
type yamlSpec struct {
	Color, Resize, Filter, Pad, Crop, Layout string
	Scale, Mean, Std                         yamlNumbers
}

type yamlNumbers Numbers

func (n *yamlNumbers) UnmarshalYAML(node *yaml.Node) error {
	items := []*yaml.Node{node}
	if node.Kind == yaml.SequenceNode {
		items = node.Content
	}
	*n = nil
	for _, item := range items {
		v, err := parseNumber(item.Value)
		if err != nil {
			return err
		}
		*n = append(*n, v)
	}
	return nil
}

// sameAsYAML compares what ParseSpec reads with what the whole parser reads.
func sameAsYAML(t *testing.T, text string) {
	t.Helper()
	got, err := ParseSpec([]byte(text))
	if err != nil {
		return
	}
	var w yamlSpec
	if err := yaml.Load([]byte(text), &w, yaml.WithKnownFields()); err != nil && !strings.Contains(err.Error(), "EOF") && !strings.Contains(err.Error(), "no documents") {
		t.Errorf("%q: read as %+v, which YAML refuses: %v", text, got, err)
		return
	}
	want := Spec{Color: w.Color, Resize: w.Resize, Filter: w.Filter, Pad: w.Pad, Crop: w.Crop, Layout: w.Layout,
		Scale: Numbers(w.Scale), Mean: Numbers(w.Mean), Std: Numbers(w.Std)}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q: %+v, YAML reads %+v", text, got, want)
	}
}

var yamlRecipes = []string{
	"", "{}", "# nothing\n", "---\n...\n", "\ufeffcolor: rgb\r\nscale: 1/255\r\n",
	"color: rgb\nscale: 1/255\nresize: letterbox:8x8\npad: 3\n",
	"--- # a recipe\n  color: rgb   # comment\n\n  mean: [0.485, 0.456,\n  # red, green, blue\n   0.406,]\n  std:\n    - 1\n    - 0.5 # two\n    -   2\n  layout:\n...\n",
	"mean:\n- 1\n- 2\n\n- 3\nstd: ~\ncrop: null\nresize: 'null'",
	"{\"color\":\"rgb\", 'scale' : 1 , mean: [1,2,3], crop: , pad: 0x1f, filter: a#b}",
	"color: 'it''s' \nfilter: \"a \\\"b\\\\\"\n",
	"color: a # b\nfilter: a# b\ncrop: a:b\nresize: -1\n",
	"color: yes\nfilter: 1e3\ncrop: 2001-01-01\npad: 0o17\nlayout: .inf\n",
	"color: {a: b}", "color: [rgb]", "color: &a rgb", "color: !!str rgb", "color: |\n rgb\n", "color: rgb\n bgr\n",
	"color: rgb\n  scale: 1\n", "\tcolor: rgb\n", "color:\trgb\n", "color: rgb: bgr\n", "color rgb\n", "color:rgb\n", "- color\n",
	"color: rgb\n---\ncolor: bgr\n", "{color: rgb}\nscale: 1", "{color: rgb", "{color: [rgb", "color: \"rgb\nscale: 1", "mean: [1, [2]]", "mean: [1,,2]", "mean: [,]",
	"? color\n: rgb\n", "%YAML 1.2\n---\ncolor: rgb\n", "color: \x01\n", "color: \"\\x41\"\n", "mean:\n  - 1\n - 2\n", "<<: {color: rgb}\n",
}

func TestRecipesAreYAML(t *testing.T) {
	for _, text := range yamlRecipes {
		sameAsYAML(t, text)
	}
	got, err := ParseSpec([]byte(yamlRecipes[6]))
	want := Spec{Color: "rgb", Mean: Numbers{0.485, 0.456, 0.406}, Std: Numbers{1, 0.5, 2}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v %v, want %+v", got, err, want)
	}
}

func TestRecipesSayWhere(t *testing.T) {
	for text, want := range map[string]string{
		"color: rgb\nmean: [1, 2\nstd: 1\n":  `line 3: expected a comma or ']', found "std: 1"`,
		"color: rgb\n\n# x\nscale: one\n":    `line 4: scale: "one": expected a number`,
		"color: rgb\nsize: 3\n":              `line 2: size: expected a field of color,`,
		"color: rgb\n  scale: 1\n":           `line 2: expected a field after 0 spaces`,
		"color: &a rgb\n":                    `line 1: expected one plain or quoted value, found "&a rgb"`,
		"color: [rgb]\n":                     "line 1: color: expected one value, found a list",
		"color: rgb\nscale: 1\ncolor: bgr\n": `line 3: "color" is already defined at line 1`,
		"color: 'rgb\n":                      `expected a closing '\''`,
		"color: rgb\n---\n":                  `expected a name and a colon`,
		"color: \xff":                        "UTF-8",
	} {
		if _, err := ParseSpec([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want …%s…", text, err, want)
		}
	}
}

func FuzzRecipesAreYAML(f *testing.F) {
	for _, text := range yamlRecipes {
		f.Add(text)
	}
	f.Fuzz(sameAsYAML)
}
