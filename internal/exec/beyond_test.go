package exec

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// bulk is how many bytes Bulky packs for an odd number of rows.
const bulk = 8 << 20

func init() {
	op.Register(&op.Op{Domain: "test", Name: "Bulky", Versions: []int{1}, In: op.Ports("x:T", "w:T"), Out: op.Ports("y:T"),
		Types: op.Types{"T": op.Floats}, Infer: op.SameAsInput, Ref: scaledRef,
		Compile: func(p *op.Prep) (op.Kernel, error) {
			p.OnlyPacked(1)
			rows, size := p.InShape(0)[0], 64
			if rows%2 == 1 {
				size = bulk
			}
			packed := p.Pack(fmt.Sprint(rows), size, func(b []byte) { copy(b, p.In[1].Const.Data) })
			runtime.Gosched()
			if rows == broken {
				return nil, errors.New("it is broken")
			}
			return op.KernelFunc(func(c *op.Call) error {
				for i, v := range tensor.Of[float32](c.In[0]) {
					tensor.Of[float32](c.Out[0])[i] = tensor.View[float32](packed)[0] * v
				}
				return nil
			}), nil
		}})
}

// broken is a number of rows for which Bulky fails when it has packed.
const broken = 8191

func bulkyGraph(x *ir.Value) builder {
	b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
	b.g.AddOutput("y", b.node("Bulky", x, ir.NewConst("w", tensor.FromSlice([]float32{2}))))
	return b
}

// A kernel that is made within a run, and would pack more than the limit allows, is refused.
func TestKernelsForSizesThatDataDecidesKeepTheLimit(t *testing.T) {
	n := ir.NewValue("n", ir.Type{DType: dtype.Int64, Shape: shape.Of(1)})
	b := builder{&ir.Graph{Inputs: []*ir.Value{n}}}
	b.g.AddOutput("y", b.node("Bulky", b.node("Long", n), ir.NewConst("w", tensor.FromSlice([]float32{2}))))
	s := New(b.g, Options{MaxMemory: int(mmap.InUse()) + bulk/2})
	defer s.Close()
	for _, rows := range []int64{8192, 8193, 4096, 8193} {
		out, err := s.Run(context.Background(), []*tensor.Tensor{tensor.FromSlice([]int64{rows})})
		switch {
		case rows%2 == 1 && !NeverFits(err):
			t.Errorf("%d rows: %v, %v", rows, out, err)
		case rows%2 == 0 && err != nil:
			t.Errorf("%d rows: %v", rows, err)
		}
	}
}

// A plan that fails when it has packed more than the limit allows leaves nothing behind.
func TestFailedPlansLeaveNothingBeyondTheLimit(t *testing.T) {
	s := New(bulkyGraph(vector("x")).g, Options{MaxMemory: bulk / 2})
	defer s.Close()
	facts := func(rows int) []op.Fact {
		return []op.Fact{{Type: ir.Type{DType: dtype.Float32, Shape: shape.Of(rows, 2)}, Present: true}}
	}
	if _, err := s.compile(facts(broken), nil); err == nil || IsMemoryError(err) {
		t.Errorf("a kernel that fails: %v", err)
	}
	if _, err := s.compile(facts(2), nil); err != nil {
		t.Errorf("after it: %v", err)
	}
}

// Plans are made at once in the session for inputs that break a tie; those of one that don't
// fit are nothing to the other.
func TestSessionsThatShareALimit(t *testing.T) {
	a, b := shape.Sym("a"), shape.Sym("b")
	y := ir.NewValue("y", ir.Type{DType: dtype.Float32, Shape: shape.Shape{shape.Sym("total"), shape.Const(2)}})
	plain := bulkyGraph(y).g
	plain.Inputs = append([]*ir.Value{ir.NewValue("x", ir.Type{DType: dtype.Float32, Shape: shape.Shape{a, b}})}, y)
	tied := plain.Clone()
	tied.Inputs[1].Type.Shape = shape.Shape{a.Add(b), shape.Const(2)}
	for _, g := range []*ir.Graph{tied, plain} {
		if err := op.InferTypes(g); err != nil {
			t.Fatal(err)
		}
	}
	s := New(tied, Options{MaxMemory: int(mmap.InUse()) + bulk/2, OwnConstants: true, Untied: func() (*ir.Graph, error) { return plain, nil }})
	defer s.Close()
	var all sync.WaitGroup
	for first := range 2 {
		all.Go(func() {
			for i := range 200 {
				rows := 2*i + 2
				total := rows + first
				out, err := s.Run(context.Background(), tiedInputs(1, rows-1, total))
				switch {
				case first == 1 && !NeverFits(err):
					t.Errorf("%d rows: %v, %v", total, out, err)
				case first == 0 && err != nil:
					t.Errorf("%d rows: %v", total, err)
				case first == 0 && tensor.Of[float32](out[0])[1] != 6:
					t.Errorf("%d rows: %v", total, tensor.Of[float32](out[0])[:2])
				}
			}
		})
	}
	all.Wait()
}
