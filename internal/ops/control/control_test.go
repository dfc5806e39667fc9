package control_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/op"
	_ "github.com/salver-ml/salver/internal/ops/control"
	_ "github.com/salver-ml/salver/internal/ops/logic"
	_ "github.com/salver-ml/salver/internal/ops/math"
	_ "github.com/salver-ml/salver/internal/ops/sequence"
	_ "github.com/salver-ml/salver/internal/ops/tensorops"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

const opset = 21

// body builds a graph node by node.
type body struct{ g *ir.Graph }

func newBody() body { return body{&ir.Graph{}} }

func (b body) input(name string, dt dtype.Type, s shape.Shape) *ir.Value {
	v := ir.NewValue(name, ir.Type{DType: dt, Shape: s})
	b.g.Inputs = append(b.g.Inputs, v)
	return v
}

func (b body) node(name string, attrs map[string]*ir.Attr, in ...*ir.Value) *ir.Value {
	v := ir.NewValue("", ir.Type{})
	n := ir.NewNode("", name, opset, in, []*ir.Value{v}, attrs)
	b.g.Nodes = append(b.g.Nodes, n)
	return v
}

func (b body) output(v ...*ir.Value) {
	for _, x := range v {
		b.g.AddOutput(x.Name, x)
	}
}

// control adds a control-flow node with the given number of outputs.
func (b body) control(name string, outs int, attrs map[string]*ir.Attr, in ...*ir.Value) []*ir.Value {
	out := make([]*ir.Value, outs)
	for i := range out {
		out[i] = ir.NewValue(name+string(rune('0'+i)), ir.Type{})
	}
	b.g.Nodes = append(b.g.Nodes, ir.NewNode("", name, opset, in, out, attrs))
	b.output(out...)
	return out
}

func complete(t *testing.T, g *ir.Graph) {
	t.Helper()
	for _, n := range g.Nodes {
		if err := op.Complete(n); err != nil {
			t.Fatal(err)
		}
		for _, sub := range n.Subgraphs() {
			complete(t, sub)
		}
	}
}

func run(t *testing.T, g *ir.Graph, in ...*tensor.Tensor) []*tensor.Tensor {
	t.Helper()
	complete(t, g)
	if err := op.InferTypes(g); err != nil {
		t.Fatal(err)
	}
	s := exec.New(g, exec.Options{})
	defer s.Close()
	out, err := s.Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func floats(v ...float32) *tensor.Tensor { return tensor.FromSlice(v) }

func expect(t *testing.T, got *tensor.Tensor, dims []int, want ...float32) {
	t.Helper()
	if !slices.Equal(got.Shape, dims) || !slices.Equal(tensor.Of[float32](got), want) {
		t.Errorf("found %s %v, expected %v %v", got, tensor.Of[float32](got), dims, want)
	}
}

func graph(g *ir.Graph) *ir.Attr { return ir.GraphAttr(g) }

func TestIfReadsOuterValues(t *testing.T) {
	for _, cond := range []bool{true, false} {
		top := newBody()
		c, x := top.input("c", dtype.Bool, shape.Shape{}), top.input("x", dtype.Float32, shape.Shape{shape.Sym("n")})
		yes, no := newBody(), newBody()
		yes.output(yes.node("Add", nil, x, x))
		no.output(no.node("Concat", map[string]*ir.Attr{"axis": ir.Int(0)}, x, x))
		out := top.control("If", 1, map[string]*ir.Attr{"then_branch": graph(yes.g), "else_branch": graph(no.g)}, c)
		got := run(t, top.g, tensor.Scalar(cond), floats(1, 2))
		if cond {
			expect(t, got[0], []int{2}, 2, 4)
		} else {
			expect(t, got[0], []int{4}, 1, 2, 1, 2)
		}
		if s := out[0].Type.Shape; len(s) != 1 || !s[0].IsUnknown() {
			t.Errorf("branches of different lengths: inferred %v, expected one unknown dimension", s)
		}
	}
}

// loop runs state' = state op x with a scanned copy of the state.
func loop(op string, attrs map[string]*ir.Attr) (body, []*ir.Value) {
	top := newBody()
	m, x := top.input("m", dtype.Int64, shape.Shape{}), top.input("x", dtype.Float32, shape.Of(2))
	b := newBody()
	b.input("i", dtype.Int64, shape.Shape{})
	cond, state := b.input("cond", dtype.Bool, shape.Shape{}), b.input("state", dtype.Float32, nil)
	next := b.node(op, attrs, state, x)
	b.output(b.node("Identity", nil, cond), next, b.node("Identity", nil, x))
	return top, top.control("Loop", 2, map[string]*ir.Attr{"body": graph(b.g)}, m, nil, x)
}

func TestLoop(t *testing.T) {
	top, _ := loop("Add", nil)
	got := run(t, top.g, tensor.Scalar(int64(3)), floats(1, 10))
	expect(t, got[0], []int{2}, 4, 40)
	expect(t, got[1], []int{3, 2}, 1, 10, 1, 10, 1, 10)
}

func TestLoopWithoutIterations(t *testing.T) {
	top, _ := loop("Add", nil)
	got := run(t, top.g, tensor.Scalar(int64(0)), floats(1, 10))
	expect(t, got[0], []int{2}, 1, 10)
	expect(t, got[1], []int{0, 2})
}

func TestLoopStateThatGrows(t *testing.T) {
	top, out := loop("Concat", map[string]*ir.Attr{"axis": ir.Int(0)})
	got := run(t, top.g, tensor.Scalar(int64(2)), floats(1, 10))
	expect(t, got[0], []int{6}, 1, 10, 1, 10, 1, 10)
	if s := out[0].Type.Shape; len(s) != 1 || !s[0].IsUnknown() {
		t.Errorf("inferred %v, expected one unknown dimension", s)
	}
}

// A state, a scan output and a sequence that grow without end are refused before
// they take the memory that a run may have.
func TestWhatALoopGathersIsBounded(t *testing.T) {
	grow, _ := loop("Concat", map[string]*ir.Attr{"axis": ir.Int(0)})
	scan, _ := loop("Add", nil)
	sequence := newBody()
	m, x := sequence.input("m", dtype.Int64, shape.Shape{}), sequence.input("x", dtype.Float32, shape.Of(2))
	b := newBody()
	b.input("i", dtype.Int64, shape.Shape{})
	cond, state := b.input("cond", dtype.Bool, shape.Shape{}), b.input("state", dtype.Sequence, nil)
	b.output(b.node("Identity", nil, cond), b.node("SequenceInsert", nil, state, x))
	list := sequence.node("SequenceConstruct", nil, x)
	items := sequence.control("Loop", 1, map[string]*ir.Attr{"body": graph(b.g)}, m, nil, list)
	sequence.g.Outputs = nil
	sequence.output(sequence.node("SequenceLength", nil, items[0]))
	for name, g := range map[string]*ir.Graph{"state": grow.g, "scan": scan.g, "sequence": sequence.g} {
		complete(t, g)
		if err := op.InferTypes(g); err != nil {
			t.Fatal(name, err)
		}
		s := exec.New(g, exec.Options{MaxMemory: int(mmap.InUse()) + 1<<16})
		_, err := s.Run(context.Background(), []*tensor.Tensor{tensor.Scalar(int64(1 << 40)), floats(1, 10)})
		if !exec.IsMemoryError(err) || !exec.NeverFits(err) {
			t.Errorf("%s: found %v, expected a refusal for want of memory", name, err)
		}
		s.Close()
	}
}

// A body counts against the memory of a run as its outer graph does.
func TestABodyIsBoundedInMemory(t *testing.T) {
	top := newBody()
	cond, n := top.input("c", dtype.Bool, shape.Shape{}), top.input("n", dtype.Int64, shape.Of(1))
	yes, no := newBody(), newBody()
	yes.output(yes.node("Neg", nil, yes.node("ConstantOfShape", nil, n)))
	no.output(no.node("ConstantOfShape", nil, n))
	top.control("If", 1, map[string]*ir.Attr{"then_branch": graph(yes.g), "else_branch": graph(no.g)}, cond)
	complete(t, top.g)
	if err := op.InferTypes(top.g); err != nil {
		t.Fatal(err)
	}
	s := exec.New(top.g, exec.Options{MaxMemory: 1 << 20})
	defer s.Close()
	if _, err := s.Run(context.Background(), []*tensor.Tensor{tensor.Scalar(true), tensor.FromSlice([]int64{1 << 20}, 1)}); !exec.IsMemoryError(err) {
		t.Errorf("found %v, expected a refusal for want of memory", err)
	}
}

func TestLoopStops(t *testing.T) {
	top := newBody()
	x := top.input("x", dtype.Float32, shape.Shape{})
	b := newBody()
	b.input("i", dtype.Int64, shape.Shape{})
	b.input("cond", dtype.Bool, shape.Shape{})
	state := b.input("state", dtype.Float32, shape.Shape{})
	next := b.node("Add", nil, state, state)
	limit := ir.NewConst("limit", tensor.Scalar(float32(100)))
	b.output(b.node("Less", nil, next, limit), next)
	top.control("Loop", 1, map[string]*ir.Attr{"body": graph(b.g)}, nil, nil, x)
	expect(t, run(t, top.g, tensor.Scalar(float32(3)))[0], []int{}, 192)
}

func TestLoopIsCancelled(t *testing.T) {
	top := newBody()
	x := top.input("x", dtype.Float32, shape.Shape{})
	b := newBody()
	b.input("i", dtype.Int64, shape.Shape{})
	cond := b.input("cond", dtype.Bool, shape.Shape{})
	state := b.input("state", dtype.Float32, shape.Shape{})
	b.output(b.node("Identity", nil, cond), b.node("Identity", nil, state))
	top.control("Loop", 1, map[string]*ir.Attr{"body": graph(b.g)}, nil, nil, x)
	complete(t, top.g)
	if err := op.InferTypes(top.g); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		_, err := exec.New(top.g, exec.Options{}).Run(ctx, []*tensor.Tensor{tensor.Scalar(float32(1))})
		done <- err
	}()
	cancel()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "cancel") {
		t.Errorf("an endless loop ended with %v, expected the cancellation", err)
	}
}

func TestScanDirections(t *testing.T) {
	top := newBody()
	zero, x := top.input("zero", dtype.Float32, shape.Of(1)), top.input("x", dtype.Float32, shape.Of(1, 3))
	b := newBody()
	state, item := b.input("state", dtype.Float32, nil), b.input("item", dtype.Float32, nil)
	sum := b.node("Add", nil, state, item)
	b.output(sum, b.node("Identity", nil, sum))
	attrs := map[string]*ir.Attr{
		"body": graph(b.g), "num_scan_inputs": ir.Int(1), "scan_input_axes": ir.Ints(1), "scan_input_directions": ir.Ints(1),
		"scan_output_axes": ir.Ints(-1), "scan_output_directions": ir.Ints(1),
	}
	out := top.control("Scan", 2, attrs, zero, x)
	got := run(t, top.g, floats(0), tensor.FromSlice([]float32{1, 2, 3}, 1, 3))
	expect(t, got[0], []int{1}, 6)
	expect(t, got[1], []int{1, 3}, 6, 5, 3)
	if s := out[1].Type.Shape; !s.Equal(shape.Of(1, 3)) {
		t.Errorf("inferred %v, expected [1,3]", s)
	}
}
