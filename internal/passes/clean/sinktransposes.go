package clean

import (
	"fmt"
	"maps"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
	"github.com/salver-ml/salver/internal/tensor"
)

// SinkTransposes moves the Transposes of channels-last exports towards each other.
var SinkTransposes = pass.Pass{
	Name: "sink-transposes", Level: 1, Portable: true,
	Doc: "A Transpose behind a convolution or pooling (tf2onnx writes one before and after each) moves below elementwise operators, Concat, Split, Slice, Pad and reductions, " +
		"until it meets the next one and both vanish.",
	Rewrite: sinkTransposes,
}

func sinkTransposes(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if n.Domain != "" || sinkable[n.Op] == 0 || len(n.In) == 0 || n.Output(0) == nil {
		return nil, nil
	}
	perm := commonPerm(n)
	if perm == nil {
		return nil, nil
	}
	in, why := operandsBefore(c, n, perm)
	if why != "" {
		c.Near(n, "%s", why)
		return nil, nil
	}
	attrs, after, ok := permuteNode(c, n, in, perm)
	if !ok {
		c.Near(n, "its axes can't be renamed")
		return nil, nil
	}
	return belowTranspose(c, n, in, attrs, after), nil
}

// sinkable operators and the inputs that hold data: that many, or all (-1).
var sinkable = map[string]int{
	"Relu": 1, "LeakyRelu": 1, "Clip": 1, "Sigmoid": 1, "Tanh": 1, "HardSigmoid": 1, "HardSwish": 1, "Elu": 1, "Selu": 1, "Softplus": 1,
	"Softsign": 1, "Abs": 1, "Neg": 1, "Exp": 1, "Log": 1, "Sqrt": 1, "Erf": 1, "Reciprocal": 1, "Floor": 1, "Ceil": 1, "Cast": 1,
	"Add": -1, "Sub": -1, "Mul": -1, "Div": -1, "Pow": -1, "Max": -1, "Min": -1, "Sum": -1, "Mean": -1, "PRelu": -1,
	"Concat": -1, "Split": 1, "Slice": 1, "Pad": 1,
	"ReduceMean": 1, "ReduceMax": 1, "ReduceMin": 1, "ReduceSum": 1, "Identity": 1, "Dropout": 1,
}

func dataInputs(n *ir.Node) int {
	if k := sinkable[n.Op]; k > 0 {
		return k
	}
	return len(n.In)
}

// commonPerm is the permutation of the Transposes before n, of which one
// vanishes with n, behind a convolution or the like; nil if there is none.
func commonPerm(n *ir.Node) []int {
	var perm []int
	vanishes := false
	for _, v := range n.In[:dataInputs(n)] {
		t := match.Producer(v, "Transpose")
		if t == nil {
			continue
		}
		if perm != nil && !slices.Equal(perm, permOf(t)) {
			return nil
		}
		perm = permOf(t)
		vanishes = vanishes || match.Private(v) && comesFromImages(t.In[0], 6)
	}
	if !vanishes || len(perm) < 3 {
		return nil
	}
	return perm
}

// imageOps compute channels first in ONNX.
var imageOps = map[string]bool{"Conv": true, "ConvTranspose": true, "MaxPool": true, "AveragePool": true, "GlobalAveragePool": true,
	"GlobalMaxPool": true, "BatchNormalization": true, "Resize": true, "Upsample": true, "DepthToSpace": true, "InstanceNormalization": true}

// comesFromImages looks through what a Transpose sank below.
func comesFromImages(v *ir.Value, depth int) bool {
	n := v.Producer
	if n == nil || n.Domain != "" || depth == 0 {
		return false
	}
	if imageOps[n.Op] {
		return true
	}
	return sinkable[n.Op] != 0 && slices.ContainsFunc(n.In[:dataInputs(n)], func(v *ir.Value) bool { return v != nil && comesFromImages(v, depth-1) })
}

// operandsBefore gives n's data inputs as they are before the Transposes.
func operandsBefore(c *pass.Context, n *ir.Node, perm []int) (in []*ir.Value, why string) {
	in = slices.Clone(n.In)
	for i, v := range n.In[:dataInputs(n)] {
		switch t := match.Producer(v, "Transpose"); {
		case t != nil:
			in[i] = t.In[0]
		case v == nil || len(v.Type.Shape) == 0 && v.Type.Shape != nil:
		case v.IsConst() && v.Const.Rank() <= len(perm) && n.Op != "Concat":
			if v.Const.Len() != 1 {
				in[i] = ir.NewConst(c.Name(v.Name), permuteConst(v.Const, inverse(perm)))
			}
		default:
			return nil, fmt.Sprintf("operand %q is not transposed", v.Name)
		}
	}
	if n.Op == "Clip" { // its bounds are scalars
		for _, v := range n.In[1:] {
			if v != nil && len(v.Type.Shape) > 0 {
				return nil, fmt.Sprintf("bound %q is no scalar", v.Name)
			}
		}
	}
	return in, ""
}

// permuteConst transposes a constant that broadcasts to the permuted rank.
func permuteConst(t *tensor.Tensor, perm []int) *tensor.Tensor {
	s := slices.Concat(slices.Repeat([]int{1}, len(perm)-t.Rank()), t.Shape)
	dims := make([]int, len(perm))
	for i, a := range perm {
		dims[i] = s[a]
	}
	x, y := t.Reshape(s...), tensor.New(t.DType, dims...)
	strides := tensor.Strides(s)
	at := make([]int, len(dims))
	for i := range y.Len() {
		from := 0
		for d, k := range at {
			from += k * strides[perm[d]]
		}
		y.CopyElements(i, x, from, 1)
		for d := len(at) - 1; d >= 0; d-- {
			if at[d]++; at[d] < dims[d] {
				break
			}
			at[d] = 0
		}
	}
	return y
}

// permuteNode renames the axes in n's attributes and inputs; after is the
// permutation that the results still need.
func permuteNode(c *pass.Context, n *ir.Node, in []*ir.Value, perm []int) (attrs map[string]*ir.Attr, after []int, ok bool) {
	attrs = maps.Clone(n.Attrs)
	rank := len(perm)
	switch n.Op {
	case "Concat", "Split":
		a, err := op.Axis(n.Int("axis"), rank)
		if err != nil {
			return nil, nil, false
		}
		attrs["axis"] = ir.Int(perm[a])
	case "Slice":
		return attrs, perm, permuteAxes(c, n, in, 3, perm, attrs)
	case "Pad":
		return attrs, perm, permutePads(c, n, in, perm, attrs)
	case "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum":
		if !permuteAxes(c, n, in, 1, perm, attrs) {
			return nil, nil, false
		}
		if n.Bool("keepdims") {
			return attrs, perm, true
		}
		return attrs, permOfRest(perm, axesOf(n, 1)), true
	}
	return attrs, perm, true
}

// axesOf reads the axes of a reduction or Slice, nil if they are not there.
func axesOf(n *ir.Node, input int) []int {
	if v := n.Input(input); v != nil {
		if !v.IsConst() {
			return nil
		}
		axes, _ := v.Const.Ints()
		return axes
	}
	return n.Ints("axes")
}

func permuteAxes(c *pass.Context, n *ir.Node, in []*ir.Value, input int, perm []int, attrs map[string]*ir.Attr) bool {
	axes, err := op.Axes(axesOf(n, input), len(perm))
	if err != nil || len(axes) == 0 {
		return false
	}
	for i, a := range axes {
		axes[i] = perm[a]
	}
	if n.Input(input) == nil {
		attrs["axes"] = ir.Ints(axes...)
		return true
	}
	in[input] = intsConst(c, n.In[input].Name, axes)
	return true
}

func intsConst(c *pass.Context, name string, v []int) *ir.Value {
	x := make([]int64, len(v))
	for i := range v {
		x[i] = int64(v[i])
	}
	return ir.NewConst(c.Name(name), tensor.FromSlice(x, len(x)))
}

func permutePads(c *pass.Context, n *ir.Node, in []*ir.Value, perm []int, attrs map[string]*ir.Attr) bool {
	pads := n.Ints("pads")
	if v := n.Input(1); v != nil {
		if !v.IsConst() {
			return false
		}
		pads, _ = v.Const.Ints()
	}
	rank := len(perm)
	if len(pads) != 2*rank || n.Input(3) != nil {
		return false
	}
	moved := make([]int, 2*rank)
	for i, a := range perm {
		moved[a], moved[rank+a] = pads[i], pads[rank+i]
	}
	if n.Input(1) == nil {
		attrs["pads"] = ir.Ints(moved...)
	} else {
		in[1] = intsConst(c, n.In[1].Name, moved)
	}
	return true
}

// permOfRest is what remains of a permutation without some of its results.
func permOfRest(perm, without []int) []int {
	without, _ = op.Axes(without, len(perm))
	var kept []int
	for i, a := range perm {
		if !slices.Contains(without, i) {
			kept = append(kept, a)
		}
	}
	order := slices.Sorted(slices.Values(kept))
	for i, a := range kept {
		kept[i] = slices.Index(order, a)
	}
	return kept
}

// belowTranspose makes n read what was before the Transposes, and transposes
// its results.
func belowTranspose(c *pass.Context, n *ir.Node, in []*ir.Value, attrs map[string]*ir.Attr, perm []int) *ir.Patch {
	p := &ir.Patch{Reason: fmt.Sprintf("%s moves above the Transpose before it", n)}
	out := make([]*ir.Value, len(n.Out))
	m := ir.NewNode("", n.Op, n.Opset, in, out, attrs)
	m.Name = n.Name
	p.Add = append(p.Add, m)
	for i, old := range n.Out {
		if old == nil {
			continue
		}
		y := c.Value(old.Name)
		y.Producer, y.Index, m.Out[i] = m, i, y
		if !isIdentity(perm) {
			z := c.Value(old.Name)
			p.Add = append(p.Add, ir.NewNode("", "Transpose", n.Opset, []*ir.Value{y}, []*ir.Value{z}, map[string]*ir.Attr{"perm": ir.Ints(perm...)}))
			y = z
		}
		p.Replace = append(p.Replace, ir.Replacement{Old: old, New: y})
	}
	return p
}
