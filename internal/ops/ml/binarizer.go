package ml

import (
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: domain, Name: "Binarizer", Versions: []int{1}, Doc: "1 for elements above the threshold, else 0",
		In: op.Ports("X:T"), Out: op.Ports("Y:T"), Types: op.Types{"T": features}, Attrs: op.Attrs{"threshold": op.Default(ir.Float(0))},
		Infer: op.SameAsInput, Ref: binarizerRef, Rows: op.RowsBroadcast,
		Cases: binarizerCases{},
	})
}

type binarizerCases struct{}

func (binarizerCases) Cases() []op.Case {
	return []op.Case{{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]float32{-1, .5, .6, 2})}, Attrs: map[string]*ir.Attr{"threshold": ir.Float(.5)},
		Out: []*tensor.Tensor{tensor.FromSlice([]float32{0, 0, 1, 1})}}}
}

func binarizerRef(c *op.Call) error {
	v := num.Floats(c.In[0])
	threshold := float64(c.Node.Float("threshold"))
	for i, x := range v {
		v[i] = 0
		if x > threshold {
			v[i] = 1
		}
	}
	num.SetFloats(c.Output(0, c.In[0].DType, c.In[0].Shape...), v)
	return nil
}
