package exec_test

import (
	"math/rand/v2"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// What is packed of a table that is cut by the inputs' size counts with its plan: in what
// the plan needs, in what the session holds, and among the plans that are kept.
func TestPackedForOnePlanCounts(t *testing.T) {
	w := &wild{Rand: rand.New(rand.NewPCG(1, 1)), g: &ir.Graph{Opsets: map[string]int{"": 18}}, rows: map[*ir.Value]int{}}
	x := ir.NewValue("x", ir.Type{DType: dtype.Float32, Shape: shape.Shape{shape.Const(4), shape.Sym("n")}})
	w.g.Inputs = []*ir.Value{x}
	length := w.node("Slice", 1, nil, w.node("Shape", 1, nil, x)[0], ints(1), ints(2))[0]
	table := ir.NewConst("table", tensor.FromSlice(numbers(w.Rand, 100*64), 100, 64))
	w.g.AddOutput("y", w.node("MatMul", 1, nil, x, w.node("Slice", 1, nil, table, ints(0), length, ints(0))[0])[0])
	if err := op.InferTypes(w.g); err != nil {
		t.Fatal(err)
	}
	s := exec.New(w.g, exec.Options{})
	defer s.Close()
	for _, n := range []int{60, 90} {
		in := []*tensor.Tensor{tensor.FromSlice(numbers(w.Rand, 4*n), 4, n)}
		p, err := s.PlanFor(in)
		if err != nil {
			t.Fatal(err)
		}
		if got, least := p.Memory().Packed, n*64*4; got < least {
			t.Errorf("%d rows: the plan says that %d bytes are packed, expected at least %d", n, got, least)
		}
	}
	if got, least := s.MemoryBytes(), int64((60+90)*64*4); got < least {
		t.Errorf("the session says that it holds %d bytes, expected at least %d", got, least)
	}
	small := exec.New(w.g, exec.Options{MaxMemory: 40 << 10})
	defer small.Close()
	if _, err := small.PlanFor([]*tensor.Tensor{tensor.New(dtype.Float32, 4, 90)}); !exec.NeverFits(err) {
		t.Errorf("a plan that packs 23 KB of a table of 26 KB within a limit of 40 KB: %v", err)
	}
}
