package contrib

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	_ "github.com/salver-ml/salver/internal/ops/activation" // the standard operators
	_ "github.com/salver-ml/salver/internal/ops/image"
	_ "github.com/salver-ml/salver/internal/ops/nn"
	_ "github.com/salver-ml/salver/internal/ops/quant"
	_ "github.com/salver-ml/salver/internal/ops/reduce"
	_ "github.com/salver-ml/salver/internal/ops/tensorops"
	"github.com/salver-ml/salver/internal/tensor"
)

// standard is an operator of ONNX that a contributed one is made of.
type standard struct {
	*op.Op
	node *ir.Node
}

// newStandard makes a node of a standard operator with the given attributes and
// numbers of inputs and outputs.
func newStandard(name string, opset int, attrs map[string]*ir.Attr, inputs, outputs int) (*standard, error) {
	o := op.Find("", name, opset)
	if o == nil {
		return nil, fmt.Errorf("%s is not supported at opset %d", name, opset)
	}
	vals := func(n int) []*ir.Value {
		v := make([]*ir.Value, n)
		for i := range v {
			v[i] = ir.NewValue("", ir.Type{})
		}
		return v
	}
	copied := map[string]*ir.Attr{}
	for k, a := range attrs {
		copied[k] = a
	}
	n := ir.NewNode("", name, opset, vals(inputs), vals(outputs), copied)
	return &standard{o, n}, op.Complete(n)
}

// pick copies the attributes of n that are there and named.
func pick(n *ir.Node, names ...string) map[string]*ir.Attr {
	m := map[string]*ir.Attr{}
	for _, name := range names {
		if a, ok := n.Attrs[name]; ok {
			m[name] = a
		}
	}
	return m
}

// infer gives the facts of the outputs.
func (s *standard) infer(in ...op.Fact) ([]op.Fact, error) {
	c := &op.Infer{Node: s.node, In: in, Out: make([]op.Fact, len(s.node.Out))}
	err := s.Infer(c)
	return c.Out, err
}

// run computes the first output.
func (s *standard) run(c *op.Call, in ...*tensor.Tensor) (*tensor.Tensor, error) {
	facts := make([]op.Fact, len(in))
	for i, t := range in {
		if t != nil {
			facts[i] = op.FactOf(ir.NewConst("", t))
		}
	}
	if _, err := s.infer(facts...); err != nil {
		return nil, err
	}
	inner := &op.Call{Context: c.Context, Node: s.node, In: in, Pool: c.Pool}
	if err := s.Ref(inner); err != nil {
		return nil, err
	}
	return inner.Out[0], nil
}

// channelsLast and channelsFirst are permutations between [N,C,…] and [N,…,C].
func channelsLast(rank int) []int {
	p := []int{0}
	for i := 2; i < rank; i++ {
		p = append(p, i)
	}
	return append(p, 1)
}

func channelsFirst(rank int) []int {
	p := []int{0, rank - 1}
	for i := 1; i < rank-1; i++ {
		p = append(p, i)
	}
	return p
}

// transposed copies t with its dimensions permuted.
func transposed(t *tensor.Tensor, perm []int) *tensor.Tensor {
	y := tensor.New(t.DType, permuted(t.Shape, perm)...)
	y.CopyStrided(t, 0, permuted(tensor.Strides(t.Shape), perm))
	return y
}

// permutedFact is the fact of a tensor with its dimensions permuted.
func permutedFact(f op.Fact, perm func(rank int) []int) op.Fact {
	if f.Shape != nil {
		f.Shape = permuted(f.Shape, perm(len(f.Shape)))
	}
	f.Const, f.Content = nil, nil
	return f
}

// give copies t to output i.
func give(c *op.Call, i int, t *tensor.Tensor) {
	y := c.Output(i, t.DType, t.Shape...)
	copy(y.Data, t.Data)
	copy(y.Strings, t.Strings)
}
