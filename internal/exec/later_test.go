package exec

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// unpackable is a weight over which packing panics.
const unpackable = 7

// patientParts is in how many parts Patient packs.
const patientParts = 2

func init() {
	// Patient multiplies by the first weight, from the file until it is packed; what is
	// packed is twice as much, which shows.
	op.Register(&op.Op{Domain: "test", Name: "Patient", Versions: []int{1}, In: op.Ports("x:T", "w:T"), Out: op.Ports("y:T"),
		Types: op.Types{"T": op.Floats}, Infer: op.SameAsInput, Ref: scaledRef,
		Compile: func(p *op.Prep) (op.Kernel, error) {
			w := p.In[1].Const
			p.OnlyPacked(1)
			fill := func(b []byte, from, to int) { // the weight is of the last part
				if tensor.Of[float32](w)[0] == unpackable {
					panic("it can't be packed")
				}
				if to == patientParts {
					tensor.View[float32](b)[0] += 2 * tensor.Of[float32](w)[0]
				} else if from != 0 {
					panic("parts are not in order")
				}
			}
			var later *op.Packing
			if p.Later != nil {
				later = p.Later("w", 4, patientParts, fill)
			}
			var packed []byte
			if later == nil {
				packed = p.Pack("w", 4, func(b []byte) { fill(b, 0, patientParts) })
			}
			return op.KernelFunc(func(c *op.Call) error {
				by := tensor.Of[float32](w)
				if later == nil {
					by = tensor.View[float32](packed)
				} else if later.Filled() {
					by = tensor.View[float32](later.Data)
				}
				for i, v := range tensor.Of[float32](c.In[0]) {
					tensor.Of[float32](c.Out[0])[i] = by[0] * v
				}
				return nil
			}), nil
		}})
}

func TestPackLater(t *testing.T) {
	for _, c := range []struct {
		name  string
		o     Options
		again func() (*tensor.Tensor, error)
		first float32
	}{
		{"at once", Options{OwnConstants: true}, nil, 10},
		{"later", Options{OwnConstants: true, PackLater: true}, nil, 5},
		{"of constants that go", Options{OwnConstants: true, PackLater: true}, func() (*tensor.Tensor, error) { return fives(), nil }, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			trims := 0
			c.o.Packed = func() { trims++ }
			w := ir.NewConst("w", fives())
			if c.again != nil {
				w = ir.NewDerived("w", fives(), c.again)
			}
			x := vector("x")
			b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
			b.g.AddOutput("y", b.node("Patient", x, w))
			if err := op.InferTypes(b.g); err != nil {
				t.Fatal(err)
			}
			s := New(b.g, c.o)
			defer s.Close()
			run := func(rows int, want float32) {
				in := tensor.New(dtype.Float32, rows, 2)
				tensor.Of[float32](in)[1] = 1
				out, err := s.Run(context.Background(), []*tensor.Tensor{in})
				if err != nil {
					t.Fatal(err)
				}
				if got := tensor.Of[float32](out[0])[1]; got != want {
					t.Errorf("%d rows: got %v, expected %v", rows, got, want)
				}
			}
			run(1, c.first)
			run(2, c.first)
			before := trims
			for range patientParts {
				if some := s.SettleSome(); some != (c.first == 5) {
					t.Errorf("something waited: %v", some)
				}
			}
			if c.first == 5 && trims == before {
				t.Error("the file's pages stay after packing")
			}
			if s.Settle(); s.SettleSome() {
				t.Error("something waits after all has been packed")
			}
			run(1, 10)
			run(3, 10)
		})
	}
}

// Weights are packed while runs of several shapes are in progress, by several at once.
func TestPackLaterWhileRunning(t *testing.T) {
	x := vector("x")
	b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
	for i := range 8 {
		b.g.AddOutput(fmt.Sprint("y", i), b.node("Patient", x, ir.NewConst(fmt.Sprint("w", i), fives())))
	}
	if err := op.InferTypes(b.g); err != nil {
		t.Fatal(err)
	}
	s := New(b.g, Options{OwnConstants: true, PackLater: true, Packed: func() {}})
	defer s.Close()
	run := func(rows int, packed bool) {
		in := tensor.New(dtype.Float32, rows, 2)
		tensor.Of[float32](in)[1] = 1
		out, err := s.Run(context.Background(), []*tensor.Tensor{in})
		if err != nil {
			t.Error(err)
			return
		}
		for i, y := range out {
			if got := tensor.Of[float32](y)[1]; got != 10 && (packed || got != 5) {
				t.Errorf("%d rows, output %d: got %v", rows, i, got)
			}
		}
	}
	var all sync.WaitGroup
	for rows := range 4 {
		all.Go(func() {
			for range 50 {
				run(1+rows, false)
			}
		})
		all.Go(func() {
			for range 20 {
				s.SettleSome()
			}
			s.Settle()
		})
	}
	all.Wait()
	s.Settle()
	for rows := range 5 {
		run(1+rows, true)
	}
	if s.SettleSome() {
		t.Error("something waits after all has been packed")
	}
}

// fives is a weight that is large enough to be dropped.
func fives() *tensor.Tensor {
	w := tensor.New(dtype.Float32, minDerived/4)
	tensor.Of[float32](w)[0] = 5
	return w
}

// Packing that panics fails the runs that need it, not the process.
func TestPackLaterThatPanics(t *testing.T) {
	x, w := vector("x"), ir.NewConst("w", fives())
	b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
	b.g.AddOutput("y", b.node("Patient", x, w))
	if err := op.InferTypes(b.g); err != nil {
		t.Fatal(err)
	}
	s := New(b.g, Options{OwnConstants: true, PackLater: true})
	defer s.Close()
	in := tensor.New(dtype.Float32, 1, 2)
	if _, err := s.PlanFor([]*tensor.Tensor{in}); err != nil {
		t.Fatal(err)
	}
	tensor.Of[float32](w.Const)[0] = unpackable
	s.Settle()
	if s.SettleSome() {
		t.Error("what can't be packed waits for ever")
	}
	tensor.Of[float32](in)[1] = 1
	out, err := s.Run(context.Background(), []*tensor.Tensor{in})
	if err != nil {
		t.Fatal(err)
	}
	if got := tensor.Of[float32](out[0])[1]; got != unpackable {
		t.Errorf("got %v of weights that are not packed, expected %v", got, float32(unpackable))
	}
}
