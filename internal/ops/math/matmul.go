package math

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/linear"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Name: "MatMul", Versions: []int{1, 9, 13},
		In: op.Ports("A:T", "B:T"), Out: op.Ports("Y:T"), Types: op.Types{"T": op.Numeric},
		Infer: inferMatMul, Ref: matMulRef, Compile: wide.Compile(compileMatMul), Flops: linear.Flops, Rows: linear.Rows,
		Cases: matMulCases{},
	})
	gemm := op.Op{
		Name: "Gemm", Out: op.Ports("Y:T"), Types: op.Types{"T": op.Numeric},
		Attrs: op.Attrs{"alpha": op.Default(ir.Float(1)), "beta": op.Default(ir.Float(1)), "transA": op.Default(ir.Int(0)), "transB": op.Default(ir.Int(0))},
		Infer: inferGemm, Ref: gemmRef, Compile: wide.Compile(compileGemm), Flops: linear.Flops, Rows: rowsGemm,
	}
	old := gemm
	old.Versions, old.In = []int{7, 9}, op.Ports("A:T", "B:T", "C:T")
	op.Register(&old)
	gemm.Versions, gemm.In = []int{11, 13}, op.Ports("A:T", "B:T", "C:T?")
	gemm.Cases = gemmCases{}
	op.Register(&gemm)
}

type matMulCases struct{}

func (matMulCases) Cases() []op.Case {
	return []op.Case{
		{Name: "2x2", In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2, 3, 4}, 2, 2), tensor.FromSlice([]float32{5, 6, 7, 8}, 2, 2)},
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{19, 22, 43, 50}, 2, 2)}},
		{Name: "vector by matrix", In: []*tensor.Tensor{tensor.FromSlice([]int64{1, 2}), tensor.FromSlice([]int64{5, 6, 7, 8}, 2, 2)},
			Out: []*tensor.Tensor{tensor.FromSlice([]int64{19, 22})}},
		{Name: "dot", In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2}), tensor.FromSlice([]float32{5, 6})}, Out: []*tensor.Tensor{tensor.Scalar[float32](17)}},
		{Name: "matrix by vector", In: []*tensor.Tensor{ramp([]int{2, 3, 7}, 1), ramp([]int{7}, 1)}},
		{Name: "weights", In: []*tensor.Tensor{ramp([]int{3, 5, 37}, .1), ramp([]int{37, 50}, .2)}},
		{Name: "one row", In: []*tensor.Tensor{ramp([]int{1, 65}, .1), ramp([]int{65, 33}, .2)}},
		{Name: "batches", In: []*tensor.Tensor{ramp([]int{2, 1, 4, 9}, .1), ramp([]int{3, 9, 17}, .2)}},
		{Name: "same batches", In: []*tensor.Tensor{ramp([]int{2, 3, 4, 9}, .1), ramp([]int{2, 3, 9, 17}, .2)}},
		{Name: "float64", In: []*tensor.Tensor{doubleRamp(2, 3, 7), doubleRamp(7, 21)}}, {Name: "float64, batches", In: []*tensor.Tensor{doubleRamp(2, 1, 1, 5), doubleRamp(3, 5, 8)}},
		{Name: "float64 by vector", In: []*tensor.Tensor{doubleRamp(4, 9), doubleRamp(9)}}, {Name: "float64, empty", In: []*tensor.Tensor{doubleRamp(2, 0), doubleRamp(0, 9)}},
		{Name: "empty", In: []*tensor.Tensor{tensor.FromSlice([]float32{}, 2, 0), tensor.FromSlice([]float32{}, 0, 3)}, Out: []*tensor.Tensor{tensor.FromSlice(make([]float32, 6), 2, 3)}},
	}
}

func doubleRamp(shape ...int) *tensor.Tensor {
	v := make([]float64, tensor.Count(shape))
	for i := range v {
		v[i] = float64(i%13)/7 - 0.9
	}
	return tensor.FromSlice(v, shape...)
}

type gemmCases struct{}

func (gemmCases) Cases() []op.Case {
	at := map[string]*ir.Attr{"transA": ir.Int(1), "transB": ir.Int(1), "alpha": ir.Float(.5), "beta": ir.Float(2)}
	cases := []op.Case{
		{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2, 3, 4}, 2, 2), tensor.FromSlice([]float32{5, 6, 7, 8}, 2, 2), tensor.FromSlice([]float32{1, -1})},
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{20, 21, 44, 49}, 2, 2)}},
		{Name: "no C", In: []*tensor.Tensor{ramp([]int{3, 19}, .1), ramp([]int{19, 40}, .2)}},
		{Name: "column C", In: []*tensor.Tensor{ramp([]int{3, 19}, .1), ramp([]int{19, 40}, .2), ramp([]int{3, 1}, 1)}},
		{Name: "transposed", In: []*tensor.Tensor{ramp([]int{19, 3}, .1), ramp([]int{40, 19}, .2), ramp([]int{40}, 1)}, Attrs: at},
		{Name: "float64", In: []*tensor.Tensor{doubleRamp(37, 19), doubleRamp(19, 53)}}, {Name: "float64, many rows", In: []*tensor.Tensor{doubleRamp(37, 19), doubleRamp(19, 2), doubleRamp(1, 2)}},
		{Name: "float64, transposed", In: []*tensor.Tensor{doubleRamp(19, 30), doubleRamp(31, 19), doubleRamp(31)}, Attrs: at}, {Name: "float64, a number for each row", In: []*tensor.Tensor{doubleRamp(19, 30), doubleRamp(3, 19), doubleRamp(30, 1)}, Attrs: at},
		{Name: "float64, empty", In: []*tensor.Tensor{doubleRamp(3, 0), doubleRamp(0, 30), doubleRamp(30)}},
		{Name: "fully connected", In: []*tensor.Tensor{ramp([]int{3, 19}, .1), ramp([]int{40, 19}, .2), ramp([]int{40}, 1)}, Attrs: map[string]*ir.Attr{"transB": ir.Int(1)}},
	}
	for _, c := range [][]int{{}, {1}, {1, 1}, {37}, {1, 37}, {3, 1}, {3, 37}} { // those of one row are matrices where A has one row
		for _, beta := range []float32{1, .3} {
			cases = append(cases, op.Case{Name: fmt.Sprintf("%g times C of %v", beta, c), In: []*tensor.Tensor{ramp([]int{3, 19}, .1), ramp([]int{19, 37}, .2), ramp(c, .7)},
				Attrs: map[string]*ir.Attr{"alpha": ir.Float(-.7), "beta": ir.Float(beta)}})
		}
	}
	return cases
}

func inferMatMul(c *op.Infer) error {
	s, err := linear.MatMulShape(c.In[0].Shape, c.In[1].Shape)
	if err != nil {
		return err
	}
	c.Set(0, c.In[0].DType, s)
	return nil
}

func matMulRef(c *op.Call) error {
	a, b := c.In[0], c.In[1]
	m, err := linear.NewMatMul(a.Shape, b.Shape)
	if err != nil {
		return err
	}
	y := c.Output(0, a.DType, m.Shape...)
	if a.DType.IsInt() {
		num.SetInt64s(y, linear.Multiply(m, num.Int64s(a), num.Int64s(b)))
	} else {
		num.SetFloats(y, linear.Multiply(m, num.Floats(a), num.Floats(b)))
	}
	return nil
}

func inferGemm(c *op.Infer) error {
	a, b := c.In[0].Shape, c.In[1].Shape
	if a == nil || b == nil {
		c.Set(0, c.In[0].DType, nil)
		return nil
	}
	if len(a) != 2 || len(b) != 2 {
		return fmt.Errorf("expected matrices A and B, found shapes %v and %v", a, b)
	}
	if c.Node.Bool("transA") {
		a = shapeOf(a[1], a[0])
	}
	if c.Node.Bool("transB") {
		b = shapeOf(b[1], b[0])
	}
	s, err := linear.MatMulShape(a, b)
	if err != nil {
		return err
	}
	if bias := c.Input(2); bias.Present && bias.Shape != nil {
		if err := stretches(bias.Shape, s); err != nil {
			return fmt.Errorf("C: %w", err)
		}
	}
	c.Set(0, c.In[0].DType, s)
	return nil
}

func gemmRef(c *op.Call) error {
	a, b := c.In[0], c.In[1]
	if len(a.Shape) != 2 || len(b.Shape) != 2 {
		return fmt.Errorf("expected matrices A and B, found %s and %s", a, b)
	}
	n := c.Node
	av, as := num.Floats(a), a.Shape
	bv, bs := num.Floats(b), b.Shape
	if n.Bool("transA") {
		av, as = transpose(av, as)
	}
	if n.Bool("transB") {
		bv, bs = transpose(bv, bs)
	}
	m, err := linear.NewMatMul(as, bs)
	if err != nil {
		return err
	}
	v := linear.Multiply(m, av, bv)
	alpha, beta := float64(n.Float("alpha")), float64(n.Float("beta"))
	for i := range v {
		v[i] *= alpha
	}
	if bias := c.Input(2); bias != nil {
		if s, err := num.BroadcastShape(bias.Shape, m.Shape); err != nil || len(s) != 2 || tensor.Count(s) != len(v) {
			return fmt.Errorf("C has shape %v, which does not broadcast to %v", bias.Shape, m.Shape)
		}
		for i, x := range num.Broadcast(num.Floats(bias), bias.Shape, m.Shape) {
			v[i] += beta * x
		}
	}
	num.SetFloats(c.Output(0, a.DType, m.Shape...), v)
	return nil
}

func transpose(v []float64, s []int) ([]float64, []int) {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i%s[1]*s[0]+i/s[1]] = x
	}
	return out, []int{s[1], s[0]}
}

// rowsGemm: rows of A are rows of Y unless A is transposed, when its columns are.
func rowsGemm(n *ir.Node, in []int) ([]int, bool) {
	want := 0
	if n.Bool("transA") {
		want = 1
	}
	if in[0] != want || in[1] != op.NoRows {
		return nil, false
	}
	bias := n.Input(2)
	switch {
	case bias == nil:
	case in[2] != op.NoRows:
		if len(bias.Type.Shape) != 2 || in[2] != 0 {
			return nil, false
		}
	case bias.Type.Shape == nil || len(bias.Type.Shape) == 2 && !bias.Type.Shape[0].Is(1):
		return nil, false
	}
	return []int{0}, true
}

func compileMatMul(p *op.Prep) (op.Kernel, error) {
	if p.In[0].DType == dtype.Float64 {
		return newDoubles(p, false, false, 1, 0)
	}
	return linear.Compile(p, linear.Spec{})
}

// compileGemm has a kernel for every C: one for the columns is a whole matrix where there is
// one row, and has the same bits with many.
func compileGemm(p *op.Prep) (op.Kernel, error) {
	n := p.Node
	s := linear.Spec{TransA: n.Bool("transA"), TransB: n.Bool("transB"), Alpha: n.Float("alpha")}
	if p.In[0].DType == dtype.Float64 {
		return newDoubles(p, s.TransA, s.TransB, float64(s.Alpha), float64(n.Float("beta")))
	}
	if s.Alpha == 0 || p.Has(2) && n.Float("beta") == 0 {
		return nil, nil
	}
	if p.Has(2) && !s.Add(2, p.InShape(2), p.OutShape(0), n.Float("beta")) {
		return nil, nil
	}
	return linear.Compile(p, s)
}
