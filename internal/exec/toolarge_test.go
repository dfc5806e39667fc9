package exec

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func TestAResultSizedByDataIsBounded(t *testing.T) {
	grow := registerAnew(op.Op{Name: "Grow", In: op.Ports("x:T"), Out: op.Ports("y:T"), Types: op.Types{"T": op.Floats},
		Infer: func(c *op.Infer) error { c.Set(0, c.In[0].DType, shape.Unknowns(1)); return nil },
		Ref: func(c *op.Call) error {
			c.Output(0, dtype.Float32, int(tensor.Of[float32](c.In[0])[0]))
			return nil
		}})
	x := vector("x")
	b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
	b.g.AddOutput("y", b.node(grow, x))
	s := b.session(t)
	run := func(n float32) error {
		_, err := s.Run(context.Background(), []*tensor.Tensor{tensor.FromSlice([]float32{n, 0}, 1, 2)})
		return err
	}
	if err := run(1 << 30); !IsMemoryError(err) || !strings.Contains(err.Error(), "needs 4294967296 bytes") {
		t.Errorf("got %v", err)
	}
	if err := run(8); err != nil {
		t.Errorf("the session goes on: %v", err)
	}
}

// Results whose sizes depend on data are let go after their last reader, and counted
// together while they are held.
func TestResultsSizedByDataAreBoundedTogether(t *testing.T) {
	x := vector("x")
	b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
	first := b.node("Positive", x)
	v := first
	for range 9 {
		v = b.node("Positive", v)
	}
	b.g.AddOutput("y", v)
	s := b.session(t)
	in := rows(1<<16, 2) // half a megabyte for each result
	tensor.Of[float32](in[0])[0] = 1
	s.maxMemory = 2<<20 + int(mmap.InUse())
	for range 2 {
		out, err := s.Run(context.Background(), in)
		if err != nil || out[0].Len() < 1<<16 {
			t.Fatalf("two results at a time: %v, %v", out, err)
		}
	}
	s.maxMemory = 1<<19 + 1<<18
	if _, err := s.Run(context.Background(), in); !IsMemoryError(err) || !strings.Contains(err.Error(), "results whose sizes depend on data take ") {
		t.Errorf("got %v", err)
	}
}

// A view of such a result holds its memory.
func TestViewsOfResultsSizedByDataCount(t *testing.T) {
	x := vector("x")
	b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
	for i := range 10 {
		b.g.AddOutput(fmt.Sprint("y", i), b.node("Alias", b.node("Positive", x)))
	}
	s := b.session(t)
	in := rows(1<<16, 2)
	tensor.Of[float32](in[0])[0] = 1
	for range 2 {
		if _, err := s.Run(context.Background(), in); err != nil {
			t.Fatal(err)
		}
	}
	s.maxMemory = 2 << 20
	if _, err := s.Run(context.Background(), in); !IsMemoryError(err) || !strings.Contains(err.Error(), "results whose sizes depend on data take ") {
		t.Errorf("got %v", err)
	}
}

func init() {
	op.Register(&op.Op{Domain: "test", Name: "Alias", Versions: []int{1}, In: op.Ports("x:T"), Out: op.Ports("y:T"), Types: op.Types{"T": op.Floats}, Infer: op.SameAsInput,
		Ref: func(c *op.Call) error {
			c.Set(0, &tensor.Tensor{DType: c.In[0].DType, Shape: c.In[0].Shape, Data: c.In[0].Data})
			return nil
		}})
}
