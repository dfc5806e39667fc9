package gguf

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestAccessors(t *testing.T) {
	f := &File{Metadata: map[string]any{}}
	for _, p := range pairs {
		f.Metadata[p.Key] = p.Value
	}
	for _, c := range []struct {
		key  string
		get  func(string) (any, error)
		want any
		err  string
	}{
		{"u8", got(f.Uint), 255, ""},
		{"i8", got(f.Uint), nil, `key "i8" is -128 (int8), expected an integer from 0 to`},
		{"u64", got(f.Uint), nil, "expected an integer"},
		{"f32", got(f.Uint), nil, "0.1 (float32), expected an integer"},
		{"f32", got(f.Float), float64(float32(0.1)), ""},
		{"f64", got(f.Float), 0.1, ""},
		{"u8", got(f.Float), nil, "expected a float"},
		{"yes", got(f.Bool), true, ""},
		{"u8", got(f.Bool), nil, "expected a bool"},
		{"general.architecture", got(f.String), "llama", ""},
		{"strings", got(f.String), nil, "an array of 3 elements ([]string), expected a string"},
		{"strings", got(f.Strings), []string{"a", "", "ü\x00\xff"}, ""},
		{"empty", got(f.Strings), nil, `"" (string), expected an array of strings`},
		{"u32s", got(f.Uints), []int{4, 5, 6}, ""},
		{"i32s", got(f.Uints), nil, "([]int32), expected an array of integers"},
		{"u8", got(f.Uints), nil, "expected an array"},
		{"f64s", got(f.Floats), []float64{1e300}, ""},
		{"none", got(f.Floats), []float64{}, ""},
		{"gone", got(f.Uint), nil, `key "gone": the file's metadata lack it`},
		{"gone", got(f.Floats), nil, `lack it`},
		{"gone", func(k string) (any, error) { return f.UintOr(k, 7) }, 7, ""},
		{"gone", func(k string) (any, error) { return f.FloatOr(k, 0.5) }, 0.5, ""},
		{"gone", func(k string) (any, error) { return f.BoolOr(k, true) }, true, ""},
		{"gone", func(k string) (any, error) { return f.StringOr(k, "x") }, "x", ""},
		{"no", func(k string) (any, error) { return f.BoolOr(k, true) }, false, ""},
		{"yes", func(k string) (any, error) { return f.UintOr(k, 7) }, nil, "expected an integer"},
	} {
		v, err := c.get(c.key)
		switch {
		case c.err == "" && (err != nil || !reflect.DeepEqual(v, c.want)):
			t.Errorf("%s: got %v, %v; expected %v", c.key, v, err, c.want)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: got error %v, expected %q", c.key, err, c.err)
		case c.key == "gone" && c.err != "" && !errors.Is(err, ErrMissing):
			t.Errorf("%s: %v is no ErrMissing", c.key, err)
		}
	}
}

func got[T any](get func(string) (T, error)) func(string) (any, error) {
	return func(key string) (any, error) { return get(key) }
}
