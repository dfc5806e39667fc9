package contrib

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/linear"
	_ "github.com/salver-ml/salver/internal/ops/math" // registers Gemm
	_ "github.com/salver-ml/salver/internal/ops/nn"   // and Conv
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/pointwise"
	"github.com/salver-ml/salver/internal/ops/spatial"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/tensor"
)

// FusedGemm and FusedConv are onnxruntime's Gemm and Conv with an activation.

func init() {
	base := op.Find("", "Gemm", 13)
	attrs := op.Attrs{"activation": op.Opt(ir.KindString), "activation_alpha": op.Opt(ir.KindFloat), "activation_beta": op.Opt(ir.KindFloat), "activation_gamma": op.Opt(ir.KindFloat)}
	for name, spec := range base.Attrs {
		attrs[name] = spec
	}
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "FusedGemm", Versions: []int{1},
		In: base.In, Out: base.Out, Types: base.Types, Attrs: attrs,
		Infer: base.Infer, Compile: wide.Compile(compileFusedGemm), Rows: base.Rows, Flops: base.Flops,
		Ref: func(c *op.Call) error {
			n := c.Node
			f, err := gemmActivation(n)
			if err != nil {
				return err
			}
			return activated(c, base.Ref, f)
		},
		Cases: fusedGemmCases{},
	})
	conv := op.Find("", "Conv", 11)
	attrs = spatial.Attrs()
	attrs["group"], attrs["activation"], attrs["activation_params"] = op.Default(ir.Int(1)), op.Opt(ir.KindString), op.Opt(ir.KindFloats)
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "FusedConv", Versions: []int{1},
		In: op.Ports("X:T", "W:T", "B:T?", "Z:T?"), Out: op.Ports("Y:T"), Types: conv.Types, Attrs: attrs,
		Infer: conv.Infer, Flops: conv.Flops, Ref: fusedConvRef(conv.Ref), Compile: wide.Compile(compileFusedConv), Rows: rowsFusedConv,
		Cases: fusedConvCases{},
	})
}

type fusedGemmCases struct{}

func (fusedGemmCases) Cases() []op.Case {
	a, b := tensor.FromSlice([]float32{1, 2, 3, 4}, 2, 2), tensor.FromSlice([]float32{1, -1, 0, 1}, 2, 2)
	return []op.Case{
		{Name: "relu", In: []*tensor.Tensor{a, b, tensor.FromSlice([]float32{0, -2})},
			Attrs: map[string]*ir.Attr{"activation": ir.Str("Relu")}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{1, 0, 3, 0}, 2, 2)}},
		{Name: "scaled C", In: []*tensor.Tensor{a, b, tensor.FromSlice([]float32{1, -1}, 1, 2)},
			Attrs: map[string]*ir.Attr{"activation": ir.Str("Tanh"), "alpha": ir.Float(.3), "beta": ir.Float(.7)}},
		{Name: "a column by one of C", In: []*tensor.Tensor{a, tensor.FromSlice([]float32{1, -1}, 2, 1), tensor.FromSlice([]float32{1, -1}, 2, 1)},
			Attrs: map[string]*ir.Attr{"activation": ir.Str("Sigmoid"), "alpha": ir.Float(.3)}},
	}
}

type fusedConvCases struct{}

func (fusedConvCases) Cases() []op.Case {
	sigmoid := op.Case{Name: "sigmoid", In: []*tensor.Tensor{wave(2, 3, 5, 5), wave(4, 3, 3, 3), wave(4)}, Attrs: map[string]*ir.Attr{"activation": ir.Str("Sigmoid"), "pads": ir.Ints(1, 1, 1, 1)}}
	return []op.Case{sigmoid, {Name: "relu", In: []*tensor.Tensor{wave(1, 2, 5, 5), wave(3, 2, 3, 3), wave(3), wave(1, 3, 3, 3)}, Attrs: map[string]*ir.Attr{"activation": ir.Str("Relu")}}}
}

// activated runs ref and applies f to its output.
func activated(c *op.Call, ref func(*op.Call) error, f *pointwise.Activation) error {
	if err := ref(c); err != nil {
		return err
	}
	v := num.Floats(c.Out[0])
	f.Each(v)
	num.SetFloats(c.Out[0], v)
	return nil
}

// rowsFusedConv: the residual carries the batch as the input does.
func rowsFusedConv(n *ir.Node, in []int) ([]int, bool) {
	for i, a := range in {
		want := op.NoRows
		if i == 0 || i == 3 {
			want = 0
		}
		if n.In[i] != nil && a != want {
			return nil, false
		}
	}
	return []int{0}, true
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

// ortActivation is an activation by onnxruntime's name, nil for none.
func ortActivation(name string, p []float32) (*pointwise.Activation, error) {
	want := map[string]int{"leakyrelu": 1, "clip": 2, "hardsigmoid": 2}[strings.ToLower(name)]
	if len(p) < want {
		return nil, fmt.Errorf("activation %q has parameters %v, expected %d", name, p, want)
	}
	p = append(append([]float32{}, p...), 0, 0)
	a := &pointwise.Activation{}
	switch strings.ToLower(name) {
	case "", "identity":
		return nil, nil
	case "relu":
		a.Op, a.Float = elemwise.Relu, func(x float64, _ params) float64 { return max(x, 0) }
	case "leakyrelu":
		a.Op, a.Params = elemwise.LeakyRelu, params{A: p[0]}
		a.Float = func(x float64, p params) float64 { return max(x, 0) + float64(float64(p.A)*min(x, 0)) }
	case "sigmoid":
		a.Op, a.Float = elemwise.Sigmoid, func(x float64, _ params) float64 { return 1 / (1 + math.Exp(-x)) }
	case "tanh":
		a.Op, a.Float = elemwise.Tanh, func(x float64, _ params) float64 { return math.Tanh(x) }
	case "clip":
		a.Op, a.Params = elemwise.Clip, params{A: p[0], B: p[1]}
		a.Float = func(x float64, p params) float64 { return min(max(x, float64(p.A)), float64(p.B)) }
	case "hardsigmoid":
		a.Op, a.Params = elemwise.HardSigmoid, params{A: p[0], B: p[1]}
		a.Float = func(x float64, p params) float64 {
			return min(max(float64(float64(p.A)*x)+float64(p.B), 0), 1)
		}
	default:
		return nil, fmt.Errorf("activation %q is unknown", name)
	}
	return a, nil
}

func gemmActivation(n *ir.Node) (*pointwise.Activation, error) {
	var p []float32
	for _, name := range []string{"activation_alpha", "activation_beta"} {
		if n.Has(name) {
			p = append(p, n.Float(name))
		}
	}
	return ortActivation(n.Str("activation"), p)
}

// compileFusedGemm is Gemm's with an activation.
func compileFusedGemm(p *op.Prep) (op.Kernel, error) {
	n := p.Node
	a, err := gemmActivation(n)
	if err != nil {
		return nil, err
	}
	s := linear.Spec{TransA: n.Bool("transA"), TransB: n.Bool("transB"), Alpha: n.Float("alpha"), Activation: a}
	if s.Alpha == 0 || p.Has(2) && n.Float("beta") == 0 {
		return nil, nil
	}
	if p.Has(2) && !s.Add(2, p.InShape(2), p.OutShape(0), n.Float("beta")) {
		return nil, nil
	}
	return linear.Compile(p, s)
}

func compileFusedConv(p *op.Prep) (op.Kernel, error) {
	a, err := ortActivation(p.Node.Str("activation"), p.Node.Floats("activation_params"))
	if err != nil {
		return nil, err
	}
	s := spatial.Spec{Activation: a}
	if p.Has(2) {
		s.Bias = 2
	}
	if p.Has(3) {
		if !slices.Equal(p.InShape(3), p.OutShape(0)) {
			return nil, nil // the reference says what is wrong
		}
		s.Residual = 3
	}
	return spatial.CompileConv(p, s)
}
