package contrib

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/linear"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "QGemm", Versions: []int{1}, Doc: "Gemm of bytes, with C on the scale alpha·a_scale·b_scale; without y_scale the result is float32",
		In:  op.Ports("A:TA", "a_scale:float32", "a_zero_point:TA", "B:TB", "b_scale:float32", "b_zero_point:TB", "C:int32?", "y_scale:float32?", "y_zero_point:TYZ?"),
		Out: op.Ports("Y:TY"), Types: op.Types{"TA": bytes8, "TB": bytes8, "TYZ": bytes8, "TY": {dtype.Float32, dtype.Uint8, dtype.Int8}},
		Attrs: op.Attrs{"alpha": op.Default(ir.Float(1)), "transA": op.Default(ir.Int(0)), "transB": op.Default(ir.Int(0))},
		Infer: inferQGemm, Ref: qgemmRef, Rows: rowsQGemm,
		Cases: qGemmCases{},
	})
}

type qGemmCases struct{}

func (qGemmCases) Cases() []op.Case {
	a, b := tensor.FromSlice([]uint8{1, 2, 3, 4}, 2, 2), tensor.FromSlice([]int8{1, 0, -1, 2}, 2, 2)
	zero, none := tensor.Scalar[uint8](0), tensor.Scalar[int8](0)
	return []op.Case{
		{Name: "float", In: []*tensor.Tensor{a, scalar32(2), zero, b, tensor.FromSlice([]float32{1, 10}), none, tensor.FromSlice([]int32{1, -1})},
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{0, 60, 0, 140}, 2, 2)}},
		{Name: "bytes", In: []*tensor.Tensor{a, scalar32(1), zero, b, scalar32(1), none, nil, scalar32(.5), tensor.Scalar[uint8](10)}, Attrs: map[string]*ir.Attr{"transB": ir.Int(1), "alpha": ir.Float(2)},
			Out: []*tensor.Tensor{tensor.FromSlice([]uint8{14, 22, 22, 30}, 2, 2)}},
	}
}

func inferQGemm(c *op.Infer) error {
	s := shape.Unknowns(2)
	for i, in := range []op.Fact{c.In[0], c.In[3]} {
		if in.Shape == nil {
			continue
		}
		if len(in.Shape) != 2 {
			return fmt.Errorf("%s has shape %v, expected a matrix", []string{"A", "B"}[i], in.Shape)
		}
		trans := c.Node.Bool([]string{"transA", "transB"}[i])
		s[i] = in.Shape[i]
		if trans {
			s[i] = in.Shape[1-i]
		}
	}
	dt := dtype.Float32
	if z := c.Input(8); z.Present {
		dt = z.DType
	} else if c.Input(7).Present {
		dt = c.In[0].DType
	}
	c.Set(0, dt, s)
	return nil
}

func rowsQGemm(n *ir.Node, in []int) ([]int, bool) {
	for i, a := range in {
		if i > 0 && a != op.NoRows && n.In[i] != nil {
			return nil, false
		}
	}
	if in[0] != 0 || n.Bool("transA") {
		return nil, false
	}
	if c := n.Input(6); c != nil && (c.Type.Shape == nil || len(c.Type.Shape) > 1 && !c.Type.Shape[0].Is(1)) {
		return nil, false
	}
	return []int{0}, true
}

// matrixOf reads integers less their zero points as a matrix, transposed if asked.
func matrixOf(name string, t, zero *tensor.Tensor, trans bool) ([]int64, []int, error) {
	if len(t.Shape) != 2 {
		return nil, nil, fmt.Errorf("%s is %s, expected a matrix", name, t)
	}
	z, err := columns(name+"'s zero point", zero, t.Shape[1])
	if trans && zero != nil && zero.Len() > 1 {
		z, err = columns(name+"'s zero point", zero, t.Shape[0])
	}
	if err != nil {
		return nil, nil, err
	}
	v := num.Int64s(t)
	for i := range v {
		at := i % t.Shape[1]
		if trans && zero != nil && zero.Len() > 1 {
			at = i / t.Shape[1]
		}
		v[i] -= int64(z[at])
	}
	if !trans {
		return v, t.Shape, nil
	}
	rows, cols := t.Shape[0], t.Shape[1]
	out := make([]int64, len(v))
	for i := range out {
		out[i] = v[i%rows*cols+i/rows]
	}
	return out, []int{cols, rows}, nil
}

func qgemmRef(c *op.Call) error {
	n := c.Node
	if z := c.In[2]; z.Len() != 1 {
		return fmt.Errorf("a_zero_point is %s, expected one number", z)
	}
	a, as, err := matrixOf("A", c.In[0], c.In[2], n.Bool("transA"))
	if err != nil {
		return err
	}
	b, bs, err := matrixOf("B", c.In[3], c.In[5], n.Bool("transB"))
	if err != nil {
		return err
	}
	m, err := linear.NewMatMul(as, bs)
	if err != nil {
		return err
	}
	if c.In[1].Len() != 1 {
		return fmt.Errorf("a_scale is %s, expected one number", c.In[1])
	}
	bScale, err := columns("b_scale", c.In[4], m.N)
	if err != nil {
		return err
	}
	acc := linear.Multiply(m, a, b)
	if t := c.Input(6); t != nil {
		full, err := num.BroadcastShape(t.Shape, m.Shape)
		if err != nil || tensor.Count(full) != len(acc) || len(full) != 2 {
			return fmt.Errorf("C is %s, which does not broadcast to %v", t, m.Shape)
		}
		for i, v := range num.Broadcast(num.Int64s(t), t.Shape, m.Shape) {
			acc[i] += v
		}
	}
	scale := float32(n.Float("alpha") * tensor.Of[float32](c.In[1])[0])
	y := make([]float32, len(acc))
	for i, s := range acc {
		y[i] = float32(s) * float32(scale*float32(bScale[i%m.N]))
	}
	if c.Input(7) == nil {
		num.SetFloat32s(c.Output(0, dtype.Float32, m.Shape...), y)
		return nil
	}
	dt := c.In[0].DType
	if z := c.Input(8); z != nil {
		dt = z.DType
	}
	return quantize(c, y, dt, m.Shape, c.In[7], c.Input(8))
}
