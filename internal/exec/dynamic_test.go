package exec

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{Domain: "test", Name: "Long", Versions: []int{1}, In: op.Ports("n:int64"), Out: op.Ports("y:float32"),
		Infer: func(c *op.Infer) error {
			s := shape.Unknowns(1)
			if n, ok := c.In[0].Ints(); ok {
				if n[0] < 0 {
					return errors.New("a negative length")
				}
				s = shape.Of(n[0])
			}
			c.Set(0, dtype.Float32, s)
			return nil
		},
		Ref: func(c *op.Call) error {
			n := tensor.Of[int64](c.In[0])[0]
			if n < 0 {
				return errors.New("the reference found a negative length")
			}
			c.Output(0, dtype.Float32, int(n))
			return nil
		},
		Compile: func(p *op.Prep) (op.Kernel, error) {
			n, _ := p.In[0].Ints()
			return long{p.Pack("n", 1, func(b []byte) { b[0] = byte(n[0] >> 12) })}, nil
		}})
}

// long writes what it was compiled for.
type long struct{ mark []byte }

func (k long) Run(c *op.Call) error {
	tensor.Of[float32](c.Out[0])[0] = float32(k.mark[0])
	return nil
}

// Where shapes follow from contents that only a run knows, kernels are made for them.
func TestKernelsForSizesThatDataDecides(t *testing.T) {
	n := ir.NewValue("n", ir.Type{DType: dtype.Int64, Shape: shape.Of(1)})
	b := builder{&ir.Graph{Inputs: []*ir.Value{n}}}
	b.g.AddOutput("y", b.node("Long", n))
	s := b.session(t)
	for _, c := range []struct {
		n    int64
		mark float32 // 0: the reference
	}{{8192, 2}, {8192, 2}, {4096, 1}, {100, 0}, {8192, 2}} {
		out, err := s.Run(context.Background(), []*tensor.Tensor{tensor.FromSlice([]int64{c.n})})
		if err != nil || out[0].Len() != int(c.n) || tensor.Of[float32](out[0])[0] != c.mark {
			t.Fatalf("%d: got %v, %v, want %v first", c.n, out, err, c.mark)
		}
	}
	if _, err := s.Run(context.Background(), []*tensor.Tensor{tensor.FromSlice([]int64{-1})}); err == nil || err.Error() != `test::Long "Long_Long0": the reference found a negative length` {
		t.Errorf("got %v", err)
	}
}

// What renames bytes of a result that data sizes gives the same bytes, unless it is an output.
func TestViewsOfResultsSizedByDataShareMemory(t *testing.T) {
	renamed := registerAnew(op.Op{Name: "Renamed", In: op.Ports("x:T"), Out: op.Ports("y:T"), Types: op.Types{"T": op.Floats}, View: true, Infer: op.SameAsInput,
		Ref: func(c *op.Call) error {
			if c.MayAlias {
				c.Set(0, c.In[0].Reshape(c.In[0].Len()))
				return nil
			}
			copy(c.Output(0, c.In[0].DType, c.In[0].Len()).Data, c.In[0].Data)
			return nil
		}})
	x := vector("x")
	b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
	first := b.node("Positive", x)
	within := b.node(renamed, first)
	last := b.node(renamed, within)
	b.g.AddOutput("y", last)
	s := b.session(t)
	in := []*tensor.Tensor{tensor.FromSlice([]float32{1, 2}, 1, 2)}
	p, err := s.PlanFor(in)
	if err != nil {
		t.Fatal(err)
	}
	f, err := p.newFrame()
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	for i, want := range []bool{false, true, false} {
		if f.calls[i].MayAlias != want {
			t.Errorf("step %d: may share is %v", i, !want)
		}
	}
	if out, err := s.Run(context.Background(), in); err != nil || out[0].Len() != 2 {
		t.Errorf("got %v, %v", out, err)
	}
}

// A kernel takes the memory over of an input that a kernel made and that nothing reads again.
func TestResultsSizedByDataAreWrittenInPlace(t *testing.T) {
	var shared []bool
	next := registerAnew(op.Op{Name: "Next", In: op.Ports("x:T"), Out: op.Ports("y:T"), Types: op.Types{"T": op.Floats}, Infer: op.SameAsInput, InPlace: []int{0},
		Ref: func(c *op.Call) error { return errors.New("the kernel should run") },
		Compile: func(*op.Prep) (op.Kernel, error) {
			return kernelFunc(func(c *op.Call) error {
				x, y := tensor.Of[float32](c.In[0]), tensor.Of[float32](c.Out[0])
				shared = append(shared, &x[0] == &y[0])
				for i, v := range x {
					y[i] = v + 1
				}
				return nil
			}), nil
		}})
	x := vector("x")
	b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
	found := b.node("Positive", x) // made by a reference: whose memory is it?
	first := b.node(next, found)
	second := b.node(next, first)
	third := b.node(next, second)
	b.g.AddOutput("y", third)
	b.g.AddOutput("z", b.node(next, third)) // an output is read after all steps
	b.g.AddOutput("w", found)
	s := b.session(t)
	out, err := s.Run(context.Background(), []*tensor.Tensor{tensor.FromSlice([]float32{1, 2}, 1, 2)})
	if err != nil {
		t.Fatal(err)
	}
	if want := []bool{false, true, true, false}; !slices.Equal(shared, want) {
		t.Errorf("in place: got %v, want %v", shared, want)
	}
	for i, want := range []float32{4, 5, 1} {
		if got := tensor.Of[float32](out[i])[0]; got != want {
			t.Errorf("output %d: got %v, want %v", i, got, want)
		}
	}
}

type kernelFunc func(*op.Call) error

func (f kernelFunc) Run(c *op.Call) error { return f(c) }
