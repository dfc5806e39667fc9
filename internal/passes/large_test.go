package passes_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	_ "github.com/salver-ml/salver/internal/ops"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/testkit"
)

// builder makes large graphs.
type builder struct {
	tb testing.TB
	g  *ir.Graph
	n  int
}

func (b *builder) node(name string, attrs map[string]*ir.Attr, in ...*ir.Value) *ir.Value {
	b.n++
	y := ir.NewValue(fmt.Sprintf("v%d", b.n), ir.Type{})
	n := ir.NewNode("", name, 17, in, []*ir.Value{y}, attrs)
	if err := op.Complete(n); err != nil {
		b.tb.Fatal(err)
	}
	b.g.Nodes = append(b.g.Nodes, n)
	return y
}

func (b *builder) floats(dims ...int) *ir.Value {
	b.n++
	t := tensor.New(dtype.Float32, dims...)
	for i := range tensor.Of[float32](t) {
		tensor.Of[float32](t)[i] = float32(i%5) - 2
	}
	return ir.NewConst(fmt.Sprintf("c%d", b.n), t)
}

func (b *builder) ints(v ...int64) *ir.Value {
	b.n++
	return ir.NewConst(fmt.Sprintf("k%d", b.n), tensor.FromSlice(v, len(v)))
}

func (b *builder) finish(y *ir.Value) *ir.Graph {
	b.g.AddOutput("y", y)
	if err := op.InferTypes(b.g); err != nil {
		b.tb.Fatal(err)
	}
	return b.g
}

// transformer repeats a block of 37 nodes as an exporter writes it: shape
// arithmetic, products, normalization and GELU in single steps.
func transformer(tb testing.TB, nodes int) *ir.Graph {
	x := ir.NewValue("x", ir.Type{DType: dtype.Float32, Shape: shape.Shape{shape.Sym("n"), shape.Sym("s"), shape.Const(8)}})
	b := &builder{tb: tb, g: &ir.Graph{Name: "transformer", Inputs: []*ir.Value{x}, Opsets: map[string]int{"": 17}}}
	scalar := func(v float32) *ir.Value {
		b.n++
		return ir.NewConst(fmt.Sprintf("s%d", b.n), tensor.FromSlice([]float32{v}))
	}
	axis := map[string]*ir.Attr{"axes": ir.Ints(-1)}
	y := x
	for len(b.g.Nodes) < nodes {
		mean := b.node("ReduceMean", axis, y)
		d := b.node("Sub", nil, y, mean)
		v := b.node("ReduceMean", axis, b.node("Pow", nil, d, scalar(2)))
		norm := b.node("Div", nil, d, b.node("Sqrt", nil, b.node("Add", nil, v, scalar(1e-5))))
		norm = b.node("Add", nil, b.node("Mul", nil, norm, b.floats(8)), b.floats(8))
		dims := b.node("Shape", nil, norm)
		batch, seq := b.node("Gather", nil, dims, b.ints(0)), b.node("Gather", nil, dims, b.ints(1))
		to := b.node("Concat", map[string]*ir.Attr{"axis": ir.Int(0)}, batch, seq, b.ints(2), b.ints(4))
		heads := func(perm ...int) *ir.Value {
			h := b.node("Reshape", nil, b.node("Add", nil, b.node("MatMul", nil, norm, b.floats(8, 8)), b.floats(8)), to)
			return b.node("Transpose", map[string]*ir.Attr{"perm": ir.Ints(perm...)}, h)
		}
		q, k, w := heads(0, 2, 1, 3), heads(0, 2, 3, 1), heads(0, 2, 1, 3)
		p := b.node("Softmax", map[string]*ir.Attr{"axis": ir.Int(-1)}, b.node("Div", nil, b.node("MatMul", nil, q, k), scalar(2)))
		a := b.node("Transpose", map[string]*ir.Attr{"perm": ir.Ints(0, 2, 1, 3)}, b.node("MatMul", nil, p, w))
		a = b.node("Reshape", nil, a, b.node("Concat", map[string]*ir.Attr{"axis": ir.Int(0)}, batch, seq, b.ints(8)))
		y = b.node("Add", nil, y, b.node("Identity", nil, a))
		u := b.node("MatMul", nil, y, b.floats(8, 8))
		e := b.node("Add", nil, b.node("Erf", nil, b.node("Div", nil, u, scalar(1.4142135))), scalar(1))
		y = b.node("Add", nil, y, b.node("Mul", nil, b.node("Mul", nil, u, e), scalar(.5)))
	}
	return b.finish(y)
}

// detector repeats convolutions with normalization, activation, splits and joins.
func detector(tb testing.TB, nodes int) *ir.Graph {
	x := ir.NewValue("x", ir.Type{DType: dtype.Float32, Shape: shape.Shape{shape.Sym("n"), shape.Const(32), shape.Const(20), shape.Const(20)}})
	b := &builder{tb: tb, g: &ir.Graph{Name: "detector", Inputs: []*ir.Value{x}, Opsets: map[string]int{"": 17}}}
	conv := func(x *ir.Value, w *ir.Value) *ir.Value {
		y := b.node("Conv", nil, x, w)
		m := w.Const.Shape[0]
		variance := b.floats(m)
		for i := range tensor.Of[float32](variance.Const) {
			tensor.Of[float32](variance.Const)[i] = 1
		}
		y = b.node("BatchNormalization", nil, y, b.floats(m), b.floats(m), b.floats(m), variance)
		return b.node("Mul", nil, y, b.node("Sigmoid", nil, y))
	}
	y := x
	for len(b.g.Nodes) < nodes {
		a := conv(y, b.floats(32, 32, 1, 1))
		l := b.node("Slice", nil, a, b.ints(0), b.ints(16), b.ints(1))
		r := b.node("Slice", nil, a, b.ints(16), b.ints(32), b.ints(1))
		s := b.node("Add", nil, r, conv(r, b.floats(16, 16, 1, 1)))
		y = b.node("Concat", map[string]*ir.Attr{"axis": ir.Int(1)}, l, s)
	}
	return b.finish(y)
}

func TestLargeGraphsAreOptimized(t *testing.T) {
	const nodes = 8000 // a fifth of what BenchmarkOptimize40000 takes
	for _, g := range []*ir.Graph{transformer(t, nodes), detector(t, nodes)} {
		start := testkit.Clock()
		r, err := pass.Run(g, passes.All, pass.Options{Level: pass.MaxLevel})
		if err != nil {
			t.Fatal(err)
		}
		if r.NodesAfter > r.NodesBefore*2/3 {
			t.Errorf("%s: %d nodes became %d only", g.Name, r.NodesBefore, r.NodesAfter)
		}
		took := testkit.Clock() - start
		if took > 30*time.Second {
			t.Errorf("%s: took %v", g.Name, took)
		}
		t.Logf("%s: %d nodes became %d in %v", g.Name, r.NodesBefore, r.NodesAfter, took.Round(time.Millisecond))
		for _, p := range r.Passes {
			if p.Time > 200*time.Millisecond {
				t.Logf("  %-22s %6d times %v", p.Name, len(p.Patches), p.Time.Round(time.Millisecond))
			}
		}
	}
}

func BenchmarkOptimize40000(b *testing.B) {
	for _, build := range []func(testing.TB, int) *ir.Graph{transformer, detector} {
		b.Run(build(b, 1).Name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				g := build(b, 40000)
				b.StartTimer()
				if _, err := pass.Run(g, passes.All, pass.Options{Level: pass.MaxLevel}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
