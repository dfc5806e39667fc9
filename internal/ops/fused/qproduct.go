package fused

import (
	"fmt"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/qconv"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/linear"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: op.Salver, Name: "QMatMul", Versions: []int{1},
		Doc: "saturate(round(float32(bias + (X - x_zero)·W) · scale) + y_zero), at least lo and at most hi: a product of 8-bit integers by a matrix, with a bias and a scale for each column.",
		In:  op.Ports("X:T1", "W:int8", "scale:float32", "bias:int32?"), Out: op.Ports("Y:T2"), Types: op.Types{"T1": bytes8, "T2": bytes8}, Attrs: quantAttrs(op.Attrs{}),
		Infer: inferQMatMul, Ref: qMatMulRef, Compile: compileQMatMul, Flops: linear.Flops, Rows: rowsQMatMul,
		Cases: qMatMulCases{},
	})
}

type qMatMulCases struct{}

func (qMatMulCases) Cases() []op.Case {
	return []op.Case{
		{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]uint8{3, 5}, 1, 2), tensor.FromSlice([]int8{2, -1, 4, 7}, 2, 2), tensor.FromSlice([]float32{.5, 2}), tensor.FromSlice([]int32{-3, 1})},
			Attrs: map[string]*ir.Attr{"x_zero": ir.Int(1), "y_zero": ir.Int(10)}, Out: []*tensor.Tensor{tensor.FromSlice([]uint8{18, 64}, 1, 2)}},
		{Name: "rows", In: []*tensor.Tensor{bytesOf[int8](3, 7, 40), bytesOf[int8](40, 33), tensor.Scalar[float32](.0004)},
			Attrs: map[string]*ir.Attr{"x_zero": ir.Int(-3), "y_zero": ir.Int(-10), "y_type": ir.Int(int(dtype.Int8)), "lo": ir.Int(-100), "hi": ir.Int(100)}},
	}
}

func inferQMatMul(c *op.Infer) error {
	dt, err := yType(c.Node)
	if err != nil {
		return err
	}
	w := c.In[1].Shape
	if w != nil && len(w) != 2 {
		return fmt.Errorf("W has shape %v, expected a matrix", w)
	}
	s, err := linear.MatMulShape(c.In[0].Shape, w)
	if err != nil {
		return err
	}
	c.Set(0, dt, s)
	return nil
}

func rowsQMatMul(n *ir.Node, in []int) ([]int, bool) {
	for _, a := range in[1:] {
		if a != op.NoRows {
			return nil, false
		}
	}
	return linear.Rows(n, in[:2])
}

// qMatMulParams makes the product a convolution of m pixels, and turns W.
func qMatMulParams(n *ir.Node, x []int, w *tensor.Tensor, xt dtype.Type) (p qconv.Params, m int, turnedW *tensor.Tensor, dims []int, err error) {
	mm, err := linear.NewMatMul(x, w.Shape)
	if err != nil {
		return p, 0, nil, nil, err
	}
	p = qconv.Params{In: mm.K, Out: mm.N, Kernel: []int{1, 1}}
	quantParams(n, &p, xt)
	t := &tensor.Tensor{DType: dtype.Int8, Shape: []int{mm.N, mm.K}, Data: turned(w.Data, 1, mm.K, mm.N)}
	return p, tensor.Count(mm.Shape) / max(mm.N, 1), t, mm.Shape, nil
}

func qMatMulRef(c *op.Call) error {
	p, m, w, dims, err := qMatMulParams(c.Node, c.In[0].Shape, c.In[1], c.In[0].DType)
	if err != nil {
		return err
	}
	y := c.Output(0, c.Node.DType("y_type"), dims...)
	if m == 0 || p.Out == 0 {
		return nil
	}
	if p.In == 0 {
		return fmt.Errorf("X has shape %v: nothing to add up", c.In[0].Shape)
	}
	return qconv.Reference(p, 1, m, 1, c.In[0].Data, weightsOf(w, c.In[2], c.Input(3)), nil, y.Data)
}

func compileQMatMul(p *op.Prep) (op.Kernel, error) {
	for i := 1; i < 4; i++ {
		if p.Has(i) && p.In[i].Const == nil {
			return nil, nil // the passes make constants only
		}
	}
	prm, m, w, _, err := qMatMulParams(p.Node, p.InShape(0), p.In[1].Const, p.In[0].DType)
	if err != nil {
		return nil, err
	}
	if m*prm.In*prm.Out == 0 {
		return nil, nil
	}
	plan, err := qconv.New(prm, m, 1, cpu.Level())
	if err != nil {
		return nil, err
	}
	k := &qConvKernel{n: 1, scratch: plan.ScratchSize(p.Threads), run: plan.NewRunner()}
	k.packed, err = packQConv(p, plan, cpu.Level(), w, p.In[2].Const, constOf(p, 3))
	return k, err
}
