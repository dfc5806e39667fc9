package exec

import (
	"context"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{Domain: "test", Name: "Count", Versions: []int{1}, In: op.Ports("n:int64"), Out: op.Ports("y:int64"),
		Infer: func(c *op.Infer) error { c.Set(0, dtype.Int64, shape.Unknowns(1)); return nil },
		Ref: func(c *op.Call) error {
			n := tensor.Of[int64](c.In[0])[0]
			y := tensor.Of[int64](c.Output(0, dtype.Int64, int(n)))
			for i := range y {
				y[i] = n + int64(i)
			}
			return nil
		}})
	op.Register(&op.Op{Domain: "test", Name: "PlusOne", Versions: []int{1}, In: op.Ports("x:int64"), Out: op.Ports("y:int64"), Infer: op.SameAsInput,
		Ref: func(c *op.Call) error {
			x := tensor.Of[int64](c.In[0])
			y := tensor.Of[int64](c.Output(0, dtype.Int64, c.In[0].Shape...))
			for i := range y {
				y[i] = x[i] + 1
			}
			return nil
		}})
	op.Register(&op.Op{Domain: "test", Name: "Keep", Versions: []int{1}, In: op.Ports("x:int64"), Out: op.Ports("y:seq(T)"), Types: op.Types{"T": {dtype.Int64}},
		Infer: func(c *op.Infer) error {
			item := c.In[0].Type
			c.Out[0] = op.Fact{Type: ir.Type{DType: dtype.Sequence, Elem: &item}, Present: true}
			return nil
		},
		Ref: func(c *op.Call) error {
			c.Set(0, &tensor.Tensor{DType: dtype.Sequence, Items: []*tensor.Tensor{c.In[0]}})
			return nil
		}})
	op.Register(&op.Op{Domain: "test", Name: "Kept", Versions: []int{1}, In: op.Ports("x:seq(T)"), Out: op.Ports("y:int64"), Types: op.Types{"T": {dtype.Int64}},
		Infer: func(c *op.Infer) error { c.Set(0, dtype.Int64, shape.Unknowns(1)); return nil },
		Ref:   func(c *op.Call) error { c.Set(0, c.In[0].Items[0]); return nil }})
}

func count(n int64) []*tensor.Tensor { return []*tensor.Tensor{tensor.FromSlice([]int64{n})} }

// Memory of results that data sizes serves the next run, and the caller's tensor is
// written where it lies.
func TestResultsSizedByDataAreNotAllocatedAgain(t *testing.T) {
	n := ir.NewValue("n", ir.Type{DType: dtype.Int64, Shape: shape.Of(1)})
	b := builder{&ir.Graph{Inputs: []*ir.Value{n}}}
	b.g.AddOutput("y", b.node("PlusOne", b.node("PlusOne", b.node("Count", n))))
	s := b.session(t)
	run := func(n int64, out []*tensor.Tensor) {
		given := out[0]
		if err := s.RunInto(context.Background(), count(n), out); err != nil {
			t.Fatal(err)
		}
		if y := tensor.Of[int64](out[0]); out[0] != given && given != nil || y[0] != n+2 || y[n-1] != 2*n+1 {
			t.Fatalf("%d: got %v", n, out[0])
		}
	}
	const large = 1 << 20
	out := make([]*tensor.Tensor, 1)
	run(large, out)
	if got := testing.Benchmark(func(b *testing.B) {
		for range b.N {
			run(large, out)
		}
	}).AllocedBytesPerOp(); got > large {
		t.Errorf("a run allocates %d bytes", got)
	}
	for _, n := range []int64{large, 7, 900, large - 5, 300} { // other sizes take what fits, or new memory
		run(n, make([]*tensor.Tensor, 1))
	}
	if free := s.plans[0].idle[0].spares.bytes; free > mostSpare || free < 8*large {
		t.Errorf("%d bytes are kept", free)
	}
	for range sparePause + 1 {
		run(3, make([]*tensor.Tensor, 1))
	}
	if free := s.plans[0].idle[0].spares.bytes; free != 0 {
		t.Errorf("%d bytes are kept that nothing wants", free)
	}
}

// What a sequence holds isn't written over, nor when a step has given it as its result.
func TestSequencesKeepTheirMemory(t *testing.T) {
	n := ir.NewValue("n", ir.Type{DType: dtype.Int64, Shape: shape.Of(1)})
	b := builder{&ir.Graph{Inputs: []*ir.Value{n}}}
	kept := b.node("Keep", b.node("Count", n))
	b.g.AddOutput("kept", kept)
	b.g.AddOutput("z", b.node("PlusOne", b.node("PlusOne", b.node("Kept", kept))))
	b.g.AddOutput("y", b.node("PlusOne", b.node("PlusOne", b.node("Count", n))))
	s := b.session(t)
	var all []*tensor.Tensor
	for i := range int64(3) {
		out, err := s.Run(context.Background(), count(1000+i))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, out[0].Items[0])
	}
	for i, kept := range all {
		if y := tensor.Of[int64](kept); y[0] != int64(1000+i) || y[999] != int64(1999+i) {
			t.Errorf("run %d: the sequence holds %v", i, kept)
		}
	}
}
