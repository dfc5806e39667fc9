package fused

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/spatial"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	attrs := activationAttrs(spatial.Attrs())
	attrs["group"], attrs["algorithm"] = op.Default(ir.Int(1)), op.Opt(ir.KindString)
	op.Register(&op.Op{
		Domain: op.Salver, Name: "FusedConv", Versions: []int{1},
		Doc: "activation(Conv(X, W, B) + Z): the residual Z has the output's shape.",
		In:  op.Ports("X:T", "W:T", "B:T?", "Z:T?"), Out: op.Ports("Y:T"), Types: op.Types{"T": op.Floats}, Attrs: attrs,
		Infer: inferConv, Ref: convRef, Compile: wide.Compile(compileConv), Flops: spatial.Flops(1), Rows: rowsConv,
		Cases: convCases{},
	})
}

type convCases struct{}

func (convCases) Cases() []op.Case {
	cases := []op.Case{
		{Name: "residual", In: []*tensor.Tensor{wave(2, 5, 7, 6), wave(19, 5, 1, 1), wave(19), wave(2, 19, 7, 6)}, Attrs: act("relu")},
		{Name: "depthwise residual", In: []*tensor.Tensor{wave(1, 18, 7, 6), wave(18, 1, 3, 3), nil, wave(1, 18, 5, 4)}, Attrs: map[string]*ir.Attr{"group": ir.Int(18), "activation": ir.Str("mish")}},
		{Name: "plain residual", In: []*tensor.Tensor{wave(2, 6, 7, 6), wave(9, 2, 3, 3), nil, wave(2, 9, 5, 4)}, Attrs: map[string]*ir.Attr{"group": ir.Int(3), "activation": ir.Str("silu")}},
	}
	for name, f := range functions {
		a := act(name)
		a["pads"] = ir.Ints(1, 1, 1, 1)
		if f.params > 0 {
			a["activation_params"] = ir.Floats([]float32{.2, .5}[:f.params]...)
		}
		cases = append(cases, op.Case{Name: name, In: []*tensor.Tensor{wave(1, 6, 7, 6), wave(17, 6, 3, 3), wave(17)}, Attrs: a})
	}
	return cases
}

func inferConv(c *op.Infer) error {
	if _, err := ActivationOf(c.Node); err != nil {
		return err
	}
	s, err := spatial.ConvShape(c.Node, c.In[0], c.In[1])
	if err != nil {
		return err
	}
	if b := c.Input(2); b.Present && s != nil && !b.Shape.Compatible(s[1:2]) {
		return fmt.Errorf("bias has shape %v, expected %v", b.Shape, s[1:2])
	}
	if z := c.Input(3); z.Present && !z.Shape.Compatible(s) {
		return fmt.Errorf("residual has shape %v, expected the output's %v", z.Shape, s)
	}
	c.Set(0, c.In[0].DType, s)
	return nil
}

func convRef(c *op.Call) error {
	a, err := ActivationOf(c.Node)
	if err != nil {
		return err
	}
	x, w := c.In[0], c.In[1]
	g, err := spatial.Resolve(c.Node, x.Shape, w.Shape)
	if err != nil {
		return err
	}
	y, err := spatial.Conv(g, num.Floats(x), num.Floats(w))
	if err != nil {
		return err
	}
	if b := c.Input(2); b != nil {
		if b.Len() != g.Out {
			return fmt.Errorf("bias is %s, expected %d numbers", b, g.Out)
		}
		v, area := num.Floats(b), tensor.Count(g.Shape[2:])
		for i := range y {
			y[i] += v[i/area%g.Out]
		}
	}
	if z := c.Input(3); z != nil {
		if !shape.Of(z.Shape...).Equal(shape.Of(g.Shape...)) {
			return fmt.Errorf("residual is %s, expected the output's shape %v", z, g.Shape)
		}
		for i, v := range num.Floats(z) {
			y[i] += v
		}
	}
	a.Each(y)
	num.SetFloats(c.Output(0, x.DType, g.Shape...), y)
	return nil
}

func compileConv(p *op.Prep) (op.Kernel, error) {
	a, err := ActivationOf(p.Node)
	if err != nil {
		return nil, err
	}
	s := spatial.Spec{Activation: a}
	if p.Has(2) {
		s.Bias = 2
	}
	if p.Has(3) {
		s.Residual = 3
	}
	return spatial.CompileConv(p, s)
}

// rowsConv: the residual carries the batch as the input does.
func rowsConv(n *ir.Node, in []int) ([]int, bool) {
	for i, a := range in {
		want := op.NoRows
		if i == 0 || i == 3 && n.In[i] != nil {
			want = 0
		}
		if a != want && n.In[i] != nil {
			return nil, false
		}
	}
	return []int{0}, true
}
