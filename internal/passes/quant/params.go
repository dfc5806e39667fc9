package quant

import (
	"fmt"
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/passes/match"
	"github.com/salver-ml/salver/internal/tensor"
)

// format is what the bytes of a tensor stand for: (q - zero) · scale.
type format struct {
	dt    dtype.Type
	scale float32
	zero  int
}

// limits are the least and the largest number.
func (f format) limits() (lo, hi int) {
	if f.dt == dtype.Int8 {
		return -128, 127
	}
	return 0, 255
}

// quantize gives the number that stands for x.
func (f format) quantize(x float32) int {
	lo, hi := f.limits()
	q := math.RoundToEven(float64(x/f.scale)) + float64(f.zero)
	return int(min(max(q, float64(lo)), float64(hi)))
}

// scalarFormat reads one scale and an optional zero point, both constant.
func scalarFormat(scale, zero *ir.Value, dt dtype.Type) (f format, ok bool) {
	s, ok := match.Scalar(scale)
	if !ok || !(s > 0) || math.IsInf(float64(s), 0) || dt != dtype.Uint8 && dt != dtype.Int8 {
		return f, false
	}
	f = format{dt: dt, scale: s}
	if zero == nil {
		return f, true
	}
	if !zero.IsConst() || zero.Const.Len() != 1 || zero.Const.DType != dt {
		return f, false
	}
	f.zero = int(num.Int64s(zero.Const)[0])
	return f, true
}

// isOp reports whether n is an operator of ONNX that onnxruntime has too.
func isOp(n *ir.Node, name string) bool {
	return n != nil && n.Op == name && (n.Domain == "" || n.Domain == op.Microsoft)
}

// dequantized gives the bytes that v is dequantized from, with one scale.
func dequantized(v *ir.Value) (src *ir.Value, f format, ok bool) {
	if !match.Float32(v) || !isOp(v.Producer, "DequantizeLinear") {
		return nil, f, false
	}
	n := v.Producer
	f, ok = scalarFormat(n.In[1], n.Input(2), n.In[0].Type.DType)
	return n.In[0], f, ok
}

// quantizer gives the format that n quantizes float32 to, with one scale.
func quantizer(n *ir.Node) (f format, ok bool) {
	if !isOp(n, "QuantizeLinear") || !match.Float32(n.In[0]) {
		return f, false
	}
	if by := n.DType("precision"); by != dtype.Invalid && by != dtype.Float32 {
		return f, false
	}
	return scalarFormat(n.In[1], n.Input(2), n.Out[0].Type.DType)
}

// weights are constant numbers of 8 bits, less their zero points.
type weights struct {
	data  *tensor.Tensor // int8, or int16 where that is too small
	scale []float32      // one, or one for each index of the axis
	axis  int            // of the outputs
}

// dequantizedWeights reads constant weights with one scale, or one for each index of
// an axis; why says what forbids it.
func dequantizedWeights(v *ir.Value, axis int) (w weights, why string) {
	if !match.Float32(v) || !isOp(v.Producer, "DequantizeLinear") {
		return w, fmt.Sprintf("the weights %q are not quantized", v.Name)
	}
	n := v.Producer
	if !n.In[0].IsConst() || !n.In[1].IsConst() || n.Input(2) != nil && !n.In[2].IsConst() {
		return w, fmt.Sprintf("the weights %q are not constant", v.Name)
	}
	scale := n.In[1].Const
	if scale.DType != dtype.Float32 || scale.Len() > 1 && (scale.Rank() != 1 || n.Has("block_size") && n.Int("block_size") != 0 || axisOf(n, n.In[0].Const.Rank()) != axis) {
		return w, fmt.Sprintf("the scales %q of %s run along another axis than %d", n.In[1].Name, scale, axis)
	}
	return newWeights(n.In[0].Const, scale, constant(n.Input(2)), axis)
}

func constant(v *ir.Value) *tensor.Tensor {
	if v == nil {
		return nil
	}
	return v.Const
}

func axisOf(n *ir.Node, rank int) int {
	axis := 1
	if n.Has("axis") {
		axis = n.Int("axis")
	}
	if axis < 0 {
		axis += rank
	}
	return axis
}

// newWeights subtracts zero points.
func newWeights(q, scale, zero *tensor.Tensor, axis int) (w weights, why string) {
	if q.DType != dtype.Int8 && q.DType != dtype.Uint8 {
		return w, fmt.Sprintf("the weights are %s, not of 8 bits", q)
	}
	w = weights{data: q, scale: tensor.Of[float32](scale), axis: axis}
	if n := len(w.scale); axis >= q.Rank() || n != 1 && n != q.Shape[axis] {
		return w, fmt.Sprintf("the weights are %s, with %d scales", q, n)
	}
	zeros := []int64{0}
	if zero != nil {
		zeros = num.Int64s(zero)
	}
	if n := len(zeros); n != 1 && n != q.Shape[axis] {
		return w, fmt.Sprintf("the weights are %s, with %d zero points", q, n)
	}
	if q.DType == dtype.Int8 && allZero(zeros) {
		return w, ""
	}
	inner := tensor.Count(q.Shape[axis+1:])
	v := num.Int64s(q)
	for i := range v {
		v[i] -= zeros[i/inner%q.Shape[axis]%len(zeros)]
	}
	dt := dtype.Int8
	if len(v) > 0 && (slices.Min(v) < -128 || slices.Max(v) > 127) {
		dt = dtype.Int16
	}
	w.data = tensor.New(dt, q.Shape...)
	num.SetInt64s(w.data, v)
	return w, ""
}

// wide reports whether the weights are more than 8 bits.
func (w weights) wide() bool { return w.data.DType == dtype.Int16 }

func allZero(v []int64) bool {
	for _, x := range v {
		if x != 0 {
			return false
		}
	}
	return true
}

// multiplier is what sums of products are multiplied with, one number for each
// scale of the weights.
func (w weights) multiplier(x, y float32) *tensor.Tensor {
	m := make([]float32, len(w.scale))
	for i, s := range w.scale {
		m[i] = float32(float32(x*s) / y)
	}
	return tensor.FromSlice(m, len(m))
}

// bias gives a constant bias as integers in units of the scales of the products;
// nil if there is none.
func (w weights) bias(v *ir.Value, n int, x float32) (b *tensor.Tensor, why string) {
	if v == nil {
		return nil, ""
	}
	f, err := floatsOf(v)
	if err != nil || len(f) != n {
		return nil, fmt.Sprintf("the bias %q is no constant of %d numbers", v.Name, n)
	}
	return w.rounded(f, v.Name, x)
}

// rounded is bias for numbers that are known.
func (w weights) rounded(f []float64, name string, x float32) (b *tensor.Tensor, why string) {
	n := len(f)
	out := make([]int32, n)
	magnitude := w.magnitudes(n)
	for i, s := range f {
		q := math.RoundToEven(s / (float64(x) * float64(w.scale[i%len(w.scale)])))
		if !(math.Abs(q) <= 1.001*math.MaxInt32) {
			return nil, fmt.Sprintf("number %d of the bias %q is %g in units of the products' scale, more than 32 bits hold", i, name, q)
		}
		// Channels without weights have a tiny scale and a bias at the limit.
		room := math.MaxInt32 - 255*magnitude[i]
		out[i] = int32(min(max(q, -room), room))
	}
	return tensor.FromSlice(out, n), ""
}

// magnitudes adds up the weights of each of n outputs, which run along the first
// axis of a convolution's weights and the second of a matrix.
func (w weights) magnitudes(n int) []float64 {
	if w.wide() {
		return magnitudes(tensor.Of[int16](w.data), n, w.axis)
	}
	return magnitudes(tensor.Of[int8](w.data), n, w.axis)
}

func magnitudes[T int8 | int16](v []T, n, axis int) []float64 {
	sums := make([]float64, n)
	if n == 0 {
		return sums
	}
	per, step := len(v)/n, 1
	if axis == 1 {
		per, step = 1, n
	}
	for o := range sums {
		sum := 0
		for i := range len(v) / n {
			x := int(v[o*per+i*step])
			sum += max(x, -x)
		}
		sums[o] = float64(sum)
	}
	return sums
}

// floatsOf reads a constant, or one that is dequantized.
func floatsOf(v *ir.Value) ([]float64, error) {
	if v.IsConst() {
		return num.Floats(v.Const), nil
	}
	n := v.Producer
	if !isOp(n, "DequantizeLinear") || !n.In[0].IsConst() || !n.In[1].IsConst() || n.Input(2) != nil && !n.In[2].IsConst() {
		return nil, fmt.Errorf("not constant")
	}
	q, s := num.Floats(n.In[0].Const), num.Floats(n.In[1].Const)
	zero := []float64{0}
	if n.Input(2) != nil {
		zero = num.Floats(n.In[2].Const)
	}
	if len(s) != 1 && len(s) != len(q) || len(zero) != 1 && len(zero) != len(q) {
		return nil, fmt.Errorf("not a vector")
	}
	for i := range q {
		q[i] = (q[i] - zero[i%len(zero)]) * s[i%len(s)]
	}
	return q, nil
}
