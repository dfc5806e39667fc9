package engine

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/testkit"
)

// smallInputs makes zero inputs; symbolic dimensions are 2.
func smallInputs(g *ir.Graph) []*tensor.Tensor {
	in := make([]*tensor.Tensor, len(g.Inputs))
	for i, v := range g.Inputs {
		dims := make([]int, len(v.Type.Shape))
		for j, d := range v.Type.Shape {
			if n, ok := d.Int(); ok {
				dims[j] = n
			} else {
				dims[j] = 2
			}
		}
		in[i] = tensor.New(v.Type.DType, dims...)
	}
	return in
}

// The arena of every trained model is within 2 % of the least that any
// placement could reach.
func TestArenasComeNearTheirBounds(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testkit.Assets(t, "models"), "*", "*.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	if more := os.Getenv("SALVER_MODELS"); more != "" {
		found, _ := filepath.Glob(filepath.Join(more, "*.onnx"))
		files = append(files, found...)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			e, err := Load(f, Options{Level: 3})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			p, err := e.PlanFor(smallInputs(e.Graph()))
			if err != nil {
				t.Skip(err)
			}
			m := p.Memory()
			t.Logf("arena %d, bound %d, %.4f", m.Arena, m.ArenaBound, float64(m.Arena)/float64(max(m.ArenaBound, 1)))
			if float64(m.Arena) > 1.02*float64(m.ArenaBound) {
				t.Errorf("arena %d, bound %d", m.Arena, m.ArenaBound)
			}
		})
	}
}
