package contrib

import (
	"fmt"
	"math"
	"strings"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	_ "github.com/salver-ml/salver/internal/ops/math" // registers Gemm
	_ "github.com/salver-ml/salver/internal/ops/nn"   // and Conv
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/spatial"
	"github.com/salver-ml/salver/internal/tensor"
)

// FusedGemm and FusedConv are onnxruntime's Gemm and Conv with an activation.

func init() {
	base := op.Find("", "Gemm", 13)
	attrs := op.Attrs{"activation": op.Opt(ir.KindString), "activation_alpha": op.Opt(ir.KindFloat), "activation_beta": op.Opt(ir.KindFloat), "activation_gamma": op.Opt(ir.KindFloat)}
	for name, spec := range base.Attrs {
		attrs[name] = spec
	}
	op.Register(op.Op{
		Domain: op.Microsoft, Name: "FusedGemm", Versions: []int{1},
		In: base.In, Out: base.Out, Types: base.Types, Attrs: attrs,
		Infer: base.Infer, Rows: base.Rows, Flops: base.Flops,
		Ref: func(c *op.Call) error {
			n := c.Node
			f, err := ortActivation(n.Str("activation"), []float32{n.Float("activation_alpha"), n.Float("activation_beta")})
			if err != nil {
				return err
			}
			return activated(c, base.Ref, f)
		},
		Cases: func() []op.Case {
			return []op.Case{{Name: "relu", In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2, 3, 4}, 2, 2), tensor.FromSlice([]float32{1, -1, 0, 1}, 2, 2), tensor.FromSlice([]float32{0, -2})},
				Attrs: map[string]ir.Attr{"activation": ir.Str("Relu")}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{1, 0, 3, 0}, 2, 2)}}}
		},
	})
	conv := op.Find("", "Conv", 11)
	attrs = spatial.Attrs()
	attrs["group"], attrs["activation"], attrs["activation_params"] = op.Default(ir.Int(1)), op.Opt(ir.KindString), op.Opt(ir.KindFloats)
	op.Register(op.Op{
		Domain: op.Microsoft, Name: "FusedConv", Versions: []int{1},
		In: op.Ports("X:T", "W:T", "B:T?", "Z:T?"), Out: op.Ports("Y:T"), Types: conv.Types, Attrs: attrs,
		Infer: conv.Infer, Flops: conv.Flops, Ref: fusedConvRef(conv.Ref),
		Cases: func() []op.Case {
			return []op.Case{{Name: "relu", In: []*tensor.Tensor{wave(1, 2, 5, 5), wave(3, 2, 3, 3), wave(3), wave(1, 3, 3, 3)}, Attrs: map[string]ir.Attr{"activation": ir.Str("Relu")}}}
		},
	})
}

// activated runs ref and applies f to its output.
func activated(c *op.Call, ref func(*op.Call) error, f func(float64) float64) error {
	if err := ref(c); err != nil {
		return err
	}
	v := num.Floats(c.Out[0])
	for i, x := range v {
		v[i] = f(x)
	}
	num.SetFloats(c.Out[0], v)
	return nil
}

func fusedConvRef(ref func(*op.Call) error) func(*op.Call) error {
	return func(c *op.Call) error {
		f, err := ortActivation(c.Node.Str("activation"), c.Node.Floats("activation_params"))
		if err != nil {
			return err
		}
		return activated(c, func(c *op.Call) error {
			if err := ref(c); err != nil {
				return err
			}
			z := c.Input(3)
			if z == nil {
				return nil
			}
			if z.Len() != c.Out[0].Len() {
				return fmt.Errorf("Z is %s, expected the output's %s", z, c.Out[0])
			}
			v := num.Floats(c.Out[0])
			for i, x := range num.Floats(z) {
				v[i] += x
			}
			num.SetFloats(c.Out[0], v)
			return nil
		}, f)
	}
}

// ortActivation is an activation by onnxruntime's name.
func ortActivation(name string, p []float32) (func(float64) float64, error) {
	at := func(i int) float64 {
		if i < len(p) {
			return float64(p[i])
		}
		return 0
	}
	switch strings.ToLower(name) {
	case "", "identity":
		return func(x float64) float64 { return x }, nil
	case "relu":
		return func(x float64) float64 { return max(x, 0) }, nil
	case "leakyrelu":
		return func(x float64) float64 { return max(x, 0) + at(0)*min(x, 0) }, nil
	case "sigmoid":
		return func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, nil
	case "tanh":
		return math.Tanh, nil
	case "clip":
		return func(x float64) float64 { return min(max(x, at(0)), at(1)) }, nil
	case "hardsigmoid":
		return func(x float64) float64 { return min(max(at(0)*x+at(1), 0), 1) }, nil
	}
	return nil, fmt.Errorf("activation %q is unknown", name)
}
