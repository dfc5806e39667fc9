package exec_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/provider"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// precisions notes in what precision nodes are compiled.
type precisions struct {
	provider.Provider
	seen map[string]op.Precision
}

func (p *precisions) Compile(prep *op.Prep) (op.Kernel, error) {
	p.seen[prep.Node.Op] = prep.Precision
	return nil, nil
}

// The bodies of control flow compute in the precision of the graph around them.
func TestPrecisionOfBodies(t *testing.T) {
	w := &wild{Rand: rand.New(rand.NewPCG(1, 5)), g: &ir.Graph{Opsets: map[string]int{"": 18}}}
	x := ir.NewValue("x", ir.Type{DType: dtype.Float32, Shape: shape.Of(4, 4)})
	on := ir.NewValue("on", ir.Type{DType: dtype.Bool, Shape: shape.Shape{}})
	w.g.Inputs = []*ir.Value{x, on}
	body := func(of ...*ir.Value) *ir.Attr {
		inner := &wild{Rand: w.Rand, g: &ir.Graph{Opsets: w.g.Opsets}}
		inner.g.AddOutput("y", inner.node("MatMul", 1, nil, of...)[0])
		return ir.GraphAttr(inner.g)
	}
	w.g.AddOutput("y", w.node("If", 1, map[string]*ir.Attr{"then_branch": body(x, x), "else_branch": body(x, w.node("Neg", 1, nil, x)[0])}, on)[0])
	if err := op.InferTypes(w.g); err != nil {
		t.Fatal(err)
	}
	p := &precisions{provider.Ref, map[string]op.Precision{}}
	s := exec.New(w.g, exec.Options{Provider: p, Precision: op.BF16})
	defer s.Close()
	in := tensor.FromSlice([]float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, 4, 4)
	if _, err := s.Run(context.Background(), []*tensor.Tensor{in, tensor.Scalar(true)}); err != nil {
		t.Fatal(err)
	}
	if got, ok := p.seen["MatMul"]; !ok || got != op.BF16 {
		t.Errorf("a product in a branch is compiled for %v (%v), expected %v", got, ok, op.BF16)
	}
}

// A plan that is given up while it runs leaves none of the memory of its bodies behind.
func TestBodiesOfRetiredPlans(t *testing.T) {
	w := &wild{Rand: rand.New(rand.NewPCG(1, 5)), g: &ir.Graph{Opsets: map[string]int{"": 18}}}
	x := ir.NewValue("x", ir.Type{DType: dtype.Float32, Shape: shape.Shape{shape.Sym("n")}})
	w.g.Inputs = []*ir.Value{x}
	body := func(name string) *ir.Attr {
		inner := &wild{Rand: w.Rand, g: &ir.Graph{Opsets: w.g.Opsets}}
		y := inner.node("CumSum", 1, nil, inner.node(name, 1, nil, x)[0], ir.NewConst("axis", tensor.FromSlice([]int64{0})))[0]
		inner.g.AddOutput("y", inner.node("CumSum", 1, nil, y, ir.NewConst("axis", tensor.FromSlice([]int64{0})))[0])
		return ir.GraphAttr(inner.g)
	}
	first := w.node("Greater", 1, nil, w.node("Slice", 1, nil, x, ints(0), ints(1))[0], ir.NewConst("zero", tensor.FromSlice([]float32{0})))[0]
	w.g.AddOutput("y", w.node("If", 1, map[string]*ir.Attr{"then_branch": body("Neg"), "else_branch": body("Tanh")}, first)[0])
	if err := op.InferTypes(w.g); err != nil {
		t.Fatal(err)
	}
	before := mmap.InUse()
	s := exec.New(w.g, exec.Options{MaxPlans: 1})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 30 {
				n := 100_000 + g + i%3
				if _, err := s.Run(context.Background(), []*tensor.Tensor{tensor.New(dtype.Float32, n)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	s.Close()
	if n := mmap.InUse() - before; n != 0 {
		t.Errorf("%d bytes are in use after the session is closed", n)
	}
}
