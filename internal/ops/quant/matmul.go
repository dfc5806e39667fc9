package quant

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/linear"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/tensor"
)

var bytes8 = []dtype.Type{dtype.Uint8, dtype.Int8}

func init() {
	op.Register(&op.Op{
		Name: "MatMulInteger", Versions: []int{10},
		In: op.Ports("A:T1", "B:T2", "a_zero_point:T1?", "b_zero_point:T2?"), Out: op.Ports("Y:int32"), Types: op.Types{"T1": bytes8, "T2": bytes8},
		Infer: func(c *op.Infer) error { return inferProduct(c, 1, dtype.Int32) }, Ref: matMulIntegerRef, Compile: compileMatMulInteger,
		Flops: linear.Flops, Rows: rowsMatMulInteger, Cases: matMulIntegerCases{},
	})
	float8 := op.Float8[:4]
	q := op.Op{
		Name: "QLinearMatMul", Versions: []int{10},
		In:    op.Ports("a:T1", "a_scale:float32", "a_zero_point:T1", "b:T2", "b_scale:float32", "b_zero_point:T2", "y_scale:float32", "y_zero_point:T3"),
		Out:   op.Ports("y:T3"),
		Types: op.Types{"T1": bytes8, "T2": bytes8, "T3": bytes8},
		Infer: func(c *op.Infer) error { return inferProduct(c, 3, c.In[7].DType) }, Ref: qlinearMatMulRef, Compile: compileQLinearMatMul, Flops: linear.Flops, Rows: rowsQLinearMatMul,
		Cases: qlinearMatMulCases{},
	}
	op.Register(&q)
	q.Versions = []int{21}
	q.In = op.Ports("a:T1", "a_scale:TS", "a_zero_point:T1", "b:T2", "b_scale:TS", "b_zero_point:T2", "y_scale:TS", "y_zero_point:T3")
	eight := append(append([]dtype.Type{}, bytes8...), float8...)
	q.Types = op.Types{"T1": eight, "T2": eight, "T3": eight, "TS": op.Floats}
	op.Register(&q)
}

type matMulIntegerCases struct{}

func (matMulIntegerCases) Cases() []op.Case {
	a := tensor.FromSlice([]uint8{11, 7, 3, 10, 6, 2, 9, 5, 1, 8, 4, 0}, 4, 3)
	b := tensor.FromSlice([]uint8{1, 4, 2, 5, 3, 6}, 3, 2)
	return []op.Case{
		{Name: "values", In: []*tensor.Tensor{a, b, tensor.FromSlice([]uint8{12}), tensor.FromSlice([]uint8{0})},
			Out: []*tensor.Tensor{tensor.FromSlice([]int32{-38, -83, -44, -98, -50, -113, -56, -128}, 4, 2)}},
		{Name: "no zero points", In: []*tensor.Tensor{quants[uint8](5, 70), quants[int8](70, 33)}},
		{Name: "weights", In: []*tensor.Tensor{quants[uint8](2, 7, 35), quants[int8](35, 40), tensor.Scalar[uint8](131), tensor.Scalar[int8](-4)}},
		{Name: "per column", In: []*tensor.Tensor{quants[int8](7, 35), quants[uint8](35, 3), tensor.Scalar[int8](-9), tensor.FromSlice([]uint8{1, 100, 255})}},
		{Name: "per row", In: []*tensor.Tensor{quants[uint8](2, 35), quants[int8](35, 3), tensor.FromSlice([]uint8{7, 200}), tensor.Scalar[int8](3)}},
	}
}

type qlinearMatMulCases struct{}

func (qlinearMatMulCases) Cases() []op.Case {
	a := tensor.FromSlice([]uint8{208, 236, 0, 238, 3, 214, 255, 29}, 2, 4)
	b := tensor.FromSlice([]uint8{152, 51, 244, 60, 26, 255, 0, 127, 246, 127, 254, 247}, 4, 3)
	s := tensor.Scalar[float32]
	return []op.Case{
		{Name: "values", In: []*tensor.Tensor{a, s(.0066), tensor.Scalar[uint8](113), b, s(.00705), tensor.Scalar[uint8](114), s(.0107), tensor.Scalar[uint8](118)},
			Out: []*tensor.Tensor{tensor.FromSlice([]uint8{168, 115, 255, 1, 66, 151}, 2, 3)}},
		{Name: "per column", In: []*tensor.Tensor{quants[int8](3, 40), s(.01), tensor.Scalar[int8](3), quants[int8](40, 5), tensor.FromSlice([]float32{.01, .02, .03, .04, .05}),
			tensor.FromSlice([]int8{0, 0, 1, -2, 0}), s(.09), tensor.Scalar[int8](-7)}},
		{Name: "no matrices", In: []*tensor.Tensor{quants[uint8](0, 3, 5), s(.01), tensor.Scalar[uint8](3), quants[uint8](0, 5, 4), s(.02), tensor.Scalar[uint8](9), s(.09), tensor.Scalar[uint8](7)},
			Out: []*tensor.Tensor{quants[uint8](0, 3, 4)}},
	}
}

// quants makes numbers over the whole range of a type.
func quants[T uint8 | int8](shape ...int) *tensor.Tensor {
	v := make([]T, tensor.Count(shape))
	for i := range v {
		v[i] = T(i*i*7 + i*31 + 5)
	}
	return tensor.FromSlice(v, shape...)
}

func inferProduct(c *op.Infer, b int, dt dtype.Type) error {
	s, err := linear.MatMulShape(c.In[0].Shape, c.In[b].Shape)
	if err != nil {
		return err
	}
	c.Set(0, dt, s)
	return nil
}

// rowsMatMulInteger: a zero point of each row of A runs along the batch.
func rowsMatMulInteger(n *ir.Node, in []int) ([]int, bool) {
	for i, v := range n.In[2:] {
		if v != nil && (in[i+2] != op.NoRows || i == 0 && !isSingle(v)) {
			return nil, false
		}
	}
	return linear.Rows(n, in)
}

func isSingle(v *ir.Value) bool {
	return v.Type.Shape != nil && (len(v.Type.Shape) == 0 || v.Type.Shape.Equal(oneElement))
}

func rowsQLinearMatMul(n *ir.Node, in []int) ([]int, bool) {
	for i, a := range in {
		if i != 0 && a != op.NoRows {
			return nil, false
		}
	}
	if !isSingle(n.In[1]) || !isSingle(n.In[2]) || len(n.In[3].Type.Shape) != 2 || n.In[0].Type.Shape == nil || in[0] == len(n.In[0].Type.Shape)-1 {
		return nil, false
	}
	return []int{in[0]}, true
}

// minus subtracts zero points from v, which has the given shape: one for all,
// or one for each row (axis -2) or column (axis -1) of the matrices.
func minus(v []int64, dims []int, zp *tensor.Tensor, axis int) ([]int64, error) {
	if zp == nil {
		return v, nil
	}
	z, err := alongMatrix(num.Int64s(zp), zp, dims, axis)
	if err != nil {
		return nil, fmt.Errorf("zero point: %w", err)
	}
	for i := range v {
		v[i] -= z[i]
	}
	return v, nil
}

// alongMatrix repeats p to the shape of a matrix operand.
func alongMatrix[T any](p []T, t *tensor.Tensor, dims []int, axis int) ([]T, error) {
	shape := t.Shape
	if len(p) == 1 {
		shape = []int{}
	}
	if len(shape) == 1 && axis == -2 && len(dims) > 1 {
		shape = []int{shape[0], 1}
	}
	full, err := num.BroadcastShape(shape, dims)
	if err != nil || tensor.Count(full) != tensor.Count(dims) {
		return nil, fmt.Errorf("%s does not broadcast to the operand's shape %v", t, dims)
	}
	return num.Broadcast(p, shape, dims), nil
}

// product multiplies integer operands less their zero points.
func product(a, b, az, bz *tensor.Tensor) (*linear.MatMul, []int64, error) {
	m, err := linear.NewMatMul(a.Shape, b.Shape)
	if err != nil {
		return nil, nil, err
	}
	av, err := minus(num.Int64s(a), a.Shape, az, -2)
	if err != nil {
		return nil, nil, fmt.Errorf("A: %w", err)
	}
	bv, err := minus(num.Int64s(b), b.Shape, bz, -1)
	if err != nil {
		return nil, nil, fmt.Errorf("B: %w", err)
	}
	return m, linear.Multiply(m, av, bv), nil
}

func matMulIntegerRef(c *op.Call) error {
	m, y, err := product(c.In[0], c.In[1], c.Input(2), c.Input(3))
	if err != nil {
		return err
	}
	num.SetInt64s(c.Output(0, dtype.Int32, m.Shape...), y)
	return nil
}

func qlinearMatMulRef(c *op.Call) error {
	a, b := c.In[0], c.In[3]
	if !a.DType.IsInt() || !b.DType.IsInt() {
		return fmt.Errorf("operands of types %s and %s are not supported, expected int8 or uint8", a.DType, b.DType)
	}
	if !c.In[7].DType.IsInt() {
		return fmt.Errorf("y_zero_point of type %s is not supported, expected int8 or uint8", c.In[7].DType)
	}
	m, acc, err := product(a, b, c.In[2], c.In[5])
	if err != nil {
		return err
	}
	as, err := alongMatrix(num.Float32s(c.In[1]), c.In[1], m.Shape, -2)
	if err != nil {
		return fmt.Errorf("a_scale: %w", err)
	}
	bs, err := alongMatrix(num.Float32s(c.In[4]), c.In[4], m.Shape, -1)
	if err != nil {
		return fmt.Errorf("b_scale: %w", err)
	}
	ys, err := alongMatrix(num.Float32s(c.In[6]), c.In[6], m.Shape, -2)
	if err != nil {
		return fmt.Errorf("y_scale: %w", err)
	}
	yz, err := alongMatrix(num.Floats(c.In[7]), c.In[7], m.Shape, -2)
	if err != nil {
		return fmt.Errorf("y_zero_point: %w", err)
	}
	dt := c.In[7].DType
	if !dt.IsInt() {
		return fmt.Errorf("y_zero_point is %s, expected an integer type", c.In[7])
	}
	y := make([]float64, len(acc))
	for i := range y {
		y[i] = requantize(acc[i], float32(float32(as[i]*bs[i])/ys[i]), yz[i], dt)
	}
	num.SetFloats(c.Output(0, dt, m.Shape...), y)
	return nil
}

// requantize scales an accumulator in float32 and rounds it to a quantized type.
func requantize(acc int64, scale float32, zero float64, dt dtype.Type) float64 {
	return saturate(math.RoundToEven(float64(float32(float32(acc)*scale)))+zero, dt)
}
