package exec

import (
	"testing"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/tensor"
)

// Small plans stay off the pool; those whose work is not known do not.
func TestAlone(t *testing.T) {
	p := pool.New(2)
	defer p.Close()
	for _, c := range []struct {
		op    string
		alone float64
		uses  bool
	}{
		{"Twice", 0, true},
		{"Twice", 10, true},
		{"Twice", 1e6, false},
		{"Positive", 1e6, true},
	} {
		x := vector("x")
		b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
		b.g.AddOutput("y", b.node(c.op, x))
		s := New(b.g, Options{Pool: p, Alone: c.alone})
		plan, err := s.PlanFor([]*tensor.Tensor{tensor.FromSlice(make([]float32, 100), 50, 2)})
		if err != nil {
			t.Fatal(err)
		}
		if (plan.pool != nil) != c.uses {
			t.Errorf("%s alone below %g: uses the pool %v, expected %v", c.op, c.alone, plan.pool != nil, c.uses)
		}
		s.Close()
	}
}
