package op

import (
	"context"
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// InferTypes infers the type of every value of g from those of its inputs, in
// order, and writes them to the values. What a file declares of a value fills
// in dimensions that inference leaves unknown; a contradiction is an error.
func InferTypes(g *ir.Graph) error {
	facts := Facts{}
	for _, v := range g.Inputs {
		facts[v] = FactOf(v)
	}
	inf := inferrer{facts: facts, annotate: true}
	return inf.graph(g)
}

// InferNode infers one node from its inputs' types as the graph states them and
// writes its outputs' types; used for the new nodes of a patch.
func InferNode(n *ir.Node) error {
	inf := inferrer{facts: Facts{}, annotate: true}
	return inf.node(n)
}

// Facts maps values to what is known of them.
type Facts map[*ir.Value]Fact

// Get is the fact of v: that of the map, or else what the graph says.
func (f Facts) Get(v *ir.Value) Fact {
	if v == nil {
		return Fact{}
	}
	if x, ok := f[v]; ok {
		return x
	}
	return FactOf(v)
}

// Bind infers all values of g for given inputs, usually with constant
// dimensions, without changing g. Small values that follow from shapes alone
// are computed, so that shape arithmetic is known afterwards.
func Bind(g *ir.Graph, inputs []Fact) (Facts, error) {
	if len(inputs) != len(g.Inputs) {
		return nil, fmt.Errorf("graph %q has %d inputs, found %d", g.Name, len(g.Inputs), len(inputs))
	}
	facts := Facts{}
	for i, v := range g.Inputs {
		facts[v] = inputs[i]
	}
	inf := inferrer{facts: facts}
	if err := inf.graph(g); err != nil {
		return nil, err
	}
	return facts, nil
}

type inferrer struct {
	facts    Facts
	outer    *inferrer // of the graph around a body, nil if there is none
	annotate bool      // write results to the graph
	// changed, if it is not nil, collects the values whose facts are not those that
	// were there before.
	changed map[*ir.Value]bool
}

// get is the fact of v, which may belong to a graph around the one that is inferred.
func (inf *inferrer) get(v *ir.Value) Fact {
	if inf.outer == nil || v == nil {
		return inf.facts.Get(v)
	}
	if f, ok := inf.facts[v]; ok {
		return f
	}
	return inf.outer.get(v)
}

func (inf *inferrer) graph(g *ir.Graph) error {
	for _, n := range g.Nodes {
		if err := inf.node(n); err != nil {
			return err
		}
	}
	return nil
}

func (inf *inferrer) node(n *ir.Node) error {
	return inf.known(n, Of(n), len(n.Subgraphs()) > 0)
}

// known infers a node whose operator is known, and whether it has bodies.
func (inf *inferrer) known(n *ir.Node, o *Op, bodies bool) error {
	if o == nil {
		return unknown(n)
	}
	all := make([]Fact, len(n.In)+len(n.Out))
	c := &Infer{Node: n, In: all[:len(n.In):len(n.In)], Out: all[len(n.In):]}
	if bodies {
		c.Subgraph = inf.bodies()
	}
	for i, v := range n.In {
		c.In[i] = inf.get(v)
	}
	if err := o.InferOutputs(c); err != nil {
		return fmt.Errorf("%s: %w", n, err)
	}
	if !bodies {
		inf.foldSmall(o, n, c)
	}
	for i, v := range n.Out {
		if v == nil {
			continue
		}
		f := c.Out[i]
		f.Present = true
		if inf.annotate {
			if err := annotate(v, f); err != nil {
				return fmt.Errorf("%s: output %d: %w", n, i, err)
			}
			f = FactOf(v)
		}
		inf.note(v, f)
	}
	return nil
}

// InferOutputs is Infer, with inputs refused whose types the schema excludes, and
// outputs that are too large to be computed.
func (o *Op) InferOutputs(c *Infer) error {
	if err := o.checkTypes(c.In); err != nil {
		return err
	}
	if err := o.Infer(c); err != nil {
		return err
	}
	for i, f := range c.Out {
		dims, known := f.Shape.Ints()
		if !known {
			continue
		}
		if err := tensor.CheckSize(dims); err != nil {
			return fmt.Errorf("output %d: %w", i, err)
		}
	}
	return nil
}

// annotate writes f to v, keeping declared dimensions where f knows less.
func annotate(v *ir.Value, f Fact) error {
	declared := v.Type
	t := f.Type
	switch {
	case t.DType == dtype.Invalid:
		t.DType, t.Elem = declared.DType, declared.Elem
	case declared.DType != dtype.Invalid && declared.DType != t.DType:
		return fmt.Errorf("value %q is declared %s, but its operator gives %s", v.Name, declared.DType, t.DType)
	}
	switch {
	case t.Shape == nil:
		t.Shape = declared.Shape
	case len(t.Shape) == len(declared.Shape):
		s := append(shape.Shape{}, t.Shape...)
		for i, d := range declared.Shape {
			if s[i].IsUnknown() {
				s[i] = d
			}
		}
		t.Shape = s
	}
	v.Type, v.Content = t, f.Content
	return nil
}

// bodies gives a node's Infer.Subgraph. A body that is inferred again, as a loop
// needs whose shapes change, must not keep what the first time wrote to it.
func (inf *inferrer) bodies() func(*ir.Graph, []Fact) ([]Fact, error) {
	var seen []*ir.Graph
	return func(g *ir.Graph, in []Fact) ([]Fact, error) {
		if inf.annotate && slices.Contains(seen, g) {
			forgetShapes(g)
		}
		seen = append(seen, g)
		return inf.subgraph(g, in)
	}
}

func forgetShapes(g *ir.Graph) {
	for _, n := range g.Nodes {
		for _, v := range n.Out {
			if v != nil {
				v.Type.Shape, v.Content = nil, nil
			}
		}
		for _, sub := range n.Subgraphs() {
			forgetShapes(sub)
		}
	}
}

// subgraph infers the body of a control-flow operator. Facts of the body's own
// values are not kept: they may differ from run to run.
func (inf *inferrer) subgraph(g *ir.Graph, in []Fact) ([]Fact, error) {
	inner := inferrer{facts: Facts{}, outer: inf, annotate: inf.annotate}
	for i, v := range g.Inputs {
		f := FactOf(v)
		if i < len(in) {
			f = in[i]
			f.Present = true
		}
		if inf.annotate {
			v.Type, v.Content = f.Type, f.Content
		}
		inner.facts[v] = f
	}
	if err := inner.graph(g); err != nil {
		return nil, err
	}
	out := make([]Fact, len(g.Outputs))
	for i, o := range g.Outputs {
		out[i] = inner.get(o.Value)
	}
	return out, nil
}

// maxFold bounds the tensors that Bind computes.
const maxFold = 1024

// foldSmall runs the reference of a node without bodies whose inputs are all known and small.
func (inf *inferrer) foldSmall(o *Op, n *ir.Node, c *Infer) {
	if o.Random || len(n.In) == 0 {
		return
	}
	for _, f := range c.In {
		if f.Present && f.Const == nil && f.Content == nil {
			return
		}
	}
	if !smallOutputs(c.Out) {
		return
	}
	in := make([]*tensor.Tensor, len(c.In))
	for i, f := range c.In {
		if !f.Present {
			continue
		}
		if in[i] = known(f); in[i] == nil || in[i].Len() > maxFold {
			return
		}
	}
	call := &Call{Context: context.Background(), Node: n, In: in}
	if o.Ref(call) != nil {
		return // the error is reported when the node runs
	}
	for i := range c.Out {
		if i < len(call.Out) && call.Out[i] != nil {
			t := call.Out[i]
			c.Out[i] = Fact{Type: ir.TypeOf(t), Present: true, Const: t, Content: ir.NewConst("", t).Content}
		}
	}
}

func smallOutputs(out []Fact) bool {
	for _, f := range out {
		if f.Elem != nil {
			return false
		}
		if n, ok := f.Shape.Count().Int(); f.Shape != nil && ok && n > maxFold {
			return false
		}
	}
	return true
}

// known gives the contents of a value as a tensor, if they are known.
func known(f Fact) *tensor.Tensor {
	if f.Const != nil {
		return f.Const
	}
	ints, ok := f.Ints()
	dims, fixed := f.Shape.Ints()
	if !ok || !fixed || tensor.Count(dims) != len(ints) {
		return nil
	}
	t := tensor.New(f.DType, dims...)
	for i, v := range ints {
		switch f.DType {
		case dtype.Int64:
			tensor.Of[int64](t)[i] = int64(v)
		case dtype.Int32:
			tensor.Of[int32](t)[i] = int32(v)
		default:
			return nil
		}
	}
	return t
}
