package exec_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// growing makes random graphs of values with 4 columns and of others with as many as the
// input "past" has, which depend on each other.
type growing struct {
	*wild
	past []*ir.Value
}

func newGrowing(seed uint64) *growing {
	w := &growing{wild: &wild{Rand: rand.New(rand.NewPCG(seed, 3)), g: &ir.Graph{Opsets: map[string]int{"": 18}}, rows: map[*ir.Value]int{}}}
	x := ir.NewValue("x", ir.Type{DType: dtype.Float32, Shape: shape.Of(6, 4)})
	p := ir.NewValue("past", ir.Type{DType: dtype.Float32, Shape: shape.Shape{shape.Const(6), shape.Sym("p")}})
	w.g.Inputs = []*ir.Value{x, p}
	w.add(x, 6)
	w.add(ir.NewConst("c", tensor.FromSlice(numbers(w.Rand, 6*4), 6, 4)), 6)
	w.past, w.rows[p] = []*ir.Value{p}, 6
	for range 8 + w.IntN(40) {
		switch w.IntN(3) {
		case 0:
			w.wild.grow()
		case 1:
			w.swap()
			w.growColumns()
			w.swap()
		default:
			w.mix()
		}
	}
	for i := range 1 + w.IntN(5) {
		w.g.AddOutput(fmt.Sprint("out", i), w.pick())
	}
	w.swap()
	w.g.AddOutput("present", w.pick())
	w.swap()
	return w
}

// swap makes the values with the past's columns those to which something is done.
func (w *growing) swap() { w.values, w.past = w.past, w.values }

// growColumns does what doesn't depend on the number of columns.
func (w *growing) growColumns() {
	x := w.pick()
	n := w.rows[x]
	switch w.IntN(4) {
	case 0:
		w.add(w.node([]string{"Relu", "Neg", "Tanh", "Identity"}[w.IntN(4)], 1, nil, x)[0], n)
	case 1:
		if y := w.pick(); w.rows[y] == n {
			w.add(w.node([]string{"Add", "Mul", "Sub"}[w.IntN(3)], 1, nil, x, y)[0], n)
		}
	case 2:
		from := w.IntN(n)
		to := from + 1 + w.IntN(n-from)
		w.add(w.node("Slice", 1, nil, x, ints(int64(from)), ints(int64(to)), ints(0))[0], to-from)
	case 3:
		if y := w.pick(); n+w.rows[y] <= 20 {
			w.add(w.node("Concat", 1, map[string]*ir.Attr{"axis": ir.Int(0)}, x, y)[0], n+w.rows[y])
		}
	}
}

// mix makes a value of either kind out of one of the other.
func (w *growing) mix() {
	x, p := w.pick(), w.past[w.IntN(len(w.past))]
	n := w.rows[x]
	length := w.node("Gather", 1, nil, w.node("Shape", 1, nil, p)[0], ints(1))[0]
	switch w.IntN(7) {
	case 0: // the sums of other columns
		if w.rows[p] == n {
			w.add(w.node("Add", 1, nil, x, w.node("ReduceSum", 1, nil, p, ints(1))[0])[0], n)
		}
	case 1:
		if w.rows[p] == n {
			v := w.node("Add", 1, nil, p, w.node("ReduceMean", 1, nil, x, ints(1))[0])[0]
			w.past, w.rows[v] = append(w.past, v), n
		}
	case 2: // a product with weights
		w.add(w.node("MatMul", 1, nil, x, ir.NewConst(fmt.Sprint("w", len(w.g.Nodes)), tensor.FromSlice(numbers(w.Rand, 16), 4, 4)))[0], n)
	case 3: // as many columns as there are in the other
		one := w.node("Slice", 1, nil, x, ints(0), ints(1), ints(1))[0]
		v := w.node("Expand", 1, nil, one, w.node("Concat", 1, map[string]*ir.Attr{"axis": ir.Int(0)}, ints(int64(n)), length)[0])[0]
		w.past, w.rows[v] = append(w.past, v), n
	case 4: // a branch that their number decides, which reads both
		b := make([]*ir.Graph, 2)
		for i := range b {
			inner := &wild{Rand: w.Rand, g: &ir.Graph{Opsets: w.g.Opsets}}
			y := inner.node([]string{"Neg", "Tanh", "Relu"}[w.IntN(3)], 1, nil, x)[0]
			if i > 0 && w.rows[p] == n {
				y = inner.node("Add", 1, nil, y, inner.node("ReduceMax", 1, nil, p, ints(1))[0])[0]
			}
			inner.g.AddOutput("y", y)
			b[i] = inner.g
		}
		c := w.node("Greater", 1, nil, length, ints(5))[0]
		w.add(w.node("If", 1, map[string]*ir.Attr{"then_branch": ir.GraphAttr(b[0]), "else_branch": ir.GraphAttr(b[1])}, c)[0], n)
	case 6: // a product with weights that follow from their number
		size := w.node("Cast", 1, map[string]*ir.Attr{"to": ir.Int(1)}, length)[0]
		w.add(w.node("MatMul", 1, nil, x, w.node("Mul", 1, nil, ir.NewConst(fmt.Sprint("w", len(w.g.Nodes)), tensor.FromSlice(numbers(w.Rand, 16), 4, 4)), size)[0])[0], n)
	case 5: // branches that alone read the other
		b := make([]*ir.Graph, 2)
		for i, name := range []string{"Neg", "Tanh"} {
			inner := &wild{Rand: w.Rand, g: &ir.Graph{Opsets: w.g.Opsets}}
			inner.g.AddOutput("y", inner.node(name, 1, nil, p)[0])
			b[i] = inner.g
		}
		first := w.node("Slice", 1, nil, w.node("Reshape", 1, nil, x, ints(-1))[0], ints(0), ints(1))[0]
		c := w.node("Greater", 1, nil, first, ir.NewConst("zero", tensor.FromSlice([]float32{0}, 1)))[0]
		v := w.node("If", 1, map[string]*ir.Attr{"then_branch": ir.GraphAttr(b[0]), "else_branch": ir.GraphAttr(b[1])}, c)[0]
		w.past, w.rows[v] = append(w.past, v), w.rows[p]
	}
}

func (w *growing) inputs(columns int) []*tensor.Tensor {
	r := rand.New(rand.NewPCG(uint64(columns), 4))
	return []*tensor.Tensor{tensor.FromSlice(numbers(r, 6*4), 6, 4), tensor.FromSlice(numbers(r, 6*columns), 6, columns)}
}

// lastOption chooses the last option wherever that changes no bit.
type lastOption struct{ asked atomic.Int32 }

func (l *lastOption) Choose(_ *op.Prep, c op.Choice) string {
	if l.asked.Add(1); c.Arithmetic {
		return c.Options[0]
	}
	return c.Options[len(c.Options)-1]
}

// A plan that moves on to other shapes changes no bit: neither where shapes grow step
// by step, nor where they jump or come back, nor where runs overlap, nor with kernels
// that were chosen.
func TestPlansThatMoveOn(t *testing.T) {
	workers := pool.New(2)
	defer workers.Close()
	before, chooser := mmap.InUse(), &lastOption{}
	lengths := []int{1, 2, 3, 4, 5, 6, 7, 3, 3, 1, 40000, 40001, 40002, 2, 8, 0, 1, 9}
	seeds := uint64(150)
	if testing.Short() {
		seeds = 30
	}
	for seed := range seeds {
		w := newGrowing(seed)
		if err := op.InferTypes(w.g); err != nil {
			t.Fatal(err)
		}
		want := map[int][]*tensor.Tensor{}
		for _, n := range lengths {
			s := exec.New(w.g, exec.Options{Pool: workers})
			out, err := s.Run(context.Background(), w.inputs(n))
			if err != nil {
				t.Fatalf("graph %d with %d columns: %v", seed, n, err)
			}
			want[n] = out
			s.Close()
		}
		o := exec.Options{Pool: workers, MaxPlans: 4}
		if seed%2 == 1 {
			o.Chooser = chooser
		}
		s := exec.New(w.g, o)
		run := func(n int) error {
			out, err := s.Run(context.Background(), w.inputs(n))
			if err != nil {
				return err
			}
			for i := range out {
				if !slices.Equal(out[i].Shape, want[n][i].Shape) || !slices.Equal(out[i].Data, want[n][i].Data) {
					return fmt.Errorf("output %d is %v, of a session of its own %v", i, out[i], want[n][i])
				}
			}
			return nil
		}
		for i, n := range lengths {
			if err := run(n); err != nil {
				t.Fatalf("graph %d, run %d with %d columns: %v", seed, i, n, err)
			}
		}
		var wg sync.WaitGroup
		for g := range 3 {
			wg.Go(func() {
				for i := range 12 {
					n := lengths[(i*(g+1)+g)%len(lengths)]
					if err := run(n); err != nil {
						t.Errorf("graph %d at once with others, %d columns: %v", seed, n, err)
					}
				}
			})
		}
		wg.Wait()
		if s.Close(); t.Failed() {
			return
		}
	}
	if n := mmap.InUse() - before; n != 0 {
		t.Errorf("%d bytes are in use after all sessions are closed", n)
	}
	if chooser.asked.Load() == 0 {
		t.Error("no kernel had a choice")
	}
}
