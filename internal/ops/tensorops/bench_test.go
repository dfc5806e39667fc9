package tensorops

import (
	"context"
	"testing"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// compiled gives the kernel of a node whose inputs are constants, and a call of it.
func compiled(tb testing.TB, name string, attrs map[string]*ir.Attr, in ...*tensor.Tensor) (op.Kernel, *op.Call) {
	tb.Helper()
	vals, facts := make([]*ir.Value, len(in)), make([]op.Fact, len(in))
	for i, t := range in {
		if t != nil {
			vals[i] = ir.NewConst("", t)
			facts[i] = op.FactOf(vals[i])
		}
	}
	out := []*ir.Value{ir.NewValue("y", ir.Type{}), ir.NewValue("z", ir.Type{})}[:1]
	n := ir.NewNode("", name, op.MaxOpset, vals, out, attrs)
	if err := op.Complete(n); err != nil {
		tb.Fatal(err)
	}
	inf := &op.Infer{Node: n, In: facts, Out: make([]op.Fact, len(out))}
	if err := op.Of(n).Infer(inf); err != nil {
		tb.Fatal(err)
	}
	k, err := op.Of(n).Compile(&op.Prep{Node: n, In: facts, Out: inf.Out, Threads: 1})
	if err != nil {
		tb.Fatal(err)
	}
	c := &op.Call{Context: context.Background(), Node: n, In: in}
	if s, ok := k.(op.Scratcher); ok {
		c.Scratch = tensor.Bytes(s.ScratchBytes())
	}
	return k, c
}

func benchmark(b *testing.B, name string, attrs map[string]*ir.Attr, in ...*tensor.Tensor) {
	k, c := compiled(b, name, attrs, in...)
	if k == nil {
		b.Fatal("no kernel")
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := k.Run(c); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(c.Out[0].Data)))
}

func BenchmarkKernels(b *testing.B) {
	scales := f32s([]int{4}, 1, 1, 2, 2)
	x := sequence(1, 128, 40, 40)
	b.Run("nearest", func(b *testing.B) {
		benchmark(b, "Resize", attr("coordinate_transformation_mode", "asymmetric"), x, nil, scales)
	})
	b.Run("linear", func(b *testing.B) { benchmark(b, "Resize", attr("mode", "linear"), x, nil, scales) })
	b.Run("transpose", func(b *testing.B) { benchmark(b, "Transpose", attr("perm", []int{0, 2, 3, 1}), x) })
	b.Run("concat", func(b *testing.B) { benchmark(b, "Concat", attr("axis", 1), x, x) })
	b.Run("slice", func(b *testing.B) { benchmark(b, "Slice", nil, x, vec(1), vec(39), vec(2)) })
}
