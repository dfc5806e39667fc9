// Package ml registers operators of the domain ai.onnx.ml: classical machine
// learning as converters from scikit-learn, LightGBM and XGBoost write it.
package ml

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

const domain = op.ML

// features are the element types of feature matrices.
var features = []dtype.Type{dtype.Float32, dtype.Float64, dtype.Int64, dtype.Int32}

// matrix is a tensor of features, read row by row: a vector is one row.
type matrix struct {
	*tensor.Tensor
	rows, width int
}

func newMatrix(t *tensor.Tensor) (m matrix, err error) {
	switch len(t.Shape) {
	case 1:
		return matrix{t, 1, t.Shape[0]}, nil
	case 2:
		return matrix{t, t.Shape[0], t.Shape[1]}, nil
	}
	return m, fmt.Errorf("X is %s, expected [rows, features] or [features]", t)
}

// newFeatures is newMatrix for models that have so many features.
func newFeatures(t *tensor.Tensor, width int) (matrix, error) {
	m, err := newMatrix(t)
	if err == nil && m.width != width {
		err = fmt.Errorf("X has %d features, expected %d", m.width, width)
	}
	return m, err
}

// row reads row i into buf, which is grown if it must.
func (m matrix) row(i int, buf []float64) []float64 {
	buf = slices.Grow(buf[:0], m.width)[:m.width]
	from, to := i*m.width, (i+1)*m.width
	switch m.DType {
	case dtype.Float32:
		widen(buf, tensor.Of[float32](m.Tensor)[from:to])
	case dtype.Float64:
		widen(buf, tensor.Of[float64](m.Tensor)[from:to])
	case dtype.Int32:
		widen(buf, tensor.Of[int32](m.Tensor)[from:to])
	case dtype.Int64:
		widen(buf, tensor.Of[int64](m.Tensor)[from:to])
	case dtype.Float16:
		for k, h := range tensor.Of[uint16](m.Tensor)[from:to] {
			buf[k] = float64(dtype.F16ToF32(h))
		}
	}
	return buf
}

// setRow writes one row of a float matrix.
func (m matrix) setRow(i int, row []float64) {
	from, to := i*m.width, (i+1)*m.width
	switch m.DType {
	case dtype.Float32:
		narrow(tensor.Of[float32](m.Tensor)[from:to], row)
	case dtype.Float64:
		copy(tensor.Of[float64](m.Tensor)[from:to], row)
	case dtype.Float16:
		for k, h := 0, tensor.Of[uint16](m.Tensor)[from:to]; k < len(h); k++ {
			h[k] = dtype.F32ToF16(float32(row[k]))
		}
	}
}

func widen[T float32 | float64 | int32 | int64](to []float64, from []T) {
	for i, x := range from {
		to[i] = float64(x)
	}
}

func narrow(to []float32, from []float64) {
	for i, x := range from {
		to[i] = float32(x)
	}
}

// rowCount is the number of rows of a matrix of features.
func rowCount(x op.Fact) (shape.Dim, error) {
	switch len(x.Shape) {
	case 0:
		if x.Shape == nil {
			return shape.Unknown(), nil
		}
	case 1:
		return shape.Const(1), nil
	case 2:
		return x.Shape[0], nil
	}
	return shape.Dim{}, fmt.Errorf("X has shape %v, expected [rows, features] or [features]", x.Shape)
}

// rowsMatrix is the row rule of functions of a row of features.
func rowsMatrix(n *ir.Node, in []int) ([]int, bool) {
	if len(n.In[0].Type.Shape) != 2 {
		return nil, false
	}
	return op.RowsFirst(n, in)
}

// floatList reads numbers that are a list of floats or a tensor NAME_as_tensor.
func floatList(n *ir.Node, name string) ([]float64, error) {
	if a, ok := n.Attrs[name+"_as_tensor"]; ok {
		if !a.Tensor.DType.IsFloat() {
			return nil, fmt.Errorf("%s_as_tensor is %s, expected floats", name, a.Tensor)
		}
		return num.Floats(a.Tensor), nil
	}
	f := n.Floats(name)
	out := make([]float64, len(f))
	for i, x := range f {
		out[i] = float64(x)
	}
	return out, nil
}
