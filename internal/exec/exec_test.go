package exec

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{Domain: "test", Name: "Twice", Versions: []int{1}, In: op.Ports("x:T"), Out: op.Ports("y:T"),
		Types: op.Types{"T": op.Floats}, Infer: op.SameAsInput, InPlace: []int{0}, Rows: op.RowsBroadcast,
		Ref: func(c *op.Call) error {
			x := tensor.Of[float32](c.In[0])
			y := tensor.Of[float32](c.Output(0, dtype.Float32, c.In[0].Shape...))
			for i := range y {
				y[i] = 2 * x[i]
			}
			return nil
		}})
	op.Register(&op.Op{Domain: "test", Name: "Plus", Versions: []int{1}, In: op.Ports("a:T", "b:T"), Out: op.Ports("y:T"),
		Types: op.Types{"T": op.Floats}, Infer: op.SameAsInput, InPlace: []int{0, 1}, Rows: op.RowsBroadcast,
		Ref: func(c *op.Call) error {
			a, b := tensor.Of[float32](c.In[0]), tensor.Of[float32](c.In[1])
			y := tensor.Of[float32](c.Output(0, dtype.Float32, c.In[0].Shape...))
			for i := range y {
				y[i] = a[i] + b[i]
			}
			return nil
		}})
	op.Register(&op.Op{Domain: "test", Name: "Flat", Versions: []int{1}, In: op.Ports("x:T"), Out: op.Ports("y:T"), View: true,
		Types: op.Types{"T": op.Floats},
		Infer: func(c *op.Infer) error {
			c.Set(0, c.In[0].DType, shape.Shape{c.In[0].Shape.Count()})
			return nil
		},
		Ref: func(c *op.Call) error {
			copy(c.Output(0, c.In[0].DType, c.In[0].Len()).Data, c.In[0].Data)
			return nil
		}})
	op.Register(&op.Op{Domain: "test", Name: "Positive", Versions: []int{1}, In: op.Ports("x:T"), Out: op.Ports("y:T"),
		Types: op.Types{"T": op.Floats},
		Infer: func(c *op.Infer) error { c.Set(0, c.In[0].DType, shape.Unknowns(1)); return nil },
		Ref: func(c *op.Call) error {
			var out []float32
			for _, v := range tensor.Of[float32](c.In[0]) {
				if v > 0 {
					out = append(out, v)
				}
			}
			c.Set(0, tensor.FromSlice(out))
			return nil
		}})
}

func init() {
	op.Register(&op.Op{Domain: "test", Name: "Stateful", Versions: []int{1}, In: op.Ports("x:T"), Out: op.Ports("y:T"),
		Types: op.Types{"T": op.Floats}, Infer: op.SameAsInput,
		Ref:     func(c *op.Call) error { return errors.New("the kernel should run") },
		Compile: func(p *op.Prep) (op.Kernel, error) { return &stateful{}, nil }})
}

// stateful keeps its input between the steps of one run, as prepared kernels do.
type stateful struct{ x []float32 }

func (k *stateful) Run(c *op.Call) error {
	k.x = tensor.Of[float32](c.In[0])
	runtime.Gosched()
	copy(tensor.Of[float32](c.Out[0]), k.x)
	return nil
}

func TestConcurrentRunsHaveKernelsOfTheirOwn(t *testing.T) {
	x := vector("x")
	b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
	b.g.AddOutput("y", b.node("Stateful", x))
	s := b.session(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			v := float32(i)
			for range 200 {
				out, err := s.Run(context.Background(), []*tensor.Tensor{tensor.FromSlice([]float32{v, v}, 1, 2)})
				if err != nil || tensor.Of[float32](out[0])[0] != v {
					t.Errorf("got %v %v want %v", out, err, v)
					return
				}
			}
		})
	}
	wg.Wait()
}

// builder makes small graphs of test operators.
type builder struct{ g *ir.Graph }

func (b *builder) node(name string, in ...*ir.Value) *ir.Value {
	v := ir.NewValue(name+string(rune('0'+len(b.g.Nodes))), ir.Type{})
	b.g.Nodes = append(b.g.Nodes, ir.NewNode("test", name, 1, in, []*ir.Value{v}, nil))
	return v
}

func (b *builder) session(t *testing.T) *Session {
	t.Helper()
	if err := op.InferTypes(b.g); err != nil {
		t.Fatal(err)
	}
	if err := b.g.Verify(); err != nil {
		t.Fatal(err)
	}
	return New(b.g, Options{})
}

var anew int

// registerAnew registers an operator that belongs to one run of one test, and gives its name.
func registerAnew(o op.Op) string {
	anew++
	o.Domain, o.Name, o.Versions = "test", fmt.Sprintf("%s_%d", o.Name, anew), []int{1}
	op.Register(&o)
	return o.Name
}

func vector(name string) *ir.Value {
	return ir.NewValue(name, ir.Type{DType: dtype.Float32, Shape: shape.Shape{shape.Sym("n"), shape.Const(2)}})
}

func TestRunReusesBuffersRightly(t *testing.T) {
	x := vector("x")
	b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
	a := b.node("Twice", x)   // 2x, read twice below
	c := b.node("Twice", a)   // 4x
	d := b.node("Plus", a, c) // 6x
	e := b.node("Flat", d)    // a view of d
	f := b.node("Twice", e)   // 12x: may not overwrite d if d is an output
	b.g.AddOutput("d", d)
	b.g.AddOutput("f", f)
	b.g.AddOutput("x", x)
	b.g.AddOutput("f again", f)
	s := b.session(t)
	in := tensor.FromSlice([]float32{1, 2, 3, 4}, 2, 2)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				out, err := s.Run(context.Background(), []*tensor.Tensor{in})
				if err != nil {
					t.Error(err)
					return
				}
				for i, k := range []float32{6, 12, 1, 12} {
					want := []float32{k, 2 * k, 3 * k, 4 * k}
					if got := tensor.Of[float32](out[i]); !slices.Equal(got, want) {
						t.Errorf("output %d: got %v want %v", i, got, want)
					}
				}
			}
		})
	}
	wg.Wait()
	if got := tensor.Of[float32](in); !slices.Equal(got, []float32{1, 2, 3, 4}) {
		t.Errorf("the input was overwritten: %v", got)
	}
}

func TestRunIntoAllocatesNothing(t *testing.T) {
	x := vector("x")
	b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
	b.g.AddOutput("y", b.node("Twice", b.node("Twice", x)))
	s := b.session(t)
	in := []*tensor.Tensor{tensor.FromSlice([]float32{1, 2}, 1, 2)}
	out := []*tensor.Tensor{tensor.New(dtype.Float32, 1, 2)}
	ctx := context.Background()
	if n := testing.AllocsPerRun(100, func() {
		if err := s.RunInto(ctx, in, out); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations a run", n)
	}
	if got := tensor.Of[float32](out[0]); got[1] != 8 {
		t.Errorf("got %v", got)
	}
}

func TestDynamicShapesAreComputedWhenTheyAreKnown(t *testing.T) {
	x := vector("x")
	b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
	b.g.AddOutput("y", b.node("Twice", b.node("Positive", x)))
	s := b.session(t)
	for _, c := range []struct{ in, want []float32 }{{[]float32{-1, 2, 3, -4}, []float32{4, 6}}, {[]float32{1, -1}, []float32{2}}, {[]float32{5, 6}, []float32{10, 12}}} {
		out, err := s.Run(context.Background(), []*tensor.Tensor{tensor.FromSlice(c.in, len(c.in)/2, 2)})
		if err != nil {
			t.Fatal(err)
		}
		if got := tensor.Of[float32](out[0]); !slices.Equal(got, c.want) {
			t.Errorf("got %v want %v", got, c.want)
		}
	}
}

func TestInputErrorsNameWhatWasExpectedAndFound(t *testing.T) {
	x, y := vector("x"), vector("y")
	b := builder{&ir.Graph{Inputs: []*ir.Value{x, y}}}
	b.g.AddOutput("z", b.node("Plus", x, y))
	s := b.session(t)
	ok := tensor.New(dtype.Float32, 3, 2)
	for _, c := range []struct {
		bad  *tensor.Tensor
		want string
	}{
		{tensor.New(dtype.Float64, 3, 2), `input "y": expected float32[n,2], found float64[3,2]`},
		{tensor.New(dtype.Float32, 3), `(2 dimensions), found float32[3]`},
		{tensor.New(dtype.Float32, 3, 4), `dimension 1 is 4 instead of 2`},
		{tensor.New(dtype.Float32, 4, 2), `dimension 0 (n) is 4, but 3 in input "x"`},
		{nil, `input "y" is missing`},
		{&tensor.Tensor{DType: dtype.Float32, Shape: []int{3, 2}, Data: make([]byte, 8)}, "needs 24 bytes, found 8"},
	} {
		_, err := s.Run(context.Background(), []*tensor.Tensor{ok, c.bad})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q in it", err, c.want)
		}
	}
}

func TestPlansAreBoundedInNumber(t *testing.T) {
	x := vector("x")
	b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
	b.g.AddOutput("y", b.node("Twice", x))
	s := b.session(t)
	for n := range 100 {
		if _, err := s.PlanFor([]*tensor.Tensor{tensor.New(dtype.Float32, n+1, 2)}); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.plans) != 16 {
		t.Errorf("%d plans are kept", len(s.plans))
	}
}

// A plan moves on to shapes that are new; those that come back get plans that stay.
func TestPlansThatStay(t *testing.T) {
	x := vector("x")
	b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
	b.g.AddOutput("y", b.node("Twice", x))
	s := b.session(t)
	for i, c := range []struct{ rows, plans int }{{1, 1}, {2, 1}, {2, 1}, {3, 1}, {4, 1}, {3, 2}, {4, 2}, {5, 3}, {6, 3}, {4, 3}, {3, 3}, {5, 4}, {6, 4}} {
		if _, err := s.Run(context.Background(), []*tensor.Tensor{tensor.New(dtype.Float32, c.rows, 2)}); err != nil {
			t.Fatal(err)
		}
		if len(s.plans) != c.plans {
			t.Errorf("run %d, %d rows: %d plans, expected %d", i, c.rows, len(s.plans), c.plans)
		}
	}
	running, err := s.use([]*tensor.Tensor{tensor.New(dtype.Float32, 7, 2)})
	if err != nil {
		t.Fatal(err)
	}
	if other, err := s.use([]*tensor.Tensor{tensor.New(dtype.Float32, 8, 2)}); err != nil || other == running || running.slots[0].shape[0] != 7 {
		t.Errorf("a plan that runs has moved on: %v", err)
	}
}

func TestProveRows(t *testing.T) {
	x := vector("x")
	b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
	b.g.AddOutput("y", b.node("Plus", b.node("Twice", x), x))
	b.session(t)
	if err := ProveRows(b.g); err != nil {
		t.Error(err)
	}
	b.g.AddOutput("z", b.node("Flat", x))
	b.session(t)
	if err := ProveRows(b.g); err == nil || !strings.Contains(err.Error(), "mixes rows") {
		t.Errorf("got %v", err)
	}
}
