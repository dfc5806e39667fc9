package fused

import (
	"fmt"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: op.Salver, Name: "Pointwise", Versions: []int{1},
		Doc: "a chain of operators of single elements, computed in one sweep over float32 tensors (and bool conditions) that broadcast to one shape: each of steps " +
			"is a node in the text form, of the inputs %x0, %x1, … and of the steps %y0, %y1, … before it; the last is the output",
		In: op.Ports("X:V..."), Out: op.Ports("Y:float32"), Attrs: op.Attrs{"steps": op.Required(ir.KindStrings)},
		Infer: inferPointwise, Ref: pointwiseRef, Compile: compilePointwise, Flops: pointwiseFlops,
		InPlace: []int{0, 1, 2, 3, 4, 5, 6, 7}, Rows: op.RowsBroadcast, Cases: pointwiseCases{},
	})
}

type pointwiseCases struct{}

func (pointwiseCases) Cases() []op.Case {
	steps := func(lines ...string) map[string]*ir.Attr { return map[string]*ir.Attr{"steps": ir.Strs(lines...)} }
	long := wave(3, 700, 5)
	cond := tensor.New(dtype.Bool, 3, 1, 5)
	for i := range cond.Data {
		cond.Data[i] = byte(i % 2)
	}
	return []op.Case{
		{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2}), tensor.FromSlice([]float32{3, -8}), tensor.Scalar[float32](2)},
			Attrs: steps("%y0 = Mul(%x0, %x1)", "%y1 = Relu(%y0)", "%y2 = Add(%y1, %x2)"), Out: []*tensor.Tensor{tensor.FromSlice([]float32{5, 2})}},
		{Name: "gates", In: []*tensor.Tensor{long, wave(700, 1), wave(5)}, Tol: 1e-5,
			Attrs: steps("%y0 = Sigmoid(%x0)", "%y1 = Mul(%y0, %x1)", "%y2 = Sub(%x2, %y0)", "%y3 = Div(%y1, %y2)", "%y4 = LeakyRelu(%y3) {alpha = 0.25}", "%y5 = Mul(%y4, %y0)")},
		{Name: "where", In: []*tensor.Tensor{long, cond, tensor.Scalar[float32](-4), tensor.Scalar[float32](.5)}, Tol: 1e-6,
			Attrs: steps("%y0 = Where(%x1, %x0, %x2)", "%y1 = Cast(%x1) {to = 1}", "%y2 = Add(%y0, %y1)", "%y3 = Clip(%y2, _, %x3)")},
	}
}

// pointwiseChain is a chain that has been read.
type pointwiseChain struct {
	nodes []*ir.Node
	args  [][]int // of each node: numbers of inputs, then of nodes; -1: absent
}

// newPointwise reads the steps of a node.
func newPointwise(n *ir.Node) (*pointwiseChain, error) {
	var b strings.Builder
	b.WriteString("graph \"\" {\n")
	for i := range n.In {
		fmt.Fprintf(&b, "input %%x%d ?[*]\n", i)
	}
	steps := n.Strs("steps")
	fmt.Fprintf(&b, "%s\noutput %%y%d\n}\n", strings.Join(steps, "\n"), len(steps)-1)
	g, err := ir.Parse(b.String(), op.MaxOpset)
	if err != nil {
		return nil, fmt.Errorf("steps: %w", err)
	}
	number := map[*ir.Value]int{}
	for i, v := range g.Inputs {
		number[v] = i
	}
	p := &pointwiseChain{nodes: g.Nodes}
	for i, m := range g.Nodes {
		if err := op.Complete(m); err != nil {
			return nil, fmt.Errorf("steps: %w", err)
		}
		if o := op.Of(m); o.Row == nil || o.Row(m) == nil || len(m.Out) != 1 {
			return nil, fmt.Errorf("steps: %s computes no single elements of float32", m.FullName())
		}
		var args []int
		for _, v := range m.In {
			k, ok := number[v]
			switch {
			case v == nil:
				k = -1
			case !ok:
				return nil, fmt.Errorf("steps: %s reads %q, which is neither an input nor a step", m.FullName(), v.Name)
			}
			args = append(args, k)
		}
		p.args = append(p.args, args)
		number[m.Out[0]] = len(n.In) + i
	}
	if len(p.nodes) != len(steps) || p.nodes[len(steps)-1] != g.Outputs[0].Value.Producer {
		return nil, fmt.Errorf("steps: expected %d nodes, the last of which makes %%y%d", len(steps), len(steps)-1)
	}
	return p, nil
}

func inferPointwise(c *op.Infer) error {
	p, err := newPointwise(c.Node)
	if err != nil {
		return err
	}
	if len(c.In) > elemwise.MaxInputs {
		return fmt.Errorf("expected at most %d inputs, found %d", elemwise.MaxInputs, len(c.In))
	}
	for i, f := range c.In {
		if f.DType != dtype.Float32 && f.DType != dtype.Bool && f.DType != dtype.Invalid {
			return fmt.Errorf("input %d has type %s, expected float32 or bool", i, f.DType)
		}
	}
	if err := p.checkSteps(c.In); err != nil {
		return err
	}
	s, err := op.BroadcastShapes(c.In)
	if err != nil {
		return err
	}
	c.Set(0, dtype.Float32, s)
	return nil
}

// checkSteps infers each step, so that none gets a type that it does not take.
func (p *pointwiseChain) checkSteps(in []op.Fact) error {
	facts := slices.Clone(in)
	for i, m := range p.nodes {
		step := &op.Infer{Node: m, In: make([]op.Fact, len(m.In)), Out: make([]op.Fact, 1)}
		for j, a := range p.args[i] {
			if a >= 0 {
				step.In[j] = facts[a]
			}
		}
		if err := op.Of(m).InferOutputs(step); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
		if t := step.Out[0].DType; t != dtype.Float32 && t != dtype.Invalid {
			return fmt.Errorf("step %d: %s gives %s, expected float32", i, m.FullName(), t)
		}
		facts = append(facts, step.Out[0])
	}
	return nil
}

// pointwiseRef runs the references of the steps.
func pointwiseRef(c *op.Call) error {
	p, err := newPointwise(c.Node)
	if err != nil {
		return err
	}
	values := append([]*tensor.Tensor{}, c.In...)
	for i, m := range p.nodes {
		in := make([]*tensor.Tensor, len(m.In))
		for j, a := range p.args[i] {
			if a >= 0 {
				in[j] = values[a]
			}
		}
		step := &op.Call{Context: c.Context, Node: m, In: in}
		if err := op.Of(m).Ref(step); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
		values = append(values, step.Out[0])
	}
	dims := []int{}
	for _, t := range c.In {
		if dims, err = num.BroadcastShape(dims, t.Shape); err != nil {
			return err
		}
	}
	last := values[len(values)-1]
	num.SetFloats(c.Output(0, dtype.Float32, dims...), num.Broadcast(num.Floats(last), last.Shape, dims))
	return nil
}

// pointwiseFlops adds up the steps, each for every element of the output.
func pointwiseFlops(in, out []op.Fact) float64 {
	n, _ := out[0].Shape.Count().Int()
	return float64(len(in)) * float64(n)
}

type pointwiseKernel struct {
	sweep   *elemwise.Sweep
	in      [][]byte
	dims    []int
	scratch int
}

func compilePointwise(p *op.Prep) (op.Kernel, error) {
	chain, err := newPointwise(p.Node)
	if err != nil {
		return nil, err
	}
	code := make([]elemwise.Instruction, len(chain.nodes))
	for i, m := range chain.nodes {
		code[i] = elemwise.Instruction{Row: op.Of(m).Row(m), Args: chain.args[i]}
	}
	types, shapes := make([]dtype.Type, len(p.In)), make([][]int, len(p.In))
	for i, f := range p.In {
		types[i], shapes[i] = f.DType, p.InShape(i)
	}
	s, err := elemwise.NewSweep(code, types, shapes)
	if err != nil {
		return nil, err
	}
	return &pointwiseKernel{sweep: s, in: make([][]byte, len(p.In)), dims: p.OutShape(0), scratch: 4 * s.ScratchSize(p.Threads)}, nil
}

// ScratchBytes is the working memory of a run.
func (k *pointwiseKernel) ScratchBytes() int { return k.scratch }

// Run computes the chain.
func (k *pointwiseKernel) Run(c *op.Call) error {
	y := c.Output(0, dtype.Float32, k.dims...)
	for i, t := range c.In {
		k.in[i] = t.Data
	}
	k.sweep.Run(c.Pool, tensor.Of[float32](y), k.in, tensor.View[float32](c.Scratch))
	clear(k.in)
	return nil
}

// PointwiseSteps writes nodes as the steps of a Pointwise whose inputs are in.
func PointwiseSteps(nodes []*ir.Node, in []*ir.Value) []string {
	names := map[*ir.Value]*ir.Value{}
	for i, v := range in {
		names[v] = ir.NewValue(fmt.Sprintf("x%d", i), ir.Type{})
	}
	steps := make([]string, len(nodes))
	for i, n := range nodes {
		y := ir.NewValue(fmt.Sprintf("y%d", i), ir.Type{})
		names[n.Out[0]] = y
		step := &ir.Node{Domain: n.Domain, Op: n.Op, Attrs: n.Attrs, Out: []*ir.Value{y}}
		for _, v := range n.In {
			step.In = append(step.In, names[v])
		}
		steps[i] = step.Text()
	}
	return steps
}
