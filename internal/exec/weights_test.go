package exec

import (
	"context"
	"fmt"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	// Scaled multiplies by the first weight; for odd numbers of rows it packs
	// another form, and for three rows it reads the weights when it runs.
	op.Register(&op.Op{Domain: "test", Name: "Scaled", Versions: []int{1}, In: op.Ports("x:T", "w:T"), Out: op.Ports("y:T"),
		Types: op.Types{"T": op.Floats}, Infer: op.SameAsInput, Ref: scaledRef,
		Compile: func(p *op.Prep) (op.Kernel, error) {
			rows, w := p.InShape(0)[0], p.In[1].Const
			if rows == 3 {
				return op.KernelFunc(scaledRef), nil
			}
			p.OnlyPacked(1)
			packed := p.Pack(fmt.Sprint("w", rows%2), 4, func(b []byte) { copy(b, w.Data) })
			k := tensor.View[float32](packed)
			return op.KernelFunc(func(c *op.Call) error {
				for i, v := range tensor.Of[float32](c.In[0]) {
					tensor.Of[float32](c.Out[0])[i] = k[0] * v
				}
				return nil
			}), nil
		}})
}

func scaledRef(c *op.Call) error {
	y := tensor.Of[float32](c.Output(0, dtype.Float32, c.In[0].Shape...))
	for i, v := range tensor.Of[float32](c.In[0]) {
		y[i] = tensor.Of[float32](c.In[1])[0] * v
	}
	return nil
}

// Derived constants go once they are packed, and come back when a plan for
// other shapes packs them otherwise, or reads them when it runs.
func TestDerivedConstantsComeBack(t *testing.T) {
	times := 0
	again := func() (*tensor.Tensor, error) {
		times++
		w := tensor.New(dtype.Float32, minDerived/4)
		tensor.Of[float32](w)[0] = 5
		return w, nil
	}
	w, _ := again()
	x := vector("x")
	b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
	c := ir.NewDerived("w", w, again)
	b.g.AddOutput("y", b.node("Scaled", x, c))
	if err := op.InferTypes(b.g); err != nil {
		t.Fatal(err)
	}
	s := New(b.g, Options{OwnConstants: true})
	defer s.Close()
	for _, step := range []struct {
		rows, times int
		present     bool
	}{
		{2, 1, false}, // packed, dropped
		{4, 1, false}, // the same form
		{5, 2, false}, // another form: computed again, dropped again
		{7, 2, false},
		{3, 3, true}, // read when it runs
		{2, 3, true},
		{9, 3, true},
	} {
		in := tensor.New(dtype.Float32, step.rows, 2)
		tensor.Of[float32](in)[1] = 2
		out, err := s.Run(context.Background(), []*tensor.Tensor{in})
		if err != nil {
			t.Fatal(err)
		}
		if got := tensor.Of[float32](out[0])[1]; got != 10 {
			t.Errorf("%d rows: got %v, expected 10", step.rows, got)
		}
		if times != step.times || (w.Data != nil) != step.present {
			t.Errorf("%d rows: computed %d times, present %v; expected %d, %v", step.rows, times, w.Data != nil, step.times, step.present)
		}
	}
}

// A session that does not own the graph's constants leaves them alone.
func TestConstantsOfOthersStay(t *testing.T) {
	w := tensor.New(dtype.Float32, minDerived/4)
	x := vector("x")
	b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
	b.g.AddOutput("y", b.node("Scaled", x, ir.NewDerived("w", w, func() (*tensor.Tensor, error) { return w, nil })))
	if err := op.InferTypes(b.g); err != nil {
		t.Fatal(err)
	}
	s := New(b.g, Options{})
	defer s.Close()
	if _, err := s.Run(context.Background(), []*tensor.Tensor{tensor.New(dtype.Float32, 2, 2)}); err != nil {
		t.Fatal(err)
	}
	if w.Data == nil {
		t.Error("the weights are gone")
	}
}

// Constants of the file that only packing reads are not held when the plan runs.
func TestPackedConstantsAreNoWeights(t *testing.T) {
	x := vector("x")
	b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
	w := ir.NewConst("w", tensor.New(dtype.Float32, 1000))
	b.g.AddOutput("y", b.node("Scaled", x, w))
	if err := op.InferTypes(b.g); err != nil {
		t.Fatal(err)
	}
	s := New(b.g, Options{})
	defer s.Close()
	for rows, want := range map[int]int{2: 0, 3: 4000} { // three rows read them
		p, err := s.PlanFor([]*tensor.Tensor{tensor.New(dtype.Float32, rows, 2)})
		if err != nil {
			t.Fatal(err)
		}
		if m := p.Memory(); m.Weights != want || m.Pages != 4000 {
			t.Errorf("%d rows: weights of %d bytes, pages of %d, want %d and 4000", rows, m.Weights, m.Pages, want)
		}
	}
}

// Of a table only the rows that a run gathers count, with the pages around them.
func TestGatheredRowsCount(t *testing.T) {
	table, few, many := slot{shape: []int{1000, 512}, size: 1000 << 11}, slot{shape: []int{3, 512}, size: 3 << 11}, slot{shape: []int{900, 512}, size: 900 << 11}
	for want, out := range map[int]slot{3 * (2<<10 + aroundFault): few, 1000 << 11: many} {
		p := &Plan{slots: []slot{table, out}}
		if got := p.gathered(&step{in: []int{0, 1}, out: []int{1}}); got != want {
			t.Errorf("%v: %d bytes, want %d", out.shape, got, want)
		}
	}
}
