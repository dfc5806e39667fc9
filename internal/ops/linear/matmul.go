// Package linear holds what the operators that multiply matrices share: the
// shapes of NumPy's matmul, its reference, and kernels with packed weights.
package linear

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// MatMulShape is the shape of NumPy's matmul of symbolic shapes.
func MatMulShape(a, b shape.Shape) (shape.Shape, error) {
	if a == nil || b == nil {
		return nil, nil
	}
	if len(a) == 0 || len(b) == 0 {
		return nil, fmt.Errorf("expected at least one dimension, found shapes %v and %v", a, b)
	}
	left, right := a, b
	if len(a) == 1 {
		left = shape.Shape{shape.Const(1), a[0]}
	}
	if len(b) == 1 {
		right = shape.Shape{b[0], shape.Const(1)}
	}
	k, k2 := left[len(left)-1], right[len(right)-2]
	if x, ok := k.Int(); ok {
		if y, ok := k2.Int(); ok && x != y {
			return nil, fmt.Errorf("shapes %v and %v do not multiply: %d columns against %d rows", a, b, x, y)
		}
	}
	out, err := shape.Broadcast(left[:len(left)-2], right[:len(right)-2])
	if err != nil {
		return nil, err
	}
	out = slices.Clone(out)
	if len(a) > 1 {
		out = append(out, left[len(left)-2])
	}
	if len(b) > 1 {
		out = append(out, right[len(right)-1])
	}
	if out == nil {
		out = shape.Shape{}
	}
	return out, nil
}

// MatMul is the geometry of NumPy's matmul: Batch products of M×K by K×N.
type MatMul struct {
	Shape   []int // of the result
	M, K, N int
	A, B    []int // offset in elements of each product's operands
}

// NewMatMul resolves two shapes.
func NewMatMul(a, b []int) (*MatMul, error) {
	s, err := MatMulShape(shape.Of(a...), shape.Of(b...))
	if err != nil {
		return nil, err
	}
	m := &MatMul{M: 1, N: 1, K: a[len(a)-1]}
	m.Shape, _ = s.Ints()
	var batchA, batchB []int
	if len(a) > 1 {
		m.M, batchA = a[len(a)-2], a[:len(a)-2]
	}
	if len(b) > 1 {
		m.N, batchB = b[len(b)-1], b[:len(b)-2]
	}
	batch, err := num.BroadcastShape(batchA, batchB)
	if err != nil {
		return nil, err
	}
	m.A = scaled(num.Index(batch, num.BroadcastStrides(batchA, batch)), m.M*m.K)
	m.B = scaled(num.Index(batch, num.BroadcastStrides(batchB, batch)), m.K*m.N)
	return m, nil
}

func scaled(v []int, by int) []int {
	for i := range v {
		v[i] *= by
	}
	return v
}

// Multiply computes all products.
func Multiply[T int64 | float64](m *MatMul, a, b []T) []T {
	out := make([]T, tensor.Count(m.Shape))
	for p := range m.A {
		for i := range m.M {
			row := out[(p*m.M+i)*m.N:][:m.N]
			for k, x := range a[m.A[p]+i*m.K:][:m.K] {
				for j, y := range b[m.B[p]+k*m.N:][:m.N] {
					row[j] += T(x * y) // one rounding each, on every machine
				}
			}
		}
	}
	return out
}

// Flops counts a multiply-add per output element and element of the last axis
// of input 0.
func Flops(in, out []op.Fact) float64 {
	n, _ := out[0].Shape.Count().Int()
	k := 1
	if s := in[0].Shape; len(s) > 0 {
		k, _ = s[len(s)-1].Int()
	}
	return 2 * float64(n) * float64(k)
}

// Rows is the row rule of NumPy's matmul for inputs 0 and 1: the batch is a
// leading axis of either, or a row of the matrices in input 0.
func Rows(n *ir.Node, in []int) ([]int, bool) {
	return RowsOf(n.In[0].Type.Shape, n.In[1].Type.Shape, in)
}

// RowsOf is Rows for given shapes.
func RowsOf(a, b shape.Shape, in []int) ([]int, bool) {
	if a == nil || b == nil || len(a) < 2 {
		return nil, false
	}
	rank := max(len(a), len(b))
	out := op.NoRows
	if in[0] != op.NoRows {
		if in[0] == len(a)-1 {
			return nil, false
		}
		out = in[0] + rank - len(a)
		if len(b) == 1 && in[1] == op.NoRows {
			return []int{out}, true
		}
	}
	if in[1] != op.NoRows {
		j := in[1] + rank - len(b)
		if len(b) < 3 || in[1] >= len(b)-2 || out != op.NoRows && j != out {
			return nil, false
		}
		if out == op.NoRows {
			if k := j - (rank - len(a)); k >= 0 && !a[k].Is(1) {
				return nil, false
			}
		}
		return []int{j}, true
	}
	// The batch is in input 0 alone: input 1 must not have it as a dimension.
	if j := out - (rank - len(b)); out < rank-2 && j >= 0 && !b[j].Is(1) {
		return nil, false
	}
	return []int{out}, true
}
