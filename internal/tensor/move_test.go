package tensor

import (
	"slices"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
)

func TestCopyStrided(t *testing.T) {
	src := FromSlice([]int16{0, 1, 2, 3, 4, 5}, 2, 3)
	for _, c := range []struct {
		name    string
		dims    []int
		base    int
		strides []int
		want    []int16
	}{
		{"transposed", []int{3, 2}, 0, []int{1, 3}, []int16{0, 3, 1, 4, 2, 5}},
		{"rows", []int{1, 3}, 3, []int{3, 1}, []int16{3, 4, 5}},
		{"reversed", []int{6}, 5, []int{-1}, []int16{5, 4, 3, 2, 1, 0}},
		{"repeated", []int{2, 2}, 1, []int{0, 1}, []int16{1, 2, 1, 2}},
		{"scalar", []int{}, 4, []int{}, []int16{4}},
		{"empty", []int{0, 3}, 0, []int{3, 1}, nil},
	} {
		dst := New(dtype.Int16, c.dims...)
		dst.CopyStrided(src, c.base, c.strides)
		if got := Of[int16](dst); !slices.Equal(got, c.want) {
			t.Errorf("%s: found %v, expected %v", c.name, got, c.want)
		}
	}
}

func TestPackedElements(t *testing.T) {
	for _, dt := range []dtype.Type{dtype.Uint4, dtype.Uint2} {
		src := New(dt, 5)
		want := []byte{1, 2, 3, 0, 2}
		src.Pack(want)
		if got := src.Unpack(); !slices.Equal(got, want) {
			t.Errorf("%s: found %v, expected %v", dt, got, want)
		}
		dst := New(dt, 4)
		dst.CopyElements(1, src, 2, 3)
		if got := dst.Unpack(); !slices.Equal(got, []byte{0, 3, 0, 2}) {
			t.Errorf("%s: copied %v, expected [0 3 0 2]", dt, got)
		}
		dst.Fill(src, 1)
		if got := dst.Unpack(); !slices.Equal(got, []byte{2, 2, 2, 2}) {
			t.Errorf("%s: filled with %v, expected twos", dt, got)
		}
	}
}

func TestFill(t *testing.T) {
	f := New(dtype.Float64, 3, 5)
	f.Fill(FromSlice([]float64{1, 7}), 1)
	if v := Of[float64](f); slices.ContainsFunc(v, func(x float64) bool { return x != 7 }) {
		t.Errorf("found %v, expected sevens", v)
	}
	s := New(dtype.String, 2)
	s.Fill(FromStrings([]string{"x"}), 0)
	if !slices.Equal(s.Strings, []string{"x", "x"}) {
		t.Errorf("found %q", s.Strings)
	}
}

func TestCheckSize(t *testing.T) {
	for _, dims := range [][]int{{-1}, {1 << 62, 4}, {0, 1 << 40}, {1 << 16, 1 << 16}} {
		if CheckSize(dims) == nil {
			t.Errorf("%v is accepted", dims)
		}
	}
	for _, dims := range [][]int{{}, {0}, {1 << 15, 1 << 15}} {
		if err := CheckSize(dims); err != nil {
			t.Error(err)
		}
	}
}
