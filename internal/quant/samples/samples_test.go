package samples

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/npy"
	"github.com/salver-ml/salver/internal/tensor"
)

func graph(t *testing.T, inputs ...string) *ir.Graph {
	t.Helper()
	g, err := ir.Parse("graph \"g\" {\n  input "+strings.Join(inputs, "\n  input ")+"\n}\n", 17)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func writeArchive(t *testing.T, path string, arrays ...npy.Array) string {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := npy.WriteArchive(f, true, arrays...); err != nil {
		t.Fatal(err)
	}
	return path
}

func count(dims ...int) *tensor.Tensor {
	x := make([]float32, tensor.Count(dims))
	for i := range x {
		x[i] = float32(i)
	}
	return tensor.FromSlice(x, dims...)
}

// Arrays are cut into samples along the first dimension, whatever the model's
// batch is.
func TestSplit(t *testing.T) {
	for _, c := range []struct {
		name, input string
		dims        []int
		n           int
		one         string
	}{
		{"one", "%x float32[1,3]", []int{1, 3}, 1, "float32[1,3]"},
		{"many", "%x float32[1,3]", []int{5, 3}, 5, "float32[1,3]"},
		{"batches", "%x float32[2,3]", []int{6, 3}, 3, "float32[2,3]"},
		{"open", "%x float32[n,3]", []int{6, 3}, 6, "float32[1,3]"},
		{"no batch", "%x float32[1,3]", []int{3}, 1, "float32[1,3]"},
		{"stacked", "%x float32[n,3]", []int{4, 2, 3}, 4, "float32[2,3]"},
		{"signal", "%x float32[n]", []int{16}, 1, "float32[16]"},
		{"signals", "%x float32[n]", []int{2, 16}, 2, "float32[16]"},
		{"scalars", "%x float32[]", []int{3}, 3, "float32[]"},
	} {
		dir := t.TempDir()
		path := writeArchive(t, dir+"/a.npz", npy.Array{Name: "x", Tensor: count(c.dims...)})
		s, err := Open(path, graph(t, c.input), Options{})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if s.Len() != c.n {
			t.Errorf("%s: %d samples, expected %d", c.name, s.Len(), c.n)
		}
		at := float32(0)
		for i := range s.Len() {
			in, err := s.At(context.Background(), i)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			if in[0].String() != c.one {
				t.Errorf("%s: %s, expected %s", c.name, in[0], c.one)
			}
			for _, v := range tensor.Of[float32](in[0]) {
				if v != at {
					t.Fatalf("%s: sample %d has %g, expected %g", c.name, i, v, at)
				}
				at++
			}
		}
	}
}

func TestJSONLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.jsonl")
	if err := os.WriteFile(path, []byte("{\"input\": [1, 2.5, -3e2], \"label\": 4}\n\n{\"x\":[[1,2,3]],\"label\":0}"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, graph(t, "%x float32[n,3]"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Len() != 2 {
		t.Fatalf("%d samples", s.Len())
	}
	in, err := s.At(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := tensor.Of[float32](in[0]); got[1] != 2.5 || got[2] != -300 || in[0].String() != "float32[1,3]" {
		t.Errorf("%s %v", in[0], got)
	}
	if c, ok := s.Label(0); c != 4 || !ok {
		t.Errorf("label %d %t", c, ok)
	}
	if in, err = s.At(context.Background(), 1); err != nil || in[0].String() != "float32[1,3]" {
		t.Errorf("%v %v", in, err)
	}
}
