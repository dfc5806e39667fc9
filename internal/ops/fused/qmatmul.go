package fused

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/qgemm"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/linear"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

var bytes8 = []dtype.Type{dtype.Uint8, dtype.Int8}

// Inputs of IntegerMatMul.
const (
	qmmA = iota
	qmmB
	qmmScaleA
	qmmScaleB
	qmmZeroA
	qmmZeroB
	qmmBias
	qmmResidual
)

func init() {
	op.Register(&op.Op{
		Domain: op.Salver, Name: "IntegerMatMul", Versions: []int{1},
		Doc: "activation(float32((A - a_zero)·(B - b_zero)) · (a_scale·b_scale) + bias + residual), each operation rounded: the product of quantized matrices in floating point. " +
			"A has one scale and zero point; the matrix B has one or one for each column; the residual has Y's shape. range is the least and the largest number of Y and 0, for QuantizeInRange.",
		In:    op.Ports("A:T1", "B:T2", "a_scale:float32", "b_scale:float32?", "a_zero:T1?", "b_zero:T2?", "bias:float32?", "residual:float32?"),
		Out:   op.Ports("Y:float32", "range:float32?"),
		Types: op.Types{"T1": bytes8, "T2": bytes8}, Attrs: activationAttrs(op.Attrs{}),
		Infer: inferIntegerMatMul, Ref: integerMatMulRef, Compile: compileIntegerMatMul,
		Flops: linear.Flops, Rows: rowsIntegerMatMul, Cases: integerMatMulCases{},
	})
}

func inferIntegerMatMul(c *op.Infer) error {
	if _, err := ActivationOf(c.Node); err != nil {
		return err
	}
	b := c.In[qmmB].Shape
	if b != nil && len(b) != 2 {
		return fmt.Errorf("B has shape %v, expected a matrix", b)
	}
	s, err := linear.MatMulShape(c.In[qmmA].Shape, b)
	if err != nil {
		return err
	}
	for i := qmmScaleA; i <= qmmBias; i++ {
		f := c.Input(i)
		n, ok := f.Shape.Count().Int()
		if !f.Present || f.Shape == nil || !ok {
			continue
		}
		perColumn := i != qmmScaleA && i != qmmZeroA && b != nil && len(f.Shape) == 1 && f.Shape.Compatible(b[1:])
		if (n != 1 || i == qmmBias) && !perColumn {
			return fmt.Errorf("input %d has shape %v, which does not fit B of shape %v", i, f.Shape, b)
		}
	}
	if r := c.Input(qmmResidual); r.Present && r.Shape != nil && s != nil && !r.Shape.Compatible(s) {
		return fmt.Errorf("the residual has shape %v, expected %v", r.Shape, s)
	}
	c.Set(0, dtype.Float32, s)
	c.Set(1, dtype.Float32, twoElements)
	return nil
}

var twoElements = shape.Of(2)

// rowsIntegerMatMul is the rule of MatMul; a scale of A that is computed from
// the rows is no input with rows of its own. A range is of all rows.
func rowsIntegerMatMul(n *ir.Node, in []int) ([]int, bool) {
	for _, a := range in[2:min(len(in), qmmResidual)] {
		if a != op.NoRows {
			return nil, false
		}
	}
	if n.Output(1) != nil {
		return nil, false
	}
	out, ok := linear.Rows(n, in[:2])
	if len(in) > qmmResidual && n.In[qmmResidual] != nil && ok {
		return out, in[qmmResidual] == out[0]
	}
	return out, ok
}

func integerMatMulRef(c *op.Call) error {
	a, err := ActivationOf(c.Node)
	if err != nil {
		return err
	}
	m, err := linear.NewMatMul(c.In[qmmA].Shape, c.In[qmmB].Shape)
	if err != nil {
		return err
	}
	av, bv := num.Int64s(c.In[qmmA]), num.Int64s(c.In[qmmB])
	zero := int64(columns(c.Input(qmmZeroA), 1)[0])
	for i := range av {
		av[i] -= zero
	}
	for i, z := range columns(c.Input(qmmZeroB), m.N) {
		for k := i; k < len(bv); k += m.N {
			bv[k] -= int64(z)
		}
	}
	scale := columns(c.Input(qmmScaleB), m.N)
	bias := columns(c.Input(qmmBias), m.N)
	residual := make([]float32, tensor.Count(m.Shape))
	if r := c.Input(qmmResidual); r != nil {
		copy(residual, tensor.Of[float32](r))
	}
	acc := linear.Multiply(m, av, bv)
	y := make([]float64, len(acc))
	for i, s := range acc {
		k := tensor.Of[float32](c.In[qmmScaleA])[0]
		if c.Input(qmmScaleB) != nil {
			k = float32(k * scale[i%m.N])
		}
		y[i] = float64(float32(float32(float32(s)*k)+bias[i%m.N]) + residual[i])
	}
	a.Each(y)
	out := c.Output(0, dtype.Float32, m.Shape...)
	num.SetFloats(out, y)
	if c.Node.Output(1) != nil {
		setRange(c, tensor.Of[float32](out))
	}
	return nil
}

// setRange sets output 1 to the range of x and 0.
func setRange(c *op.Call, x []float32) {
	ends := tensor.Of[float32](c.Output(1, dtype.Float32, 2))
	ends[0], ends[1] = elemwise.MinMax(x)
}

// columns gives a number for each of n columns; zeros where t is absent.
func columns(t *tensor.Tensor, n int) []float32 {
	out := make([]float32, n)
	if t == nil {
		return out
	}
	v := num.Float32s(t)
	for i := range out {
		out[i] = v[i%len(v)]
	}
	return out
}

// integerMatMul multiplies on the kernels of qgemm.
type integerMatMul struct {
	task    qgemm.Task
	zeroA   [1]int32
	scaleA  [1]float32
	dims    []int
	scratch int
	ranged  bool
}

// compileIntegerMatMul gives nil where B or its zero points are not constant.
func compileIntegerMatMul(p *op.Prep) (op.Kernel, error) {
	b := p.In[qmmB].Const
	if b == nil || p.Has(qmmZeroB) && p.In[qmmZeroB].Const == nil {
		return nil, nil
	}
	act, err := ActivationOf(p.Node)
	if err != nil {
		return nil, err
	}
	m, err := linear.NewMatMul(p.InShape(qmmA), b.Shape)
	if err != nil {
		return nil, err
	}
	if m.K == 0 || tensor.Count(m.Shape) == 0 {
		return nil, nil
	}
	if p.Has(qmmResidual) && !slices.Equal(p.InShape(qmmResidual), m.Shape) {
		return nil, nil
	}
	k := &integerMatMul{dims: m.Shape, ranged: p.Node.Output(1) != nil}
	t := &k.task
	t.M, t.N, t.K = tensor.Count(m.Shape)/m.N, m.N, m.K
	t.A = qgemm.Matrix{Signed: p.In[qmmA].DType == dtype.Int8, Stride: m.K}
	t.C.Stride = m.N
	t.ZeroA, t.RowScale = k.zeroA[:], k.scaleA[:]
	if act != nil {
		t.Post, t.Gelu = act.Row(), act.Op == elemwise.Gelu
	}
	t.ResidualStride = m.N
	if k.ranged {
		t.Range = elemwise.MinMax
	}
	if err := k.pack(p, b); err != nil {
		return nil, err
	}
	t.Tuning = linear.TuneIntegers(p)
	k.scratch = t.ScratchSize(p.Threads)
	return k, nil
}

func (k *integerMatMul) pack(p *op.Prep, b *tensor.Tensor) error {
	t := &k.task
	zero := make([]int32, t.N)
	if p.Has(qmmZeroB) {
		for i, z := range columns(p.In[qmmZeroB].Const, t.N) {
			zero[i] = int32(z)
		}
	}
	m := qgemm.Matrix{Data: b.Data, Signed: b.DType == dtype.Int8, Stride: t.N}
	var err error
	data := p.Pack("B/"+cpu.ISA(), qgemm.PackedSize(t.K, t.N, 1), func(dst []byte) {
		_, err = qgemm.PackB(dst, m, zero, t.K, t.N, 1, 0)
	})
	if err == nil {
		t.Packed, err = qgemm.Prepacked(data, m.Signed, zero, t.K, t.N, 1)
	}
	return err
}

// ScratchBytes is the working memory of a run.
func (k *integerMatMul) ScratchBytes() int { return k.scratch }

// Run multiplies.
func (k *integerMatMul) Run(c *op.Call) error {
	t := &k.task
	k.zeroA[0] = 0
	if z := c.Input(qmmZeroA); z != nil {
		k.zeroA[0] = int32(z.Data[0])
		if z.DType == dtype.Int8 {
			k.zeroA[0] = int32(int8(z.Data[0]))
		}
	}
	k.scaleA[0] = tensor.Of[float32](c.In[qmmScaleA])[0]
	t.ColScale, t.ColBias = floatsOf(c.Input(qmmScaleB)), floatsOf(c.Input(qmmBias))
	t.A.Data, t.C.Float, t.Scratch = c.In[qmmA].Data, tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...)), c.Scratch
	t.Residual = floatsOf(c.Input(qmmResidual))
	err := t.Run(c.Pool)
	t.A.Data, t.C.Float, t.Scratch, t.ColScale, t.ColBias, t.Residual = nil, nil, nil, nil, nil, nil
	if k.ranged && err == nil {
		ends := tensor.Of[float32](c.Output(1, dtype.Float32, 2))
		ends[0], ends[1] = t.Least, t.Most
	}
	return err
}

func floatsOf(t *tensor.Tensor) []float32 {
	if t == nil {
		return nil
	}
	return tensor.Of[float32](t)
}

type integerMatMulCases struct{}

func (integerMatMulCases) Cases() []op.Case {
	s := tensor.Scalar[float32]
	column, one := wave(33), []*tensor.Tensor{nil}
	return []op.Case{
		{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]uint8{3, 5}, 1, 2), tensor.FromSlice([]int8{2, -1, 4, 7}, 2, 2), s(.5), s(2), tensor.Scalar[uint8](1), nil, tensor.FromSlice([]float32{-3, 1})},
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{17, 27}, 1, 2)}},
		{Name: "per column", In: []*tensor.Tensor{bytesOf[uint8](3, 7, 40), bytesOf[int8](40, 33), s(.01), column, tensor.Scalar[uint8](131), bytesOf[int8](33), column}, Attrs: act("relu"), Out: one},
		{Name: "residual", In: []*tensor.Tensor{bytesOf[uint8](3, 7, 40), bytesOf[int8](40, 33), s(.01), nil, nil, nil, nil, wave(3, 7, 33)}, Out: one},
		{Name: "gelu", In: []*tensor.Tensor{bytesOf[int8](19, 70), bytesOf[uint8](70, 33), s(.0001), nil, tensor.Scalar[int8](-5), tensor.Scalar[uint8](128), column}, Attrs: act("gelu"), Out: one},
		{Name: "residual and range", In: []*tensor.Tensor{bytesOf[uint8](19, 70), bytesOf[int8](70, 33), s(.0001), nil, nil, nil, column, wave(19, 33)}},
		{Name: "range of gelu", In: []*tensor.Tensor{bytesOf[uint8](19, 70), bytesOf[int8](70, 33), s(.0001)}, Attrs: act("gelu")},
	}
}

// bytesOf makes numbers over the whole range of a type.
func bytesOf[T uint8 | int8](dims ...int) *tensor.Tensor {
	v := make([]T, tensor.Count(dims))
	for i := range v {
		v[i] = T(i*i*7 + i*31 + 5)
	}
	return tensor.FromSlice(v, dims...)
}
