package tensorops

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	types := []dtype.Type{dtype.Float32, dtype.Float64, dtype.Int16, dtype.Int32, dtype.Int64}
	register := func(types []dtype.Type, attrs op.Attrs, version int) {
		op.Register(&op.Op{
			Name: "Range", Versions: []int{version}, Doc: "start, start+delta, … up to limit, which is not included",
			In: op.Ports("start:T", "limit:T", "delta:T"), Out: op.Ports("output:T"), Types: op.Types{"T": types}, Attrs: attrs,
			Infer: rangeInfer, Ref: rangeRef, Rows: noRows, Cases: rangeCases{},
		})
	}
	register(types, nil, 11)
	register(append(types, dtype.Float16, dtype.BFloat16), op.Attrs{"stash_type": op.Default(ir.Int(1))}, 27)
}

func rangeInfer(c *op.Infer) error {
	d := make([]shape.Dim, 3)
	for i, f := range c.In {
		v, ok := f.Dims()
		if !ok || len(v) != 1 {
			return rangeOfFloats(c)
		}
		d[i] = v[0]
	}
	n := shape.Unknown()
	if step, fixed := d[2].Int(); fixed {
		if step == 0 {
			return fmt.Errorf("delta is 0, expected any other number")
		}
		from, ok := d[0].Int()
		to, ok2 := d[1].Int()
		switch span := d[1].Sub(d[0]); {
		case ok && ok2:
			k, err := rangeLen(float64(from), float64(to), float64(step))
			if err != nil {
				return err
			}
			n = shape.Const(k)
		case step > 0:
			n = span.DivCeil(step)
		default:
			n = span.Neg().DivCeil(-step)
		}
	}
	if err := setSized(c, c.In[0].DType, shape.Shape{n}); err != nil {
		return err
	}
	if k, fixed := n.Int(); fixed && k <= maxContent {
		elems := make([]shape.Dim, k)
		for i := range elems {
			elems[i] = d[0].Add(d[2].Mul(shape.Const(i)))
		}
		c.SetContent(0, elems)
	}
	return nil
}

func rangeOfFloats(c *op.Infer) error {
	n := shape.Unknown()
	v := [3]float64{}
	known := true
	for i, f := range c.In {
		if known = known && f.Const != nil && f.Const.Len() == 1; known {
			v[i] = num.Floats(f.Const)[0]
		}
	}
	if known {
		k, err := rangeLen(v[0], v[1], v[2])
		if err != nil {
			return err
		}
		n = shape.Const(k)
	}
	c.Set(0, c.In[0].DType, shape.Shape{n})
	return nil
}

func rangeLen(start, limit, delta float64) (int, error) {
	n := math.Ceil((limit - start) / delta)
	switch {
	case delta == 0 || math.IsNaN(n):
		return 0, fmt.Errorf("range from %v to %v by %v: expected numbers and a delta other than 0", start, limit, delta)
	case n > tensor.MaxElements:
		return 0, fmt.Errorf("range from %v to %v by %v: expected at most %d elements", start, limit, delta, tensor.MaxElements)
	}
	return int(max(n, 0)), nil
}

func rangeRef(c *op.Call) error {
	var v [3]float64
	for i, t := range c.In {
		x, err := num.Scalar(t)
		if err != nil {
			return err
		}
		v[i] = x
	}
	n, err := rangeLen(v[0], v[1], v[2])
	if err != nil {
		return err
	}
	dt := c.In[0].DType
	out := c.Output(0, dt, n)
	switch dt {
	case dtype.Float32:
		elems := tensor.Of[float32](out)
		for i := range elems {
			elems[i] = float32(v[0] + float64(float64(i)*v[2]))
		}
		return nil
	case dtype.Int64:
		start, delta := tensor.Of[int64](c.In[0])[0], tensor.Of[int64](c.In[2])[0]
		elems := tensor.Of[int64](out)
		for i := range elems {
			elems[i] = start + int64(i)*delta
		}
		return nil
	}
	if dt.IsInt() {
		start, delta := num.Int64s(c.In[0])[0], num.Int64s(c.In[2])[0]
		elems := make([]int64, n)
		for i := range elems {
			elems[i] = start + int64(i)*delta
		}
		num.SetInt64s(out, elems)
		return nil
	}
	elems := make([]float64, n)
	for i := range elems {
		elems[i] = v[0] + float64(float64(i)*v[2])
	}
	num.SetFloats(out, elems)
	return nil
}

type rangeCases struct{}

func (rangeCases) Cases() []op.Case {
	return []op.Case{
		{Name: "down", In: []*tensor.Tensor{tensor.Scalar(int64(7)), tensor.Scalar(int64(0)), tensor.Scalar(int64(-3))}, Out: []*tensor.Tensor{tensor.FromSlice([]int64{7, 4, 1})}},
		{Name: "floats", In: []*tensor.Tensor{tensor.Scalar(float32(1)), tensor.Scalar(float32(2)), tensor.Scalar(float32(0.5))}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{1, 1.5})}},
		{Name: "empty", In: []*tensor.Tensor{tensor.Scalar(int32(1)), tensor.Scalar(int32(1)), tensor.Scalar(int32(1))}, Out: []*tensor.Tensor{tensor.FromSlice([]int32{}, 0)}},
	}
}
