package pointwise

import "github.com/salver-ml/salver/internal/kernels/elemwise"

// Activation is a function that a fused operator applies to its result; nil
// applies none.
type Activation struct {
	Op     elemwise.Op
	Params elemwise.Params
	Float  func(x float64, p elemwise.Params) float64 // the reference
}

// Each applies a to v in place, in float64.
func (a *Activation) Each(v []float64) {
	if a == nil {
		return
	}
	for i, x := range v {
		v[i] = a.Float(x, a.Params)
	}
}

// Row gives the float32 kernel that applies a in place.
func (a *Activation) Row() func(x []float32) {
	f, p := elemwise.Float32(a.Op), a.Params
	return func(x []float32) { f(x, x, p) }
}
