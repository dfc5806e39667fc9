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
	_ "github.com/salver-ml/salver/internal/ops" // registers the operators
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/provider"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// wild makes random graphs of operators that cut, join, rename and overwrite:
// everything by which values come to share memory.
type wild struct {
	*rand.Rand
	g      *ir.Graph
	values []*ir.Value // all of shape [rows, 4] with a known number of rows
	rows   map[*ir.Value]int
}

func newWild(seed uint64) *wild {
	w := &wild{Rand: rand.New(rand.NewPCG(seed, 1)), g: &ir.Graph{Opsets: map[string]int{"": 18}}, rows: map[*ir.Value]int{}}
	for i := range 2 {
		x := ir.NewValue(fmt.Sprint("x", i), ir.Type{DType: dtype.Float32, Shape: shape.Of(6, 4)})
		w.g.Inputs = append(w.g.Inputs, x)
		w.add(x, 6)
	}
	c := ir.NewConst("c", tensor.FromSlice(numbers(w.Rand, 6*4), 6, 4))
	w.add(c, 6)
	for range 5 + w.IntN(40) {
		w.grow()
	}
	for i := range 1 + w.IntN(5) {
		w.g.AddOutput(fmt.Sprint("out", i), w.pick())
	}
	return w
}

func numbers(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

func (w *wild) add(v *ir.Value, rows int) {
	w.values = append(w.values, v)
	w.rows[v] = rows
}

// pick prefers young values, so that many die early.
func (w *wild) pick() *ir.Value {
	n := len(w.values)
	if w.IntN(3) > 0 {
		return w.values[n-1-w.IntN(min(n, 4))]
	}
	return w.values[w.IntN(n)]
}

func (w *wild) node(name string, outs int, attrs map[string]*ir.Attr, in ...*ir.Value) []*ir.Value {
	out := make([]*ir.Value, outs)
	for i := range out {
		out[i] = ir.NewValue(fmt.Sprintf("%s%d.%d", name, len(w.g.Nodes), i), ir.Type{})
	}
	n := ir.NewNode("", name, 18, in, out, attrs)
	if err := op.Complete(n); err != nil {
		panic(err)
	}
	w.g.Nodes = append(w.g.Nodes, n)
	return out
}

func ints(v ...int64) *ir.Value { return ir.NewConst(fmt.Sprint(v), tensor.FromSlice(v, len(v))) }

func (w *wild) grow() {
	x := w.pick()
	n := w.rows[x]
	switch w.IntN(8) {
	case 0, 1:
		name := []string{"Relu", "Neg", "Tanh", "Identity"}[w.IntN(4)]
		w.add(w.node(name, 1, nil, x)[0], n)
	case 2:
		y := w.pick()
		if w.rows[y] == n {
			w.add(w.node([]string{"Add", "Mul", "Sub"}[w.IntN(3)], 1, nil, x, y)[0], n)
		}
	case 3, 4:
		if n < 2 {
			return
		}
		k := 1 + w.IntN(n-1)
		out := w.node("Split", 2, map[string]*ir.Attr{"axis": ir.Int(0)}, x, ints(int64(k), int64(n-k)))
		w.add(out[0], k)
		w.add(out[1], n-k)
	case 5:
		from := w.IntN(n)
		to := from + 1 + w.IntN(n-from)
		w.add(w.node("Slice", 1, nil, x, ints(int64(from)), ints(int64(to)), ints(0))[0], to-from)
	case 6:
		in := []*ir.Value{x}
		for range 1 + w.IntN(3) {
			y := w.pick()
			if n+w.rows[y] > 40 {
				break
			}
			n += w.rows[y]
			in = append(in, y)
		}
		w.add(w.node("Concat", 1, map[string]*ir.Attr{"axis": ir.Int(0)}, in...)[0], n)
	case 7:
		flat := w.node("Reshape", 1, nil, x, ints(-1))[0]
		w.add(w.node("Reshape", 1, nil, w.node("Relu", 1, nil, flat)[0], ints(int64(n), 4))[0], n)
	}
}

// naive computes the graph's outputs node by node, each in memory of its own.
func naive(t *testing.T, g *ir.Graph, in []*tensor.Tensor) []*tensor.Tensor {
	t.Helper()
	vals := map[*ir.Value]*tensor.Tensor{}
	for i, v := range g.Inputs {
		vals[v] = in[i]
	}
	return naively(t, g, vals)
}

// naively computes the outputs of a graph, or of a branch of one, where the values around it are known.
func naively(t *testing.T, g *ir.Graph, vals map[*ir.Value]*tensor.Tensor) []*tensor.Tensor {
	t.Helper()
	get := func(v *ir.Value) *tensor.Tensor {
		if v.Const != nil {
			return v.Const
		}
		return vals[v]
	}
	for _, n := range g.Nodes {
		args := make([]*tensor.Tensor, len(n.In))
		for i, v := range n.In {
			args[i] = get(v).Clone()
		}
		if n.Is("If") {
			branch := "else_branch"
			if tensor.Of[bool](args[0])[0] {
				branch = "then_branch"
			}
			vals[n.Out[0]] = naively(t, n.Attrs[branch].Graph, vals)[0].Clone()
			continue
		}
		out, err := op.Evaluate(n, args, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range n.Out {
			vals[v] = out[i].Clone()
		}
	}
	var out []*tensor.Tensor
	for _, o := range g.Outputs {
		out = append(out, get(o.Value))
	}
	return out
}

// Sharing memory changes no bit, whoever computes.
func TestRandomGraphs(t *testing.T) {
	workers := pool.New(2)
	defer workers.Close()
	joined, copies := 0, 0
	for seed := range uint64(300) {
		w := newWild(seed)
		if err := op.InferTypes(w.g); err != nil {
			t.Fatal(err)
		}
		in := []*tensor.Tensor{tensor.FromSlice(numbers(w.Rand, 24), 6, 4), tensor.FromSlice(numbers(w.Rand, 24), 6, 4)}
		want := naive(t, w.g, in)
		for _, o := range []exec.Options{
			{Provider: provider.Ref}, {Provider: provider.Ref, Accelerators: []provider.Provider{provider.Subset(seed)}},
			{Provider: provider.Ref, Pool: workers, Accelerators: []provider.Provider{provider.Subset(seed), provider.Subset(seed + 1)}},
		} {
			s := exec.New(w.g, o)
			for range 2 {
				out, err := s.Run(context.Background(), in)
				if err != nil {
					t.Fatalf("graph %d: %v", seed, err)
				}
				for i := range want {
					if !slices.Equal(tensor.Of[float32](out[i]), tensor.Of[float32](want[i])) {
						t.Fatalf("graph %d, output %d: got %v, expected %v", seed, i, tensor.Of[float32](out[i]), tensor.Of[float32](want[i]))
					}
				}
			}
			p, err := s.PlanFor(in)
			if err != nil {
				t.Fatal(err)
			}
			for _, st := range p.Steps() {
				if st.Joined {
					joined++
				}
			}
			n, _ := p.Copies()
			copies += n
			s.Close()
		}
	}
	if joined < 50 || copies < 50 {
		t.Errorf("%d joined steps and %d copies: the graphs don't test them", joined, copies)
	}
}
