package contrib

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/linear"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "MatMulInteger16", Versions: []int{1}, Doc: "the product of 16-bit integers, modulo 2³²",
		In: op.Ports("A:T1", "B:T2"), Out: op.Ports("Y:int32"), Types: op.Types{"T1": {dtype.Int16, dtype.Uint16}, "T2": {dtype.Int16, dtype.Uint16}},
		Infer: func(c *op.Infer) error { return inferIntegerProduct(c, dtype.Int32) }, Rows: linear.Rows, Flops: linear.Flops,
		Ref: func(c *op.Call) error {
			m, err := linear.NewMatMul(c.In[0].Shape, c.In[1].Shape)
			if err != nil {
				return err
			}
			num.SetInt64s(c.Output(0, dtype.Int32, m.Shape...), linear.Multiply(m, num.Int64s(c.In[0]), num.Int64s(c.In[1])))
			return nil
		},
		Cases: matMulInteger16Cases{},
	})
}

type matMulInteger16Cases struct{}

func (matMulInteger16Cases) Cases() []op.Case {
	return []op.Case{{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]int16{1, -300}, 1, 2), tensor.FromSlice([]int16{200, 7}, 2, 1)}, Out: []*tensor.Tensor{tensor.FromSlice([]int32{-1900}, 1, 1)}}}
}
