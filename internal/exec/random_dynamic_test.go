package exec_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

const (
	unsizedRows    = 6
	unsizedColumns = 600 // enough for kernels where an input's contents say the size
)

// newUnsized makes a random graph whose values have as many columns as the input "k" says.
func newUnsized(seed uint64) *wild {
	w := &wild{Rand: rand.New(rand.NewPCG(seed, 2)), g: &ir.Graph{Opsets: map[string]int{"": 18}}, rows: map[*ir.Value]int{}}
	k := ir.NewValue("k", ir.Type{DType: dtype.Int64, Shape: shape.Of(1)})
	x := ir.NewValue("x", ir.Type{DType: dtype.Float32, Shape: shape.Of(unsizedRows, unsizedColumns)})
	w.g.Inputs = []*ir.Value{x, k}
	for range 2 {
		w.add(w.node("Slice", 1, nil, x, ints(0), k, ints(1))[0], unsizedRows)
	}
	w.add(w.node("Expand", 1, nil, ir.NewConst("c", tensor.FromSlice([]float32{3}, 1, 1)), w.node("Concat", 1, map[string]*ir.Attr{"axis": ir.Int(0)}, ints(unsizedRows), k)[0])[0], unsizedRows)
	for range 5 + w.IntN(40) {
		w.growUnsized(k)
	}
	for i := range 1 + w.IntN(5) {
		w.g.AddOutput(fmt.Sprint("out", i), w.pick())
	}
	return w
}

func (w *wild) growUnsized(k *ir.Value) {
	x := w.pick()
	n := w.rows[x]
	switch w.IntN(10) {
	case 0, 1:
		name := []string{"Relu", "Neg", "Abs", "Identity"}[w.IntN(4)]
		w.add(w.node(name, 1, nil, x)[0], n)
	case 2:
		y := w.pick()
		if w.rows[y] == n {
			w.add(w.node([]string{"Add", "Mul", "Sub"}[w.IntN(3)], 1, nil, x, y)[0], n)
		}
	case 3:
		if n > 1 {
			at := 1 + w.IntN(n-1)
			out := w.node("Split", 2, map[string]*ir.Attr{"axis": ir.Int(0)}, x, ints(int64(at), int64(n-at)))
			w.add(out[0], at)
			w.add(out[1], n-at)
		}
	case 4:
		from := w.IntN(n)
		to := from + 1 + w.IntN(n-from)
		w.add(w.node("Slice", 1, nil, x, ints(int64(from)), ints(int64(to)), ints(0))[0], to-from)
	case 5:
		if y := w.pick(); n+w.rows[y] <= 20 {
			w.add(w.node("Concat", 1, map[string]*ir.Attr{"axis": ir.Int(0)}, x, y)[0], n+w.rows[y])
		}
	case 6:
		flat := w.node("Reshape", 1, nil, x, ints(-1))[0]
		w.add(w.node("Reshape", 1, nil, w.node("Relu", 1, nil, flat)[0], ints(int64(n), -1))[0], n)
	case 7: // rows of one value in another
		if y := w.pick(); w.rows[y] <= n {
			at := make([]int64, w.rows[y])
			for i, j := range w.Perm(n)[:len(at)] {
				at[i] = int64(j)
			}
			w.add(w.node("ScatterND", 1, nil, x, ir.NewConst(fmt.Sprint(at), tensor.FromSlice(at, len(at), 1)), y)[0], n)
		}
	case 8:
		s := w.node("SequenceConstruct", 1, nil, x, w.pick())[0]
		at := func(i int64) *ir.Value { return ir.NewConst(fmt.Sprint(i), tensor.FromSlice([]int64{i})) }
		if w.IntN(2) == 0 {
			s = w.node("SequenceInsert", 1, nil, s, w.pick(), at(1))[0]
		}
		w.add(w.node("SequenceAt", 1, nil, s, at(0))[0], n)
	case 9: // branches that rename or compute what they find around them
		b := make([]*ir.Graph, 2)
		for i := range b {
			inner := &wild{Rand: w.Rand, g: &ir.Graph{Opsets: w.g.Opsets}}
			y := x
			for range w.IntN(3) {
				y = inner.node([]string{"Neg", "Identity", "Relu"}[w.IntN(3)], 1, nil, y)[0]
			}
			inner.g.AddOutput("y", y)
			b[i] = inner.g
		}
		c := w.node("Greater", 1, nil, k, ints(100))[0]
		w.add(w.node("If", 1, map[string]*ir.Attr{"then_branch": ir.GraphAttr(b[0]), "else_branch": ir.GraphAttr(b[1])}, c)[0], n)
	}
}

// Results whose sizes data decides may share memory with each other, but no bit changes
// for it, nor in what callers gave or got before.
func TestRandomGraphsSizedByData(t *testing.T) {
	workers := pool.New(2)
	defer workers.Close()
	for seed := range uint64(300) {
		w := newUnsized(seed)
		if err := op.InferTypes(w.g); err != nil {
			t.Fatal(err)
		}
		x := tensor.FromSlice(numbers(w.Rand, unsizedRows*unsizedColumns), unsizedRows, unsizedColumns)
		given := x.Clone()
		s := exec.New(w.g, exec.Options{Pool: workers})
		var kept, wanted []*tensor.Tensor
		for _, k := range []int64{500, 500, 7, 300, 500} {
			in := []*tensor.Tensor{x, tensor.FromSlice([]int64{k})}
			want := naive(t, w.g, in)
			out := make([]*tensor.Tensor, len(want))
			if k == 300 { // into memory of the caller
				for i := range out {
					out[i] = tensor.New(want[i].DType, want[i].Shape...)
				}
			}
			mine := slices.Clone(out)
			if err := s.RunInto(context.Background(), in, out); err != nil {
				t.Fatalf("graph %d: %v", seed, err)
			}
			for i := range mine {
				if mine[i] != nil && mine[i] != out[i] {
					t.Fatalf("graph %d, output %d: not in the tensor that was given", seed, i)
				}
			}
			kept, wanted = append(kept, out...), append(wanted, want...)
		}
		for i := range kept {
			if !slices.Equal(kept[i].Shape, wanted[i].Shape) || !slices.Equal(tensor.Of[float32](kept[i]), tensor.Of[float32](wanted[i])) {
				t.Fatalf("graph %d, output %d of all runs: got %v, expected %v", seed, i, kept[i], wanted[i])
			}
			for j := range i {
				if &kept[i].Data[0] == &kept[j].Data[0] {
					t.Fatalf("graph %d: outputs %d and %d of all runs are the same memory", seed, j, i)
				}
			}
		}
		if !slices.Equal(x.Data, given.Data) {
			t.Fatalf("graph %d changed its input", seed)
		}
		s.Close()
	}
}
