package fold

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
	"github.com/salver-ml/salver/internal/tensor"
)

// Arithmetic joins the constants of a chain.
var Arithmetic = pass.Pass{
	Name: "fold-arithmetic", Level: 1, Portable: true,
	Doc:     "Add, Sub, Mul and Div by constants one after the other become one with a joint constant, where the joint constant is finite, no larger than its parts, and no large one beside a part that others read too.",
	Rewrite: arithmetic,
}

// joins says how a constant b after a constant a of another operator join:
// x OP1 a OP2 b = x OP (a JOIN b).
var joins = map[[2]string]struct{ op, join string }{
	{"Add", "Add"}: {"Add", "Add"}, {"Add", "Sub"}: {"Add", "Sub"}, {"Sub", "Add"}: {"Sub", "Sub"}, {"Sub", "Sub"}: {"Sub", "Add"},
	{"Mul", "Mul"}: {"Mul", "Mul"}, {"Mul", "Div"}: {"Mul", "Div"}, {"Div", "Mul"}: {"Div", "Div"}, {"Div", "Div"}: {"Div", "Mul"},
}

func arithmetic(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	y, b, ok := constantOperand(n)
	if !ok || y.Producer == nil || !match.Private(y) {
		return nil, nil
	}
	before := y.Producer
	x, a, ok := constantOperand(before)
	if !ok {
		return nil, nil
	}
	j, ok := joins[[2]string{before.Op, n.Op}]
	if !ok {
		return nil, nil
	}
	joint, err := joinConsts(j.join, n.Opset, a, b)
	if err != nil {
		return nil, nil
	}
	if joint.Len() > max(a.Const.Len(), b.Const.Len()) || !sound(j.op, joint, a.Const, b.Const) {
		c.Near(n, "the joint constant with %s would be larger, or not finite", before)
		return nil, nil
	}
	if joint.Len() >= largeJoint && (shared(a) || shared(b)) {
		c.Near(n, "the joint constant with %s would come on top of one that others read", before)
		return nil, nil
	}
	z := c.Value(n.Out[0].Name)
	m := ir.NewNode("", j.op, n.Opset, []*ir.Value{x, ir.NewConst(c.Name(b.Name), joint)}, []*ir.Value{z}, nil)
	m.Name = n.Name
	return &ir.Patch{Reason: fmt.Sprintf("join the constants of %s and %s", before, n), Add: []*ir.Node{m},
		Replace: []ir.Replacement{{Old: n.Out[0], New: z}}}, nil
}

// largeJoint is the number of elements from which a constant costs more than the
// operator that it saves.
const largeJoint = 4096

// shared reports whether a large constant is read in more than one place.
func shared(v *ir.Value) bool { return v.Const.Len() >= largeJoint && !match.Private(v) }

// constantOperand splits float32 arithmetic into the variable operand and the
// constant one; x - k and x / k count, k - x and k / x do not.
func constantOperand(n *ir.Node) (x, k *ir.Value, ok bool) {
	if n.Domain != "" || len(n.In) != 2 || n.Opset < 7 {
		return nil, nil, false
	}
	x, k = n.In[0], n.In[1]
	switch n.Op {
	case "Add", "Mul":
		if x.IsConst() {
			x, k = k, x
		}
	case "Sub", "Div":
	default:
		return nil, nil, false
	}
	return x, k, !x.IsConst() && k.IsConst() && k.Const.DType == dtype.Float32
}

// joinConsts computes with two constants as the operator would.
func joinConsts(name string, opset int, a, b *ir.Value) (*tensor.Tensor, error) {
	y := ir.NewValue("", ir.Type{DType: dtype.Float32})
	n := &ir.Node{Op: name, Opset: opset, In: []*ir.Value{a, b}, Out: []*ir.Value{y}, Attrs: map[string]*ir.Attr{}}
	out, err := op.Evaluate(n, []*tensor.Tensor{a.Const, b.Const}, nil)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// sound reports whether a joint constant overflows or vanishes where its parts
// do not; as a factor it must not be subnormal either.
func sound(name string, joint *tensor.Tensor, parts ...*tensor.Tensor) bool {
	for _, t := range append(parts, joint) {
		for _, v := range tensor.Of[float32](t) {
			x := math.Abs(float64(v))
			if !(x <= math.MaxFloat32) || (name == "Mul" || name == "Div") && x < 0x1p-126 {
				return false
			}
		}
	}
	return true
}
