package samples

import (
	"context"
	"testing"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/tensor"
)

// whatever a file holds, samples are inputs of the model or an error.
func whatever(f *testing.F, name string, graphs []*ir.Graph) {
	f.Fuzz(func(t *testing.T, data string) {
		path := write(t, t.TempDir()+"/"+name, data)
		for _, g := range graphs {
			s, err := Open(path, g, Options{Limit: 8})
			if err != nil {
				continue
			}
			for i := range s.Len() {
				in, err := s.At(context.Background(), i)
				if err != nil {
					continue
				}
				for k, v := range g.Inputs {
					if in[k].DType != v.Type.DType || !fits(v.Type.Shape, in[k].Shape) || len(in[k].Data) != in[k].DType.Bytes(in[k].Len()) {
						t.Errorf("sample %d, input %q: %s, expected %s", i, v.Name, in[k], v.Type)
					}
				}
				if c, ok := s.Label(i); ok && c < 0 {
					t.Errorf("sample %d: class %d", i, c)
				}
			}
		}
	})
}

func fuzzGraphs(f *testing.F) []*ir.Graph {
	return []*ir.Graph{
		graph(f, "%x float32[1,3]"), graph(f, "%x float32[n,3]"), graph(f, "%x float32[2,3]"), graph(f, "%x float32[n]"), graph(f, "%x float32[*]"),
		graph(f, "%x float32[n,3]", "%y int64[]"), graph(f, "%x bool[n,m]", "%y uint8[n]"),
	}
}

func FuzzArrays(f *testing.F) {
	for _, x := range []*tensor.Tensor{count(1, 3), count(4, 3), count(2, 2, 3), count(3)} {
		f.Add(archive(f, array("x", x)))
		f.Add(archive(f, array("x", x), array("y", tensor.Scalar[int64](1)), array("labels", tensor.FromSlice([]int64{0, 1, 2, 3}))))
	}
	whatever(f, "a.npz", fuzzGraphs(f))
}

func FuzzJSONLines(f *testing.F) {
	for _, s := range []string{
		`{"x": [1, 2, 3], "label": 1}`, "{\"x\": [[1, 2, 3]], \"y\": 4}\n{\"x\": [0,0,0], \"y\": 1}", `{"input": [[[1e3]]]}`, `{"x": [[true, false]], "y": [3]}`, `{"x": [[], []]}`, `{"x": 1}`, `{"x": [[[[`,
	} {
		f.Add(s)
	}
	whatever(f, "a.jsonl", fuzzGraphs(f))
}
