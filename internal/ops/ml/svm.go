package ml

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: domain, Name: "SVMRegressor", Versions: []int{1}, Doc: "a support vector machine; one_class gives 1 for inliers and -1 for outliers",
		In: op.Ports("X:T"), Out: op.Ports("Y:float32"), Types: op.Types{"T": features},
		Attrs: op.Attrs{"coefficients": op.Opt(ir.KindFloats), "kernel_params": op.Opt(ir.KindFloats), "kernel_type": op.Default(ir.Str("LINEAR")), "n_supports": op.Default(ir.Int(0)),
			"one_class": op.Default(ir.Int(0)), "post_transform": op.Default(ir.Str("NONE")), "rho": op.Opt(ir.KindFloats), "support_vectors": op.Opt(ir.KindFloats)},
		Infer: inferSVMRegressor, Ref: ref(newSVMRegressor), Compile: compile(newSVMRegressor), Rows: rowsMatrix,
		Cases: svmRegressorCases{},
	})
}

type svmRegressorCases struct{}

func (svmRegressorCases) Cases() []op.Case {
	return []op.Case{{Name: "polynomial", In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2, 0, 1}, 2, 2)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{-4.5, -2.5}, 2, 1)},
		Attrs: map[string]*ir.Attr{"kernel_type": ir.Str("POLY"), "kernel_params": ir.Floats(1, 1, 2), "n_supports": ir.Int(2), "coefficients": ir.Floats(1, -1), "rho": ir.Floats(.5), "support_vectors": ir.Floats(1, 0, 0, 1)}}}
}

// svmKernel is a measure of likeness of two vectors.
type svmKernel func(a []float64, b []float32) float64

func newSVMKernel(n *ir.Node) (svmKernel, error) {
	var p [3]float64 // gamma, coef0, degree
	for i, v := range n.Floats("kernel_params") {
		if i < len(p) {
			p[i] = float64(v)
		}
	}
	switch name := n.Str("kernel_type"); name {
	case "LINEAR":
		return dot, nil
	case "POLY":
		return func(a []float64, b []float32) float64 { return power(p[0]*dot(a, b)+p[1], p[2]) }, nil
	case "SIGMOID":
		return func(a []float64, b []float32) float64 { return math.Tanh(p[0]*dot(a, b) + p[1]) }, nil
	case "RBF":
		return func(a []float64, b []float32) float64 {
			s := 0.
			for i, x := range a {
				d := x - float64(b[i])
				s += d * d
			}
			return math.Exp(-p[0] * s)
		}, nil
	default:
		return nil, fmt.Errorf("kernel_type %q is unknown, expected LINEAR, POLY, RBF or SIGMOID", name)
	}
}

// power is math.Pow, without its time where the degree is a small number as usual.
func power(x, degree float64) float64 {
	if degree != math.Trunc(degree) || degree < 1 || degree > 8 {
		return math.Pow(x, degree)
	}
	y := x
	for range int(degree) - 1 {
		y *= x
	}
	return y
}

func dot(a []float64, b []float32) (s float64) {
	for i, x := range a {
		s += float64(x * float64(b[i]))
	}
	return s
}

func inferSVMRegressor(c *op.Infer) error {
	rows, err := rowCount(c.In[0])
	if err != nil {
		return err
	}
	c.Set(0, scoreType, shape.Shape{rows, shape.Const(1)})
	return nil
}

// svmRegressor sums the coefficients of the support vectors, weighted by how
// alike each is to the input; without any, the coefficients are a linear
// function's.
type svmRegressor struct {
	like            svmKernel
	coefs, vectors  []float32
	supports, width int
	rho             float64
	oneClass        bool
	after           transform
	row, score      []float64
}

func newSVMRegressor(n *ir.Node) (op.Kernel, error) {
	k := &svmRegressor{coefs: n.Floats("coefficients"), vectors: n.Floats("support_vectors"), supports: n.Int("n_supports"), oneClass: n.Bool("one_class"), score: make([]float64, 1)}
	var err error
	if k.like, err = newSVMKernel(n); err != nil {
		return nil, err
	}
	if rho := n.Floats("rho"); len(rho) > 0 {
		k.rho = float64(rho[0])
	}
	switch {
	case k.supports == 0:
		k.width = len(k.coefs)
	case k.supports < 0 || len(k.coefs) != k.supports || len(k.vectors)%k.supports != 0:
		return nil, fmt.Errorf("%d coefficients and %d numbers of support vectors, expected %d and a multiple of it", len(k.coefs), len(k.vectors), k.supports)
	default:
		k.width = len(k.vectors) / k.supports
	}
	k.after, err = postTransform(n.Str("post_transform"))
	return k, err
}

// Run scores the rows of input 0.
func (k *svmRegressor) Run(c *op.Call) error {
	x, err := newFeatures(c.In[0], k.width)
	if err != nil {
		return err
	}
	y := matrix{c.Output(0, scoreType, x.rows, 1), x.rows, 1}
	for i := range x.rows {
		k.row = x.row(i, k.row)
		s := k.rho
		if k.supports == 0 {
			s += k.like(k.row, k.coefs)
		}
		for j := range k.supports {
			s += float64(k.coefs[j]) * k.like(k.row, k.vectors[j*k.width:])
		}
		if k.oneClass {
			if s > 0 {
				s = 1
			} else {
				s = -1
			}
		}
		k.score[0] = s
		k.after(k.score)
		y.setRow(i, k.score)
	}
	return nil
}
