package math

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	clip := op.Op{
		Name: "Clip", Doc: "The upper limit wins where the limits cross; NaN stays.",
		In: op.Ports("input:T", "min:T?", "max:T?"), Out: op.Ports("output:T"),
		Types: op.Types{"T": op.Numeric},
		Infer: inferClip, Ref: clipRef, Compile: wide.Compile(compileClip), InPlace: []int{0}, Rows: rowsClip,
		Row: func(*ir.Node) elemwise.RowFunc { return elemwise.ClipRow() },
	}
	old := clip
	old.Versions, old.Row = []int{6}, nil
	old.In = op.Ports("input:T")
	old.Attrs = op.Attrs{"min": op.Default(ir.Float(-math.MaxFloat32)), "max": op.Default(ir.Float(math.MaxFloat32))}
	old.Cases = clipAttrsCases{}
	op.Register(&old)
	clip.Versions = []int{11, 12, 13}
	clip.Cases = clipCases{}
	op.Register(&clip)
}

type clipAttrsCases struct{}

func (clipAttrsCases) Cases() []op.Case {
	attrs := map[string]*ir.Attr{"min": ir.Float(-1), "max": ir.Float(2)}
	return []op.Case{
		{Name: "attributes", Attrs: attrs, In: []*tensor.Tensor{tensor.FromSlice([]float32{-3, 0, 3})}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{-1, 0, 2})}},
		{Name: "integers", Attrs: attrs, In: []*tensor.Tensor{tensor.FromSlice([]int64{-3, 0, 3})}, Out: []*tensor.Tensor{tensor.FromSlice([]int64{-1, 0, 2})}},
	}
}

type clipCases struct{}

func (clipCases) Cases() []op.Case {
	x := tensor.FromSlice([]float32{-3, 0, 3})
	return []op.Case{
		{Name: "both", In: []*tensor.Tensor{x, tensor.Scalar[float32](-1), tensor.Scalar[float32](2)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{-1, 0, 2})}},
		{Name: "only max", In: []*tensor.Tensor{x, nil, tensor.Scalar[float32](2)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{-3, 0, 2})}},
		{Name: "only min", In: []*tensor.Tensor{x, tensor.Scalar[float32](1)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{1, 1, 3})}},
		{Name: "crossed", In: []*tensor.Tensor{x, tensor.Scalar[float32](2), tensor.Scalar[float32](1)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{1, 1, 1})}},
		{Name: "none", In: []*tensor.Tensor{x}, Out: []*tensor.Tensor{x}},
		{Name: "int64", In: []*tensor.Tensor{tensor.FromSlice([]int64{-100, 5, 1 << 40}), nil, tensor.Scalar[int64](50)}, Out: []*tensor.Tensor{tensor.FromSlice([]int64{-100, 5, 50})}},
		{Name: "int32, crossed", In: []*tensor.Tensor{tensor.FromSlice([]int32{-100, 5, 100}), tensor.Scalar[int32](7), tensor.Scalar[int32](-3)}, Out: []*tensor.Tensor{tensor.FromSlice([]int32{-3, -3, -3})}},
		{Name: "float64", In: []*tensor.Tensor{tensor.FromSlice([]float64{-100, 0.25, math.Copysign(0, -1), math.Inf(1), math.NaN(), 3, 7, 50}), tensor.Scalar(0.), tensor.Scalar(50.)}},
		{Name: "float64, no number", In: []*tensor.Tensor{tensor.FromSlice([]float64{-1, 5, 7}), tensor.Scalar(math.NaN())}, Out: []*tensor.Tensor{tensor.FromSlice([]float64{-1, 5, 7})}},
		{Name: "int8", In: []*tensor.Tensor{tensor.FromSlice([]int8{-100, 5, 100}), tensor.Scalar[int8](-2), tensor.Scalar[int8](50)}, Out: []*tensor.Tensor{tensor.FromSlice([]int8{-2, 5, 50})}},
	}
}

func inferClip(c *op.Infer) error {
	if err := op.SameAsInput(c); err != nil {
		return err
	}
	x, ok := c.In[0].Dims()
	if !ok || !c.In[0].DType.IsInt() || c.Node.Has("min") { // where limits are float32
		return nil
	}
	lo, loOK := c.Input(1).Ints()
	hi, hiOK := c.Input(2).Ints()
	out := make([]shape.Dim, len(x))
	for i, d := range x {
		v, ok := d.Int()
		if !ok || c.Input(1).Present && !loOK || c.Input(2).Present && !hiOK {
			out[i] = shape.Unknown()
			continue
		}
		if len(lo) == 1 {
			v = max(v, lo[0])
		}
		if len(hi) == 1 {
			v = min(v, hi[0])
		}
		out[i] = shape.Const(v)
	}
	c.SetContent(0, out)
	return nil
}

func rowsClip(n *ir.Node, in []int) ([]int, bool) {
	for _, a := range in[1:] {
		if a != op.NoRows {
			return nil, false
		}
	}
	return []int{in[0]}, true
}

func clipRef(c *op.Call) error {
	x := c.In[0]
	y := c.Output(0, x.DType, x.Shape...)
	lo, hi := c.Input(1), c.Input(2)
	for i, t := range []*tensor.Tensor{lo, hi} {
		if t != nil && t.Len() != 1 {
			return fmtLimit(i, t)
		}
	}
	if n := c.Node; n.Has("min") {
		lo, hi = floatScalar(x.DType, n.Float("min")), floatScalar(x.DType, n.Float("max"))
	}
	switch {
	case x.DType.IsSigned():
		num.SetInt64s(y, clampTo(num.Int64s, x, lo, hi))
	case x.DType.IsUnsigned():
		num.SetUint64s(y, clampTo(num.Uint64s, x, lo, hi))
	default:
		num.SetFloats(y, clampTo(num.Floats, x, lo, hi))
	}
	return nil
}

func fmtLimit(i int, t *tensor.Tensor) error {
	_, err := num.Scalar(t)
	return fmt.Errorf("%s: %w", [2]string{"min", "max"}[i], err)
}

func floatScalar(dt dtype.Type, v float32) *tensor.Tensor {
	t := tensor.New(dt)
	num.SetFloats(t, []float64{float64(v)})
	return t
}

func clampTo[T number](read func(*tensor.Tensor) []T, x, lo, hi *tensor.Tensor) []T {
	v := read(x)
	if lo != nil {
		least := read(lo)[0]
		for i := range v {
			if v[i] < least {
				v[i] = least
			}
		}
	}
	if hi != nil {
		most := read(hi)[0]
		for i := range v {
			if v[i] > most {
				v[i] = most
			}
		}
	}
	return v
}

// compileClip takes limits that are constant, which nearly all are.
func compileClip(p *op.Prep) (op.Kernel, error) {
	lo, hi := float32(math.Inf(-1)), float32(math.Inf(1))
	if dt := p.In[0].DType; (dt.IsInt() || dt == dtype.Float64) && !p.Node.Has("min") {
		return compileClipLimits(p)
	}
	if p.In[0].DType != dtype.Float32 {
		return nil, nil
	}
	if p.Node.Has("min") {
		lo, hi = p.Node.Float("min"), p.Node.Float("max")
	}
	for i, limit := range []*float32{&lo, &hi} {
		if !p.Has(i + 1) {
			continue
		}
		t := p.In[i+1].Const
		if t == nil || t.Len() != 1 {
			return nil, nil
		}
		*limit = tensor.Of[float32](t)[0]
	}
	k, err := elemwise.NewUnary(elemwise.Clip, dtype.Float32, params{A: lo, B: hi})
	if err != nil {
		return nil, err
	}
	return op.KernelFunc(func(c *op.Call) error {
		x := c.In[0]
		k.Run(c.Pool, c.Output(0, x.DType, x.Shape...).Data, x.Data)
		return nil
	}), nil
}

// compileClipLimits takes any limits, of integers and float64.
func compileClipLimits(p *op.Prep) (op.Kernel, error) {
	dt, dims := p.In[0].DType, p.InShape(0)
	steps := make([]*elemwise.BinaryKernel, 2)
	for i, f := range []elemwise.Binary{elemwise.Max, elemwise.Min} {
		if !p.Has(i + 1) {
			continue
		}
		var err error
		if steps[i], err = elemwise.NewBinary(f, dt, nil, dims); err != nil {
			return nil, nil // the reference serves types without a kernel
		}
	}
	if steps[0] == nil && steps[1] == nil {
		return nil, nil
	}
	return op.KernelFunc(func(c *op.Call) error {
		y := c.Output(0, dt, dims...)
		x := c.In[0].Data
		for i, k := range steps {
			if k == nil {
				continue
			}
			limit := c.In[i+1]
			if limit.Len() != 1 {
				return fmtLimit(i, limit)
			}
			if dt == dtype.Float64 && math.IsNaN(tensor.Of[float64](limit)[0]) {
				continue // limits nothing
			}
			k.Run(c.Pool, y.Data, limit.Data, x)
			x = y.Data
		}
		if len(x) > 0 && &x[0] != &y.Data[0] {
			copy(y.Data, x)
		}
		return nil
	}), nil
}
