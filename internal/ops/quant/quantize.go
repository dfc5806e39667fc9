// Package quant registers the operators of quantized networks. A quantized
// number q stands for (q - zero point) × scale.
package quant

import (
	"fmt"
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/tensor"
)

// quantized lists the types that numbers are quantized to.
var quantized = append([]dtype.Type{dtype.Uint8, dtype.Int8, dtype.Uint16, dtype.Int16, dtype.Int32, dtype.Uint32}, append(op.Float8[:4:4], op.SubByte...)...)

var scaleTypes = append([]dtype.Type{dtype.Float8E8M0, dtype.Int32}, op.Floats...)

func init() {
	q := op.Op{
		Name: "QuantizeLinear", Out: op.Ports("y:TY"),
		Types: op.Types{"TX": append([]dtype.Type{dtype.Int32}, op.Floats...), "TS": scaleTypes, "TY": quantized},
		In:    op.Ports("x:TX", "y_scale:TS", "y_zero_point:TY?"),
		Infer: inferQuantize, Ref: quantizeRef, Compile: compileQuantize, Rows: rowsScaled,
	}
	versions(q, map[string]op.AttrSpec{
		"output_dtype": op.Default(ir.Int(0)), "saturate": op.Default(ir.Int(1)), "precision": op.Default(ir.Int(0)),
	}, [][]string{{}, {"axis"}, {"axis", "saturate"}, {"axis", "saturate", "block_size", "output_dtype"}, {"axis", "saturate", "block_size", "output_dtype", "precision"}}, func(opset int) op.Cases { return quantizeCases(opset) })
	d := op.Op{
		Name: "DequantizeLinear", Out: op.Ports("y:TY"),
		Types: op.Types{"TX": quantized, "TS": scaleTypes, "TY": op.Floats},
		In:    op.Ports("x:TX", "x_scale:TS", "x_zero_point:TX?"),
		Infer: inferDequantize, Ref: dequantizeRef, Compile: compileDequantize, Rows: rowsScaled,
	}
	versions(d, map[string]op.AttrSpec{"output_dtype": op.Default(ir.Int(0))},
		[][]string{{}, {"axis"}, {"axis"}, {"axis", "block_size"}, {"axis", "block_size", "output_dtype"}}, func(opset int) op.Cases { return dequantizeCases(opset) })
}

// versions registers the five forms that the schema has had.
func versions(o op.Op, specs map[string]op.AttrSpec, attrs [][]string, cases func(opset int) op.Cases) {
	specs["axis"], specs["block_size"] = op.Default(ir.Int(1)), op.Default(ir.Int(0))
	for i, since := range [][]int{{10}, {13}, {19}, {21}, {23, 24, 25}} {
		v := o
		v.Versions, v.Attrs = since, op.Attrs{}
		for _, name := range attrs[i] {
			v.Attrs[name] = specs[name]
		}
		v.Cases = cases(since[0])
		op.Register(&v)
	}
	// onnxruntime's own versions take the same inputs.
	o.Domain, o.Versions, o.Attrs = op.Microsoft, []int{1}, op.Attrs{"axis": specs["axis"], "block_size": specs["block_size"]}
	if _, ok := specs["saturate"]; ok {
		o.Attrs["saturate"] = specs["saturate"]
	}
	op.Register(&o)
}

// quantizeCases are those of an opset.
type quantizeCases int

func (opset quantizeCases) Cases() []op.Case {
	x := tensor.FromSlice([]float32{0, 2, 3, 1000, -254, -1000})
	cases := []op.Case{
		{Name: "uint8", In: []*tensor.Tensor{x, tensor.Scalar[float32](2), tensor.Scalar[uint8](128)}, Out: []*tensor.Tensor{tensor.FromSlice([]uint8{128, 129, 130, 255, 1, 0})}},
		{Name: "int8 ties to even", In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 3, 5, -1}), tensor.Scalar[float32](2), tensor.Scalar[int8](1)}, Out: []*tensor.Tensor{tensor.FromSlice([]int8{1, 3, 3, 1})}},
		{Name: "no zero point", In: []*tensor.Tensor{x, tensor.Scalar[float32](2)}, Out: []*tensor.Tensor{tensor.FromSlice([]uint8{0, 1, 2, 255, 0, 0})}},
		{Name: "long", In: []*tensor.Tensor{wave(3, 5, 41), tensor.Scalar[float32](.037), tensor.Scalar[int8](-3)}},
	}
	if opset >= 13 {
		cases = append(cases, op.Case{Name: "per channel", In: []*tensor.Tensor{wave(2, 3, 5), tensor.FromSlice([]float32{.1, .02, .5}), tensor.FromSlice([]uint8{100, 3, 128})}},
			op.Case{Name: "last axis", In: []*tensor.Tensor{wave(4, 3), tensor.FromSlice([]float32{.1, .02, .5}), tensor.FromSlice([]int8{0, 3, -8})}, Attrs: map[string]*ir.Attr{"axis": ir.Int(-1)}})
	}
	if opset >= 21 {
		cases = append(cases, op.Case{Name: "blocked", In: []*tensor.Tensor{wave(2, 6), tensor.FromSlice([]float32{.1, .02, .5, .3}, 2, 2)}, Attrs: map[string]*ir.Attr{"block_size": ir.Int(3), "output_dtype": ir.Int(int(dtype.Int8))}},
			op.Case{Name: "blocks of rows", In: []*tensor.Tensor{wave(2, 5, 19), scales(2, 2, 19), zeros(2, 2, 19)}, Attrs: map[string]*ir.Attr{"axis": ir.Int(1), "block_size": ir.Int(3)}})
	}
	// 2.25/0.3 and 5.25/0.3 are 7.4988 and 17.497, but in float16 7.5 and 17.5.
	half := []*tensor.Tensor{halves([]float64{2.25, 5.25, -1e4}, 3), halves([]float64{.3})}
	exact, rounded := tensor.FromSlice([]uint8{7, 17, 0}), tensor.FromSlice([]uint8{8, 18, 0})
	switch {
	case opset >= 23:
		single := []*tensor.Tensor{tensor.FromSlice([]float32{2.25, 5.25, -1e4}), tensor.Scalar[float32](.3)}
		precision := func(dt dtype.Type) map[string]*ir.Attr { return map[string]*ir.Attr{"precision": ir.Int(int(dt))} }
		cases = append(cases, op.Case{Name: "float16", In: half, Out: []*tensor.Tensor{rounded}},
			op.Case{Name: "float16 divided in float32", In: half, Attrs: precision(dtype.Float32), Out: []*tensor.Tensor{exact}},
			op.Case{Name: "float32 divided in float16", In: single, Attrs: precision(dtype.Float16), Out: []*tensor.Tensor{rounded}})
	case opset >= 19:
		cases = append(cases, op.Case{Name: "float16", In: half, Out: []*tensor.Tensor{exact}})
	}
	return cases
}

// dequantizeCases are those of an opset.
type dequantizeCases int

func (opset dequantizeCases) Cases() []op.Case {
	cases := []op.Case{
		{Name: "uint8", In: []*tensor.Tensor{tensor.FromSlice([]uint8{0, 3, 128, 255}), tensor.Scalar[float32](2), tensor.Scalar[uint8](128)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{-256, -250, 0, 254})}},
		{Name: "int32", In: []*tensor.Tensor{tensor.FromSlice([]int32{-70000, 3, 9}, 1, 3), tensor.Scalar[float32](.5)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{-35000, 1.5, 4.5}, 1, 3)}},
	}
	if opset >= 13 {
		cases = append(cases, op.Case{Name: "per channel", In: []*tensor.Tensor{tensor.FromSlice([]int8{1, 2, 3, -4, -5, -6}, 1, 3, 2), tensor.FromSlice([]float32{1, 10, 100}), tensor.FromSlice([]int8{0, 1, -6})},
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2, 20, -50, 100, 0}, 1, 3, 2)}})
	}
	if opset >= 21 {
		cases = append(cases, op.Case{Name: "blocked", In: []*tensor.Tensor{tensor.FromSlice([]int8{1, 2, 3, 4}, 1, 4), tensor.FromSlice([]float32{1, 10}, 1, 2)}, Attrs: map[string]*ir.Attr{"block_size": ir.Int(2)},
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2, 30, 40}, 1, 4)}},
			op.Case{Name: "blocks of rows", In: []*tensor.Tensor{zeros(2, 5, 19), scales(2, 2, 19), zeros(2, 2, 19)}, Attrs: map[string]*ir.Attr{"axis": ir.Int(1), "block_size": ir.Int(3)}},
			op.Case{Name: "a short last block", In: []*tensor.Tensor{zeros(3, 41), scales(3, 3)}, Attrs: map[string]*ir.Attr{"axis": ir.Int(1), "block_size": ir.Int(16)}},
			op.Case{Name: "many columns", In: []*tensor.Tensor{zeros(3, 41), scales(41), zeros(41)}, Attrs: map[string]*ir.Attr{"axis": ir.Int(1)}})
	}
	return cases
}

// halves makes a tensor of float16.
func halves(v []float64, shape ...int) *tensor.Tensor {
	t := tensor.New(dtype.Float16, shape...)
	num.SetFloats(t, v)
	return t
}

// scales and zeros make operands of many blocks.
func scales(shape ...int) *tensor.Tensor {
	w := wave(shape...)
	v := tensor.Of[float32](w)
	for i := range v {
		v[i] = .01 + v[i]*v[i]/8
	}
	return w
}

func zeros(shape ...int) *tensor.Tensor {
	v := make([]int8, tensor.Count(shape))
	for i := range v {
		v[i] = int8(i * 7 / 3)
	}
	return tensor.FromSlice(v, shape...)
}

// wave makes numbers in [-3, 3].
func wave(shape ...int) *tensor.Tensor {
	v := make([]float32, tensor.Count(shape))
	for i := range v {
		v[i] = float32(3 * math.Sin(float64(i)))
	}
	return tensor.FromSlice(v, shape...)
}

func inferQuantize(c *op.Infer) error {
	dt := c.Node.DType("output_dtype")
	zp := c.Input(2)
	switch {
	case zp.Present && dt != dtype.Invalid && zp.DType != dtype.Invalid && zp.DType != dt:
		return fmt.Errorf("output_dtype is %s, but the zero point has type %s", dt, zp.DType)
	case zp.Present:
		dt = zp.DType
	case dt == dtype.Invalid:
		dt = dtype.Uint8
	}
	if by := c.Node.DType("precision"); by != dtype.Invalid && !slices.Contains(op.Floats, by) {
		return fmt.Errorf("precision is %s, expected float32, float16 or bfloat16", by)
	}
	c.Set(0, dt, c.In[0].Shape)
	return nil
}

func inferDequantize(c *op.Infer) error {
	dt := c.Node.DType("output_dtype")
	if dt == dtype.Invalid {
		dt = c.In[1].DType
	}
	if dt == dtype.Float8E8M0 {
		return fmt.Errorf("y has the type of its scale, float8e8m0, expected float32, float16 or bfloat16: set output_dtype")
	}
	c.Set(0, dt, c.In[0].Shape)
	return nil
}

// rowsScaled lets a batch pass whose axis the scales don't run along.
func rowsScaled(n *ir.Node, in []int) ([]int, bool) {
	for _, a := range in[1:] {
		if a != op.NoRows {
			return nil, false
		}
	}
	scale, x := n.In[1].Type.Shape, n.In[0].Type.Shape
	if in[0] == op.NoRows || scale != nil && len(scale) == 0 || scale.Equal(oneElement) {
		return []int{in[0]}, true
	}
	if scale == nil || x == nil {
		return nil, false
	}
	axis, err := op.Axis(axisOf(n), len(x))
	return []int{in[0]}, err == nil && len(scale) == 1 && axis != in[0]
}

// axisOf is the attribute, which opset 10 doesn't have.
func axisOf(n *ir.Node) int {
	if !n.Has("axis") {
		return 1
	}
	return n.Int("axis")
}

// spread gives, for each element of x, the index of its scale.
func spread(n *ir.Node, x, scale []int) ([]int, error) {
	if tensor.Count(scale) == 1 {
		return make([]int, tensor.Count(x)), nil
	}
	axis, err := op.Axis(axisOf(n), len(x))
	if err != nil {
		return nil, err
	}
	block := n.Int("block_size")
	if block == 0 {
		if len(scale) != 1 || scale[0] != x[axis] {
			return nil, fmt.Errorf("scale has shape %v, expected [%d] for axis %d of %v", scale, x[axis], axis, x)
		}
		strides := make([]int, len(x))
		strides[axis] = 1
		return num.Index(x, strides), nil
	}
	return blocked(x, scale, axis, block)
}

// checkBlocks compares the shape of scales for blocks with that of x.
func checkBlocks(x, scale []int, axis, block int) error {
	for i := range x {
		want := x[i]
		if i == axis {
			want = (x[i] + block - 1) / max(block, 1)
		}
		if block < 1 || len(scale) != len(x) || scale[i] != want {
			return fmt.Errorf("scale has shape %v, expected that of %v with axis %d in blocks of %d", scale, x, axis, block)
		}
	}
	return nil
}

func blocked(x, scale []int, axis, block int) ([]int, error) {
	if err := checkBlocks(x, scale, axis, block); err != nil {
		return nil, err
	}
	own := tensor.Strides(scale)
	strides := append([]int{}, own...)
	strides[axis] = 0
	base := num.Index(x, strides)
	along := make([]int, len(x))
	along[axis] = 1
	for i, p := range num.Index(x, along) {
		base[i] += p / block * own[axis]
	}
	return base, nil
}

// zeroPoints reads the zero points, zeros if there are none.
func zeroPoints(zp *tensor.Tensor, scale *tensor.Tensor) ([]float64, error) {
	if zp == nil {
		return make([]float64, scale.Len()), nil
	}
	if zp.Len() != scale.Len() {
		return nil, fmt.Errorf("the zero point is %s, expected the shape of the scale %s", zp, scale)
	}
	return num.Floats(zp), nil
}

func quantizeRef(c *op.Call) error {
	x, scale := c.In[0], c.In[1]
	dt := c.Node.DType("output_dtype")
	if zp := c.Input(2); zp != nil {
		dt = zp.DType
	} else if dt == dtype.Invalid {
		dt = dtype.Uint8
	}
	at, err := spread(c.Node, x.Shape, scale.Shape)
	if err != nil {
		return err
	}
	zero, err := zeroPoints(c.Input(2), scale)
	if err != nil {
		return err
	}
	by := quotientType(c.Node, scale.DType)
	s := roundTo(num.Floats(scale), by)
	v := roundTo(num.Floats(x), by)
	for i := range v {
		v[i] /= s[at[i]]
	}
	v = roundTo(v, by)
	for i := range v {
		if dt.IsInt() {
			v[i] = saturate(math.RoundToEven(v[i])+zero[at[i]], dt)
		} else {
			v[i] += zero[at[i]]
		}
	}
	num.SetNarrow(c.Output(0, dt, x.Shape...), v, c.Node.Bool("saturate"))
	return nil
}

// quotientType is the type that x is divided by its scale in. Since opset 23 that is an
// attribute's, or the scale's.
func quotientType(n *ir.Node, scale dtype.Type) dtype.Type {
	if !n.Has("precision") {
		return dtype.Float32
	}
	if dt := n.DType("precision"); dt != dtype.Invalid {
		return dt
	}
	if slices.Contains(op.Floats, scale) {
		return scale
	}
	return dtype.Float32
}

// roundTo rounds numbers to a type of floats.
func roundTo(v []float64, dt dtype.Type) []float64 {
	t := tensor.New(dt, len(v))
	num.SetFloats(t, v)
	return num.Floats(t)
}

// saturate limits v to the range of an integer type; NaN becomes the lowest.
func saturate(v float64, dt dtype.Type) float64 {
	bits := dt.Bits()
	lo, hi := 0., math.Ldexp(1, bits)-1
	if dt.IsSigned() {
		lo, hi = -math.Ldexp(1, bits-1), math.Ldexp(1, bits-1)-1
	}
	if !(v > lo) {
		return lo
	}
	return min(v, hi)
}

func dequantizeRef(c *op.Call) error {
	x, scale := c.In[0], c.In[1]
	at, err := spread(c.Node, x.Shape, scale.Shape)
	if err != nil {
		return err
	}
	zero, err := zeroPoints(c.Input(2), scale)
	if err != nil {
		return err
	}
	dt := c.Node.DType("output_dtype")
	if dt == dtype.Invalid {
		dt = scale.DType
	}
	s := num.Floats(scale)
	v := num.Floats(x)
	for i := range v {
		v[i] = (v[i] - zero[at[i]]) * s[at[i]]
	}
	num.SetFloats(c.Output(0, dt, x.Shape...), v)
	return nil
}
