package passes_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// sketch makes random graphs of what exporters write: symbolic sizes, shape arithmetic,
// spelled out attention and activations, images, and bodies that read values around them.
// Each node is computed on a sample as it is made; one that fails, or whose results are
// too large to compare, is dropped.
type sketch struct {
	*rand.Rand
	g      *ir.Graph
	names  *int
	values []*ir.Value // of float32
	sample map[*ir.Value]*tensor.Tensor
	depth  int
}

const (
	mostElements = 1 << 14
	mostValue    = 100
)

func newSketch(seed uint64) *sketch {
	r := rand.New(rand.NewPCG(seed, 3))
	s := &sketch{Rand: r, g: &ir.Graph{Name: "main", Opsets: map[string]int{"": 18}}, names: new(int), sample: map[*ir.Value]*tensor.Tensor{}}
	n, t := shape.Sym("n"), shape.Sym("t")
	c := shape.Const
	for i, dims := range []shape.Shape{{n, c(8)}, {n, t, c(8)}, {n, c(4), c(6), c(6)}, {n, t, c(16)}} {
		v := ir.NewValue(fmt.Sprint("x", i), ir.Type{DType: dtype.Float32, Shape: dims})
		s.g.Inputs = append(s.g.Inputs, v)
		s.values = append(s.values, v)
	}
	for i, x := range s.inputs(3, 5) {
		s.sample[s.g.Inputs[i]] = x
	}
	for range 4 + s.IntN(30) {
		s.grow()
	}
	s.finish()
	return s
}

// inputs are random numbers for the graph's inputs.
func (s *sketch) inputs(n, t int) []*tensor.Tensor {
	var in []*tensor.Tensor
	for _, v := range s.g.Inputs {
		dims := make([]int, len(v.Type.Shape))
		for i, d := range v.Type.Shape {
			switch size, ok := d.Int(); {
			case ok:
				dims[i] = size
			case d.Equal(shape.Sym("n")):
				dims[i] = n
			default:
				dims[i] = t
			}
		}
		in = append(in, s.numbers(dims...))
	}
	return in
}

func (s *sketch) numbers(dims ...int) *tensor.Tensor {
	x := tensor.New(dtype.Float32, dims...)
	for i := range tensor.Of[float32](x) {
		tensor.Of[float32](x)[i] = float32(s.NormFloat64())
	}
	return x
}

func (s *sketch) name(base string) string {
	*s.names++
	return fmt.Sprint(base, *s.names)
}

// weights are a constant whose products with a row stay of the row's magnitude.
func (s *sketch) weights(dims ...int) *ir.Value {
	x := s.numbers(dims...)
	scale := float32(1 / math.Sqrt(float64(max(dims[0], dims[len(dims)-1]))))
	for i := range tensor.Of[float32](x) {
		tensor.Of[float32](x)[i] *= scale
	}
	return s.constant(x)
}

func (s *sketch) constant(t *tensor.Tensor) *ir.Value { return ir.NewConst(s.name("c"), t) }

func (s *sketch) ints(v ...int64) *ir.Value { return s.constant(tensor.FromSlice(v, len(v))) }

func (s *sketch) float(x float32) *ir.Value { return s.constant(tensor.Scalar(x)) }

type attrs = map[string]*ir.Attr

// all adds a node, and gives its outputs, or nil if they cannot be computed.
func (s *sketch) all(name string, outs int, a attrs, in ...*ir.Value) []*ir.Value {
	if slices.Contains(in, nil) {
		return nil
	}
	out := make([]*ir.Value, outs)
	for i := range out {
		out[i] = ir.NewValue(s.name(name), ir.Type{})
	}
	n := ir.NewNode("", name, 18, in, out, a)
	if op.Complete(n) != nil || op.InferNode(n) != nil || s.compute(n) != nil {
		for i := range n.In {
			n.SetInput(i, nil)
		}
		return nil
	}
	s.g.Nodes = append(s.g.Nodes, n)
	return out
}

// node is all for one output.
func (s *sketch) node(name string, a attrs, in ...*ir.Value) *ir.Value {
	if out := s.all(name, 1, a, in...); out != nil {
		return out[0]
	}
	return nil
}

// compute computes the node's sample.
func (s *sketch) compute(n *ir.Node) error {
	args := make([]*tensor.Tensor, len(n.In))
	for i, v := range n.In {
		args[i] = s.sampleOf(v)
	}
	out, err := reference(n, args, s.sample)
	if err != nil {
		return err
	}
	for i, v := range n.Out {
		if out[i].Len() > mostElements || out[i].Len() == 0 {
			return fmt.Errorf("%s is too large, or empty", out[i])
		}
		if out[i].DType == dtype.Float32 {
			for _, x := range tensor.Of[float32](out[i]) {
				if !(x > -mostValue && x < mostValue) {
					return fmt.Errorf("%g is too large", x)
				}
			}
		}
		s.sample[v] = out[i]
	}
	return nil
}

func (s *sketch) sampleOf(v *ir.Value) *tensor.Tensor {
	if v.IsConst() {
		return v.Const
	}
	return s.sample[v]
}

// reference computes a node, and the graphs in it, by the reference implementations.
func reference(n *ir.Node, args []*tensor.Tensor, around map[*ir.Value]*tensor.Tensor) ([]*tensor.Tensor, error) {
	c := &op.Call{Context: context.Background(), Node: n, In: args}
	c.Subgraph = func(g *ir.Graph, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
		known := map[*ir.Value]*tensor.Tensor{}
		for v, t := range around {
			known[v] = t
		}
		for i, v := range g.Inputs {
			known[v] = in[i]
		}
		get := func(v *ir.Value) *tensor.Tensor {
			if v.IsConst() {
				return v.Const
			}
			return known[v]
		}
		for _, m := range g.Nodes {
			args := make([]*tensor.Tensor, len(m.In))
			for i, v := range m.In {
				args[i] = get(v)
			}
			out, err := reference(m, args, known)
			if err != nil {
				return nil, err
			}
			for i, v := range m.Out {
				if out[i].Len() == 0 { // a dimension of 0 is copied by Reshape where it was computed
					return nil, fmt.Errorf("%s gives nothing", m)
				}
				known[v] = out[i]
			}
		}
		var out []*tensor.Tensor
		for _, o := range g.Outputs {
			out = append(out, get(o.Value))
		}
		return out, nil
	}
	err := op.Of(n).Ref(c)
	return c.Out, err
}

// pick prefers young values.
func (s *sketch) pick() *ir.Value {
	n := len(s.values)
	if s.IntN(3) > 0 {
		return s.values[n-1-s.IntN(min(n, 4))]
	}
	return s.values[s.IntN(n)]
}

// of picks a value of a rank, or nil.
func (s *sketch) of(rank int) *ir.Value {
	for range 8 {
		if v := s.pick(); len(v.Type.Shape) == rank {
			return v
		}
	}
	return nil
}

// size is that of a dimension in the sample.
func (s *sketch) size(v *ir.Value, axis int) int {
	d := s.sampleOf(v).Shape
	if axis < 0 {
		axis += len(d)
	}
	return d[axis]
}

func (s *sketch) keep(v *ir.Value) {
	if v != nil && v.Type.DType == dtype.Float32 && v.Type.Shape != nil {
		s.values = append(s.values, v)
	}
}

func (s *sketch) grow() {
	kinds := templates
	if s.depth < 2 {
		kinds = append(kinds[:len(kinds):len(kinds)], (*sketch).branch, (*sketch).loop, (*sketch).scan)
	}
	kinds[s.IntN(len(kinds))](s)
}

// finish makes outputs of some values, and of the youngest.
func (s *sketch) finish() {
	s.g.AddOutput("y", s.values[len(s.values)-1])
	for i := range s.IntN(3) {
		s.g.AddOutput(fmt.Sprint("y", i), s.pick())
	}
}

// within makes a graph in the graph, whose nodes may read the values around it.
func (s *sketch) within(name string, in ...*ir.Value) *sketch {
	b := &sketch{Rand: s.Rand, g: &ir.Graph{Name: s.name(name), Opsets: s.g.Opsets, Inputs: in}, names: s.names, depth: s.depth + 1, sample: map[*ir.Value]*tensor.Tensor{}}
	for v, t := range s.sample {
		b.sample[v] = t
	}
	b.values = slices.Clone(s.values)
	return b
}

// TestRandomGraphsAtEveryLevel compares optimized graphs with the references.
// SALVER_SEEDS=FROM-TO runs others than the usual ones.
func TestRandomGraphsAtEveryLevel(t *testing.T) {
	from, to := uint64(0), uint64(120)
	if testing.Short() {
		to = 40
	}
	if v := os.Getenv("SALVER_SEEDS"); v != "" {
		if _, err := fmt.Sscanf(v, "%d-%d", &from, &to); err != nil {
			t.Fatal(err)
		}
	}
	workers := pool.New(2)
	defer workers.Close()
	patches := 0
	for seed := from; seed < to; seed++ {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { patches += atEveryLevel(t, seed, workers) })
	}
	if t.Failed() {
		return
	}
	if n := int(to - from); patches < 3*n {
		t.Errorf("%d patches in %d graphs: they do not test the passes", patches, n)
	}
}

func atEveryLevel(t *testing.T, seed uint64, workers *pool.Pool) (patches int) {
	s := newSketch(seed)
	if err := s.g.Verify(); err != nil {
		t.Fatal(err)
	}
	for level := 0; level <= pass.MaxLevel; level++ {
		g := s.g.Clone()
		report, err := pass.Run(g, passes.All, pass.Options{Level: level, Verify: true})
		if err != nil {
			t.Fatalf("level %d: %v\n%s", level, err, s.g)
		}
		for _, p := range report.Passes {
			patches += len(p.Patches)
			if p.Stopped != "" {
				t.Errorf("level %d: %s stopped: %s", level, p.Name, p.Stopped)
			}
		}
		session := exec.New(g, exec.Options{Pool: workers})
		for _, size := range [][2]int{{3, 5}, {1, 1}, {2, 7}, {1, 6}} {
			in := s.inputs(size[0], size[1])
			want, err := referenceOf(s.g, in)
			if err != nil {
				continue // sizes at which the graph means nothing
			}
			got, err := session.Run(context.Background(), in)
			if err != nil {
				t.Fatalf("level %d, sizes %v: %v\n%s\n----\n%s", level, size, err, s.g, g)
			}
			for i := range want {
				if why := differ(want[i], got[i]); why != "" {
					t.Fatalf("level %d, sizes %v, output %d: %s\n%s\n----\n%s", level, size, i, why, s.g, g)
				}
			}
		}
		session.Close()
	}
	return patches
}

// referenceOf computes a whole graph.
func referenceOf(g *ir.Graph, in []*tensor.Tensor) (out []*tensor.Tensor, err error) {
	n := ir.NewNode("", "If", 18, []*ir.Value{ir.NewConst("on", tensor.Scalar(true))}, []*ir.Value{ir.NewValue("", ir.Type{})}, nil)
	known := map[*ir.Value]*tensor.Tensor{}
	for i, v := range g.Inputs {
		known[v] = in[i]
	}
	n.Attrs = attrs{"then_branch": ir.GraphAttr(&ir.Graph{Nodes: g.Nodes, Outputs: g.Outputs}), "else_branch": ir.GraphAttr(&ir.Graph{Nodes: g.Nodes, Outputs: g.Outputs})}
	n.Out = make([]*ir.Value, len(g.Outputs))
	return reference(n, []*tensor.Tensor{tensor.Scalar(true)}, known)
}

// differ says how two results differ by more than another order of sums explains.
func differ(want, got *tensor.Tensor) string {
	if want.DType != got.DType || !slices.Equal(want.Shape, got.Shape) {
		return fmt.Sprintf("%s became %s", want, got)
	}
	x, y := num.Floats(want), num.Floats(got)
	largest := 1.
	for _, v := range x {
		if !math.IsInf(v, 0) && v == v {
			largest = max(largest, math.Abs(v))
		}
	}
	for i := range x {
		if d := math.Abs(x[i] - y[i]); d > 2e-4*largest || (x[i] == x[i]) != (y[i] == y[i]) {
			return fmt.Sprintf("element %d of %s: %g became %g", i, want, x[i], y[i])
		}
	}
	return ""
}
