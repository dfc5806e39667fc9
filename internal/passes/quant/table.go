package quant

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/passes/match"
	"github.com/salver-ml/salver/internal/tensor"
)

// functions are the operators that give each element of their output from one of
// an input alone, if all others are single constants.
var functions = map[string]bool{
	"Relu": true, "LeakyRelu": true, "Clip": true, "Sigmoid": true, "Tanh": true, "HardSigmoid": true, "HardSwish": true, "Mish": true, "Swish": true,
	"Gelu": true, "Elu": true, "Selu": true, "Celu": true, "Softplus": true, "Softsign": true, "Abs": true, "Neg": true, "Exp": true, "Sqrt": true,
	"Erf": true, "Floor": true, "Ceil": true, "Round": true, "Sign": true, "Reciprocal": true, "Log": true, "ThresholdedRelu": true,
	"Add": true, "Sub": true, "Mul": true, "Div": true, "Pow": true, "Min": true, "Max": true,
}

// table replaces functions of one dequantized tensor by a table of all 256
// results.
func (s *site) table() (*ir.Patch, error) {
	var chain []*ir.Node // from last to first
	v := s.n.In[0]
	for {
		if _, _, ok := dequantized(v); ok {
			break
		}
		n := v.Producer
		x, ok := functionOf(n)
		if !ok || !match.Private(v) {
			return nil, nil
		}
		chain, v = append(chain, n), x
	}
	q, f, _ := dequantized(v)
	if len(chain) == 0 && f == s.y {
		return &ir.Patch{Reason: fmt.Sprintf("%s gives back what was dequantized", s.n), Replace: []ir.Replacement{{Old: s.n.Out[0], New: q}}}, nil
	}
	t, err := tabulate(chain, f, s.y)
	if err != nil {
		return nil, err
	}
	s.f = s.n
	if len(chain) > 0 {
		s.f = chain[0]
	}
	return s.patch("QTable", []*ir.Value{q, s.constant(s.n.Out[0].Name+"_table", t)}, nil), nil
}

// functionOf gives the input of which n computes a function, element by element.
func functionOf(n *ir.Node) (x *ir.Value, ok bool) {
	if n == nil || n.Domain != "" || !functions[n.Op] || len(n.Out) != 1 {
		return nil, false
	}
	for _, v := range n.In {
		switch {
		case v == nil:
		case v.IsConst() && v.Const.Len() == 1:
		case x != nil || v.IsConst():
			return nil, false
		default:
			x = v
		}
	}
	return x, x != nil && match.Float32(x) && match.Float32(n.Out[0]) && len(x.Type.Shape) == len(n.Out[0].Type.Shape)
}

// tabulate computes a chain of functions, the last of which comes first, for all
// numbers of a format.
func tabulate(chain []*ir.Node, from, to format) (*tensor.Tensor, error) {
	x := make([]float32, 256)
	for i := range x {
		q := i
		if from.dt == dtype.Int8 {
			q = int(int8(i))
		}
		x[i] = float32(q-from.zero) * from.scale
	}
	t := tensor.FromSlice(x, 256)
	for i := len(chain) - 1; i >= 0; i-- {
		n := chain[i]
		in := make([]*tensor.Tensor, len(n.In))
		for j, v := range n.In {
			switch {
			case v == nil:
			case v.IsConst():
				in[j] = v.Const.Reshape()
			default:
				in[j] = t
			}
		}
		out, err := op.Evaluate(n, in, nil)
		if err != nil {
			return nil, err
		}
		t = out[0]
	}
	y := tensor.New(to.dt, 256)
	for i, v := range tensor.Of[float32](t) {
		if v != v {
			v = float32(-1e30) // as QuantizeLinear does
		}
		y.Data[i] = byte(to.quantize(v))
	}
	return y, nil
}

// requantize is the table from one format to another.
func requantize(from, to format) *tensor.Tensor {
	t, _ := tabulate(nil, from, to) // nothing to evaluate
	return t
}
