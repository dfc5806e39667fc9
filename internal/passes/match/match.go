// Package match holds the small questions that passes ask about a graph.
package match

import (
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/tensor"
)

// Producer gives the node that computes v if it is the ONNX operator op.
func Producer(v *ir.Value, op string) *ir.Node {
	if v == nil || !v.Producer.Is(op) {
		return nil
	}
	return v.Producer
}

// Private reports whether v is read once and is no output, so that its
// producer may be merged into its reader.
func Private(v *ir.Value) bool { return len(v.Uses()) == 1 && !v.IsOutput() }

// Scalar gives the value of a float constant with a single element.
func Scalar(v *ir.Value) (float32, bool) {
	if !v.IsConst() || v.Const.DType != dtype.Float32 || v.Const.Len() != 1 {
		return 0, false
	}
	return tensor.Of[float32](v.Const)[0], true
}

// Number is Scalar for constants of float16 and bfloat16 too.
func Number(v *ir.Value) (float32, bool) {
	if !v.IsConst() || v.Const.Len() != 1 {
		return 0, false
	}
	switch v.Const.DType {
	case dtype.Float32, dtype.Float16, dtype.BFloat16:
		return num.Float32s(v.Const)[0], true
	}
	return 0, false
}

// ScalarOperand splits a binary node into its other operand and a scalar
// constant, which may stand on either side.
func ScalarOperand(n *ir.Node) (x *ir.Value, s float32, ok bool) { return operand(n, Scalar) }

// NumberOperand is ScalarOperand for constants of float16 and bfloat16 too.
func NumberOperand(n *ir.Node) (x *ir.Value, s float32, ok bool) { return operand(n, Number) }

func operand(n *ir.Node, read func(*ir.Value) (float32, bool)) (x *ir.Value, s float32, ok bool) {
	if len(n.In) != 2 {
		return nil, 0, false
	}
	if s, ok := read(n.In[1]); ok {
		return n.In[0], s, true
	}
	if s, ok := read(n.In[0]); ok {
		return n.In[1], s, true
	}
	return nil, 0, false
}

// Near reports whether a and b agree to within float32's printing precision of
// constants in exported models.
func Near(a, b float32) bool {
	d := a - b
	if d < 0 {
		d = -d
	}
	if b < 0 {
		b = -b
	}
	return d <= 1e-4*b
}

// Either tries f on the operands of a binary node in both orders.
func Either(n *ir.Node, f func(a, b *ir.Value) bool) bool {
	return len(n.In) == 2 && n.In[0] != nil && n.In[1] != nil && (f(n.In[0], n.In[1]) || f(n.In[1], n.In[0]))
}

// Float32 reports whether v is a float32 tensor.
func Float32(v *ir.Value) bool { return v != nil && v.Type.DType == dtype.Float32 }

// Float32s gives the contents of a float32 constant.
func Float32s(v *ir.Value) ([]float32, bool) {
	if !v.IsConst() || v.Const.DType != dtype.Float32 {
		return nil, false
	}
	return tensor.Of[float32](v.Const), true
}

// NormAffine gives the factor and the term by which an inference-time
// BatchNormalization with constant parameters maps each channel.
func NormAffine(n *ir.Node) (scale, shift []float32, ok bool) {
	var p [4][]float32 // scale, bias, mean, variance
	for i := range p {
		if p[i], ok = Float32s(n.Input(1 + i)); !ok {
			return nil, nil, false
		}
	}
	eps := float64(n.Float("epsilon"))
	scale, shift = make([]float32, len(p[0])), make([]float32, len(p[0]))
	for i := range scale {
		s := float64(p[0][i]) / math.Sqrt(float64(p[3][i])+eps)
		scale[i] = float32(s)
		shift[i] = float32(float64(p[1][i]) - float64(float64(p[2][i])*s))
	}
	return scale, shift, true
}
