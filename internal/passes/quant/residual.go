package quant

import (
	"fmt"
	"maps"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
)

// Residual adds a residual in the convolution that computes the other operand,
// with the same result.
var Residual = pass.Pass{
	Name: "fuse-qconv-residual", Level: 2,
	Doc:     "A convolution of integers followed by QLinearAdd of a tensor of the same shape becomes one operator with the same bytes.",
	Rewrite: residual,
}

func residual(c *pass.Context, n *ir.Node) (patch *ir.Patch, err error) {
	if !isMicrosoft(n, "QLinearAdd") {
		return nil, nil
	}
	y, ok := scalarFormat(n.In[6], n.Input(7), n.Out[0].Type.DType)
	if !ok {
		return nil, nil
	}
	for _, i := range []int{0, 3} {
		f, other := n.In[i].Producer, n.In[3-i]
		if f == nil || f.Domain != op.Salver || f.Op != "QConv" || f.Input(4) != nil {
			continue
		}
		mid, ok1 := scalarFormat(n.In[i+1], n.In[i+2], n.In[i].Type.DType)
		z, ok2 := scalarFormat(n.In[3-i+1], n.In[3-i+2], other.Type.DType)
		switch {
		case !ok1 || !ok2:
		case !match.Private(n.In[i]):
			c.Near(n, "the result of %s is read elsewhere too", f)
		case !n.In[i].Type.Shape.Equal(other.Type.Shape):
			c.Near(n, "%s gives %s, the other operand is %s", f, n.In[i].Type, other.Type)
		default:
			return residualPatch(c, n, f, other, mid, z, y), nil
		}
	}
	return nil, nil
}

func isMicrosoft(n *ir.Node, name string) bool { return n.Domain == op.Microsoft && n.Op == name }

func residualPatch(c *pass.Context, n, f *ir.Node, other *ir.Value, mid, z, y format) *ir.Patch {
	a := maps.Clone(f.Attrs)
	a["mid_type"], a["mid_zero"], a["mid_lo"], a["mid_hi"], a["mid_scale"] = f.Attr("y_type"), ir.Int(mid.zero), f.Attr("lo"), f.Attr("hi"), ir.Float(mid.scale)
	a["z_zero"], a["z_scale"] = ir.Int(z.zero), ir.Float(z.scale)
	lo, hi := y.limits()
	a["y_type"], a["y_zero"], a["y_scale"], a["lo"], a["hi"] = ir.Int(int(y.dt)), ir.Int(y.zero), ir.Float(y.scale), ir.Int(lo), ir.Int(hi)
	out := c.Value(n.Out[0].Name)
	m := ir.NewNode(op.Salver, "QConv", 1, []*ir.Value{f.In[0], f.In[1], f.In[2], f.Input(3), other}, []*ir.Value{out}, a)
	m.Name = f.Name
	return &ir.Patch{Reason: fmt.Sprintf("fuse %s into %s", n, f), Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: n.Out[0], New: out}}}
}
