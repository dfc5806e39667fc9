package fuse

import (
	"context"
	"fmt"
	"testing"

	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	_ "github.com/salver-ml/salver/internal/ops"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/tensor"
)

// Indices of two unknown sizes, summed, kept, or both, take operands of one element, as Einsum does, and no others.
func TestEinsumSizesThatMayDiffer(t *testing.T) {
	for _, c := range []struct{ x, y, equation string }{
		{"2,i,j", "2,k,3", "bij,bjd->bid"}, {"i,j", "k,i", "ij,ji->i"}, {"2,j", "k,2", "ij,ji->ij"}, {"j,2,3", "k,3", "jab,jb->ja"},
	} {
		for _, sizes := range [][2]int{{5, 5}, {1, 5}, {5, 1}, {1, 1}, {2, 5}} {
			var results [2]string
			for level := range results {
				g, err := ir.Parse(fmt.Sprintf("graph \"g\" {\n  input %%x float32[%s]\n  input %%y float32[%s]\n  %%z = Einsum(%%x, %%y) {equation = %q}\n  output %%z\n}\n", c.x, c.y, c.equation), 17)
				if err != nil {
					t.Fatal(err)
				}
				if err := op.InferTypes(g); err != nil {
					t.Fatal(err)
				}
				if level > 0 {
					if _, err := pass.Run(g, []pass.Pass{Einsum}, pass.Options{Level: pass.MaxLevel, Verify: true}); err != nil {
						t.Fatal(err)
					}
				}
				for _, n := range g.Nodes {
					if n.Is("Einsum") == (level > 0) {
						t.Errorf("%q: %s at level %d", c.equation, n, level)
					}
				}
				var in []*tensor.Tensor
				for _, v := range g.Inputs {
					var dims []int
					for _, d := range v.Type.Shape {
						n, known := d.Int()
						if !known {
							n = map[string]int{"i": 4, "j": sizes[0], "k": sizes[1]}[d.String()]
						}
						dims = append(dims, n)
					}
					x := make([]float32, tensor.Count(dims))
					for i := range x {
						x[i] = float32(i%7 + 1)
					}
					in = append(in, tensor.FromSlice(x, dims...))
				}
				s := exec.New(g, exec.Options{})
				out, err := s.Run(context.Background(), in)
				if results[level] = "refused"; err == nil {
					results[level] = fmt.Sprint(out[0].Shape, tensor.Of[float32](out[0]))
				}
				s.Close()
			}
			if results[0] != results[1] || (results[0] == "refused") != (sizes == [2]int{2, 5}) {
				t.Errorf("%q of %v: %s, as products %s", c.equation, sizes, results[0], results[1])
			}
		}
	}
}
