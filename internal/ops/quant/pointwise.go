package quant

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/tensor"
)

// onnxruntime's elementwise operators on quantized numbers: they dequantize,
// compute in float32, and quantize.

func init() {
	for name, f := range map[string]func(a, b float32) float32{
		"QLinearAdd": func(a, b float32) float32 { return a + b },
		"QLinearMul": func(a, b float32) float32 { return a * b },
	} {
		registerBinary(name, f)
	}
	registerUnary("QLinearSigmoid", nil, func(x float64, _ *ir.Node) float64 { return 1 / (1 + math.Exp(-x)) })
	registerUnary("QLinearLeakyRelu", op.Attrs{"alpha": op.Default(ir.Float(.01))}, func(x float64, n *ir.Node) float64 {
		if x < 0 {
			return x * float64(n.Float("alpha"))
		}
		return x
	})
}

func registerBinary(name string, f func(a, b float32) float32) {
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: name, Versions: []int{1},
		In: op.Ports("A:T", "A_scale:float32", "A_zero_point:T?", "B:T", "B_scale:float32", "B_zero_point:T?", "C_scale:float32", "C_zero_point:T?"), Out: op.Ports("C:T"),
		Types: op.Types{"T": bytes8},
		Infer: inferQBinary, Ref: func(c *op.Call) error { return qbinaryRef(c, f) }, Rows: rowsQBinary, InPlace: []int{0, 3},
		Compile: compilePair,
		Cases:   qbinaryCases{},
	})
}

type qbinaryCases struct{}

func (qbinaryCases) Cases() []op.Case {
	s, z := tensor.Scalar[float32], tensor.Scalar[uint8]
	return []op.Case{{Name: "same shape", In: []*tensor.Tensor{quants[int8](5, 70), s(.02), tensor.Scalar[int8](-9), quants[int8](5, 70), s(.05), nil, s(.07), tensor.Scalar[int8](12)}}, {Name: "broadcast", In: []*tensor.Tensor{quants[uint8](2, 3, 4), s(.02), z(100), quants[uint8](3, 1), s(.05), z(7), s(.07), z(120)}},
		{Name: "channels", In: []*tensor.Tensor{quants[uint8](2, 3, 24, 23), s(.02), z(100), quants[uint8](2, 3, 1, 1), s(.05), z(7), s(.07), z(120)}},
		{Name: "channels last", In: []*tensor.Tensor{quants[uint8](2, 5, 4, 7), s(.02), z(100), quants[uint8](2, 1, 1, 7), s(.05), z(7), s(.07), z(120)}},
		{Name: "long", In: []*tensor.Tensor{quants[uint8](3, 1500), s(.02), z(100), quants[uint8](3, 1500), s(.05), z(7), s(.07), z(120)}},
		{Name: "long row", In: []*tensor.Tensor{quants[int8](5, 1500), s(.02), nil, quants[int8](1500), s(.05), nil, s(.07), nil}},
		{Name: "few first", In: []*tensor.Tensor{quants[int8](3, 1, 1), s(.02), nil, quants[int8](2, 3, 4, 5), s(.05), tensor.Scalar[int8](7), s(.07), nil}},
		{Name: "between", In: []*tensor.Tensor{quants[uint8](2, 1, 4), s(.02), z(100), quants[uint8](2, 3, 4), s(.05), z(7), s(.07), z(120)}}}
}

func inferQBinary(c *op.Infer) error {
	s, err := op.BroadcastShapes([]op.Fact{c.In[0], c.In[3]})
	if err != nil {
		return err
	}
	c.Set(0, c.In[0].DType, s)
	return nil
}

// rowsQBinary is RowsBroadcast for A and B; scales carry no rows.
func rowsQBinary(n *ir.Node, in []int) ([]int, bool) {
	for i, a := range in {
		if i != 0 && i != 3 && a != op.NoRows {
			return nil, false
		}
	}
	two := &ir.Node{In: []*ir.Value{n.In[0], n.In[3]}, Out: n.Out}
	return op.RowsBroadcast(two, []int{in[0], in[3]})
}

// dequantized reads a tensor with one scale and zero point as float32.
func dequantized(x, scale, zero *tensor.Tensor) ([]float32, error) {
	s, z, err := quantParams(scale, zero)
	if err != nil {
		return nil, err
	}
	v := make([]float32, x.Len())
	for i, q := range num.Int64s(x) {
		v[i] = float32(float32(q)-z) * s
	}
	return v, nil
}

func quantParams(scale, zero *tensor.Tensor) (s, z float32, err error) {
	if scale.Len() != 1 || zero != nil && zero.Len() != 1 {
		return 0, 0, fmt.Errorf("scale is %s and zero point %s, expected one number each", scale, zero)
	}
	if zero != nil {
		z = float32(num.Floats(zero)[0])
	}
	return tensor.Of[float32](scale)[0], z, nil
}

func requantized(x float32, scale, zero float32, dt dtype.Type) float64 {
	return saturate(math.RoundToEven(float64(x/scale))+float64(zero), dt)
}

func qbinaryRef(c *op.Call, f func(a, b float32) float32) error {
	a, err := dequantized(c.In[0], c.In[1], c.In[2])
	if err != nil {
		return fmt.Errorf("A: %w", err)
	}
	b, err := dequantized(c.In[3], c.In[4], c.In[5])
	if err != nil {
		return fmt.Errorf("B: %w", err)
	}
	scale, zero, err := quantParams(c.In[6], c.Input(7))
	if err != nil {
		return fmt.Errorf("C: %w", err)
	}
	dims, err := num.BroadcastShape(c.In[0].Shape, c.In[3].Shape)
	if err != nil {
		return err
	}
	a, b = num.Broadcast(a, c.In[0].Shape, dims), num.Broadcast(b, c.In[3].Shape, dims)
	dt := c.In[0].DType
	out := make([]float64, len(a))
	for i := range a {
		out[i] = requantized(f(a[i], b[i]), scale, zero, dt)
	}
	num.SetFloats(c.Output(0, dt, dims...), out)
	return nil
}

func registerUnary(name string, attrs op.Attrs, f func(x float64, n *ir.Node) float64) {
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: name, Versions: []int{1}, Attrs: attrs,
		In: op.Ports("X:T", "X_scale:float32", "X_zero_point:T?", "Y_scale:float32", "Y_zero_point:T?"), Out: op.Ports("Y:T"), Types: op.Types{"T": bytes8},
		Infer: op.SameAsInput, InPlace: []int{0}, Rows: op.RowsFirst,
		Ref:     func(c *op.Call) error { return qunaryRef(c, f) },
		Compile: func(p *op.Prep) (op.Kernel, error) { return compileTable(p, f) },
		Cases:   qunaryCases{},
	})
}

type qunaryCases struct{}

func (qunaryCases) Cases() []op.Case {
	s := tensor.Scalar[float32]
	return []op.Case{
		{Name: "uint8", In: []*tensor.Tensor{quants[uint8](3, 50), s(.05), tensor.Scalar[uint8](120), s(1. / 256), tensor.Scalar[uint8](0)}},
		{Name: "int8", In: []*tensor.Tensor{quants[int8](2, 7), s(.1), nil, s(1. / 200), tensor.Scalar[int8](-100)}},
	}
}

func qunaryRef(c *op.Call, f func(x float64, n *ir.Node) float64) error {
	x, err := dequantized(c.In[0], c.In[1], c.In[2])
	if err != nil {
		return fmt.Errorf("X: %w", err)
	}
	scale, zero, err := quantParams(c.In[3], c.Input(4))
	if err != nil {
		return fmt.Errorf("Y: %w", err)
	}
	dt := c.In[0].DType
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = requantized(float32(f(float64(v), c.Node)), scale, zero, dt)
	}
	num.SetFloats(c.Output(0, dt, c.In[0].Shape...), out)
	return nil
}

// compileTable makes a table of all 256 results where scales are constant.
func compileTable(p *op.Prep, f func(x float64, n *ir.Node) float64) (op.Kernel, error) {
	all := tensor.New(p.In[0].DType, 256)
	for i := range all.Data {
		all.Data[i] = byte(i)
	}
	in := []*tensor.Tensor{all}
	for i := 1; i < len(p.In); i++ {
		if p.Has(i) && p.In[i].Const == nil {
			return nil, nil
		}
		in = append(in, p.In[i].Const)
	}
	c := &op.Call{Node: p.Node, In: in}
	if err := qunaryRef(c, f); err != nil {
		return nil, err
	}
	table := [256]byte(c.Out[0].Data)
	t := elemwise.NewTable(tensor.Count(p.InShape(0)))
	return op.KernelFunc(func(c *op.Call) error {
		x := c.In[0]
		t.Run(c.Pool, c.Output(0, x.DType, x.Shape...).Data, x.Data, &table)
		return nil
	}), nil
}
