package fused

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/linear"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: op.Salver, Name: "FusedMatMul", Versions: []int{1},
		Doc: "activation(alpha·A·B + bias + residual): the bias has a number for each column, the residual the output's shape. transA and transB swap the last two dimensions. " +
			"A may be of bfloat16 whatever the others are, and the output is where bf16 is 1.",
		In: op.Ports("A:A", "B:T", "bias:T?", "residual:T?"), Out: op.Ports("Y:Y"), Types: op.Types{"T": op.Floats, "A": op.Floats, "Y": op.Floats},
		Attrs: activationAttrs(op.Attrs{"alpha": op.Default(ir.Float(1)), "transA": op.Default(ir.Int(0)), "transB": op.Default(ir.Int(0)), "bf16": op.Opt(ir.KindInt)}),
		Infer: inferMatMul, Ref: matMulRef, Compile: compileMatMul, Flops: linear.Flops, Rows: rowsMatMul,
		Cases: matMulCases{},
	})
}

type matMulCases struct{}

func (matMulCases) Cases() []op.Case {
	cases := []op.Case{
		{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2, 3, 4}, 2, 2), tensor.FromSlice([]float32{5, 6, 7, 8}, 2, 2), tensor.FromSlice([]float32{-10, 1}), tensor.FromSlice([]float32{1, -40, 0, 0}, 2, 2)},
			Attrs: act("relu"), Out: []*tensor.Tensor{tensor.FromSlice([]float32{10, 0, 33, 51}, 2, 2)}},
		{Name: "transposed", In: []*tensor.Tensor{wave(2, 37, 5), wave(3, 1, 20, 37)}, Attrs: map[string]*ir.Attr{"transA": ir.Int(1), "transB": ir.Int(1), "alpha": ir.Float(.125)}},
		{Name: "residual only", In: []*tensor.Tensor{wave(4, 3, 20), wave(20, 33), nil, wave(4, 3, 33)}},
	}
	stored := act("gelu")
	stored["bf16"] = ir.Int(1)
	cases = append(cases,
		op.Case{Name: "stored in bfloat16", In: []*tensor.Tensor{narrowed(wave(3, 5, 64)), wave(64, 33), wave(33)}, Attrs: stored, Tol: 1e-2},
		op.Case{Name: "read in bfloat16", In: []*tensor.Tensor{narrowed(wave(37, 20)), wave(20, 33), nil, wave(37, 33)}, Tol: 1e-2})
	for name, f := range functions {
		a := act(name)
		if f.params > 0 {
			a["activation_params"] = ir.Floats([]float32{.2, .5}[:f.params]...)
		}
		cases = append(cases, op.Case{Name: name, In: []*tensor.Tensor{wave(3, 20), wave(20, 33), wave(33)}, Attrs: a})
	}
	return cases
}

func act(name string) map[string]*ir.Attr { return map[string]*ir.Attr{"activation": ir.Str(name)} }

// narrowed is t in bfloat16.
func narrowed(t *tensor.Tensor) *tensor.Tensor {
	n := tensor.New(dtype.BFloat16, t.Shape...)
	num.SetFloats(n, num.Floats(t))
	return n
}

// wave makes numbers between -1 and 1.
func wave(dims ...int) *tensor.Tensor {
	v := make([]float32, tensor.Count(dims))
	for i := range v {
		v[i] = float32((i*i*5+i*3)%17-8) / 8
	}
	return tensor.FromSlice(v, dims...)
}

// operands are the shapes of A and B after transposition.
func operands(n *ir.Node, a, b shape.Shape) (shape.Shape, shape.Shape) {
	return swapped(a, n.Bool("transA")), swapped(b, n.Bool("transB"))
}

func swapped(s shape.Shape, trans bool) shape.Shape {
	if !trans || len(s) < 2 {
		return s
	}
	t := append(shape.Shape{}, s...)
	n := len(t)
	t[n-1], t[n-2] = t[n-2], t[n-1]
	return t
}

func inferMatMul(c *op.Infer) error {
	if _, err := ActivationOf(c.Node); err != nil {
		return err
	}
	a, b := operands(c.Node, c.In[0].Shape, c.In[1].Shape)
	s, err := linear.MatMulShape(a, b)
	if err != nil {
		return err
	}
	if len(s) > 0 {
		if bias := c.Input(2); bias.Present && len(b) > 1 && bias.Shape != nil && !bias.Shape.Compatible(s[len(s)-1:]) {
			return fmt.Errorf("bias has shape %v, expected %v", bias.Shape, s[len(s)-1:])
		}
	}
	if r := c.Input(3); r.Present && !r.Shape.Compatible(s) {
		return fmt.Errorf("residual has shape %v, expected the output's %v", r.Shape, s)
	}
	if t := c.In[0].DType; t != c.In[1].DType && t != dtype.BFloat16 {
		return fmt.Errorf("A is %v, expected %v as B is, or bfloat16", t, c.In[1].DType)
	}
	c.Set(0, typeOfProduct(c.Node, c.In[1].DType), s)
	return nil
}

// typeOfProduct is that of B, unless the node says that the output is stored in
// bfloat16.
func typeOfProduct(n *ir.Node, b dtype.Type) dtype.Type {
	if n.Bool("bf16") {
		return dtype.BFloat16
	}
	return b
}

func matMulRef(c *op.Call) error {
	a, err := ActivationOf(c.Node)
	if err != nil {
		return err
	}
	av, as := transposed(c.In[0], c.Node.Bool("transA"))
	bv, bs := transposed(c.In[1], c.Node.Bool("transB"))
	m, err := linear.NewMatMul(as, bs)
	if err != nil {
		return err
	}
	y := linear.Multiply(m, av, bv)
	alpha := float64(c.Node.Float("alpha"))
	for i := range y {
		y[i] *= alpha
	}
	for _, i := range []int{2, 3} {
		t := c.Input(i)
		if t == nil {
			continue
		}
		full, err := num.BroadcastShape(t.Shape, m.Shape)
		if err != nil || tensor.Count(full) != len(y) {
			return fmt.Errorf("input %d is %s, which does not broadcast to %v", i, t, m.Shape)
		}
		for k, x := range num.Broadcast(num.Floats(t), t.Shape, m.Shape) {
			y[k] += x
		}
	}
	a.Each(y)
	num.SetFloats(c.Output(0, typeOfProduct(c.Node, c.In[1].DType), m.Shape...), y)
	return nil
}

// transposed reads a tensor with its last two dimensions swapped if asked.
func transposed(t *tensor.Tensor, trans bool) ([]float64, []int) {
	v := num.Floats(t)
	if !trans || len(t.Shape) < 2 {
		return v, t.Shape
	}
	s := append([]int{}, t.Shape...)
	strides := tensor.Strides(s)
	n := len(s)
	s[n-1], s[n-2] = s[n-2], s[n-1]
	strides[n-1], strides[n-2] = strides[n-2], strides[n-1]
	out := make([]float64, 0, len(v))
	for _, i := range num.Index(s, strides) {
		out = append(out, v[i])
	}
	return out, s
}

func compileMatMul(p *op.Prep) (op.Kernel, error) {
	if linear.StoredOf(p) != (linear.Stored{}) {
		return compileProduct(p)
	}
	return wide.Compile(compileProduct)(p)
}

func compileProduct(p *op.Prep) (op.Kernel, error) {
	a, err := ActivationOf(p.Node)
	if err != nil {
		return nil, err
	}
	s := linear.Spec{TransA: p.Node.Bool("transA"), TransB: p.Node.Bool("transB"), Alpha: p.Node.Float("alpha"), Activation: a}
	if s.Alpha == 0 {
		return nil, nil
	}
	if p.Has(2) {
		s.Bias = 2
	}
	if p.Has(3) {
		s.Residual = 3
	}
	return linear.Compile(p, s)
}

// rowsMatMul is the rule of MatMul for A and B as they are multiplied; the
// residual carries rows where the output does.
func rowsMatMul(n *ir.Node, in []int) ([]int, bool) {
	a, b := n.In[0].Type.Shape, n.In[1].Type.Shape
	if a == nil || b == nil {
		return nil, false
	}
	first := append([]int{}, in[:2]...)
	for i, name := range []string{"transA", "transB"} {
		rank := len(n.In[i].Type.Shape)
		if k := first[i]; n.Bool(name) && rank >= 2 && k >= rank-2 {
			first[i] = 2*rank - 3 - k
		}
	}
	as, bs := operands(n, a, b)
	out, ok := linear.RowsOf(as, bs, first)
	if !ok || len(in) > 2 && n.In[2] != nil && in[2] != op.NoRows {
		return nil, false
	}
	if len(in) > 3 && n.In[3] != nil && in[3] != out[0] {
		return nil, false
	}
	return out, true
}
