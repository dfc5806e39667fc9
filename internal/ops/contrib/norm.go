package contrib

import (
	"fmt"
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// skipNorm is SkipLayerNormalization, or its form by the root mean square.
type skipNorm struct {
	name       string
	in         []string
	rms        bool
	beta, bias int // inputs; 0 is none
}

func init() {
	for _, s := range []skipNorm{
		{"SkipLayerNormalization", []string{"input:T", "skip:T", "gamma:T", "beta:T?", "bias:T?"}, false, 3, 4},
		{"SkipSimplifiedLayerNormalization", []string{"input:T", "skip:T", "gamma:T", "bias:T?"}, true, 0, 3},
	} {
		op.Register(&op.Op{
			Domain: op.Microsoft, Name: s.name, Versions: []int{1}, Doc: "The normalization of input + skip + bias.",
			In: op.Ports(s.in...), Out: op.Ports("output:T", "mean:U?", "inv_std_var:U?", "input_skip_bias_sum:T?"), Types: op.Types{"T": op.Floats, "U": {dtype.Float32}},
			Attrs: op.Attrs{"epsilon": op.Default(ir.Float(1e-12))},
			Infer: inferSkipNorm, Ref: s.ref, Compile: wide.Compile(s.compile), Rows: rowsSkipNorm,
			Cases: s,
		})
	}
	op.Register(&op.Op{
		Name: "SimplifiedLayerNormalization", Versions: []int{1}, Doc: "onnxruntime's RMSNormalization, in the domain of ONNX.",
		In: op.Ports("X:T", "scale:V"), Out: op.Ports("Y:V", "inv_std_var:U?"), Types: op.Types{"T": op.Floats, "V": op.Floats, "U": {dtype.Float32}},
		Attrs: op.Attrs{"axis": op.Default(ir.Int(-1)), "epsilon": op.Default(ir.Float(1e-5)), "stash_type": op.Default(ir.Int(1))},
		Infer: inferSimplified, Ref: simplifiedRef, Compile: wide.Compile(compileSimplified), Rows: rowsSimplified,
		Cases: simplifiedLayerNormalizationCases{},
	})
}

// Cases are those of the operator.
func (s skipNorm) Cases() []op.Case {
	in := []*tensor.Tensor{tensor.FromSlice([]float32{1, 2}, 1, 1, 2), tensor.FromSlice([]float32{2, 2}, 1, 1, 2), tensor.FromSlice([]float32{1, 2})}
	want := []float32{-1, 2}
	if s.rms {
		want = []float32{.84852815, 2.2627418}
	}
	all := append([]*tensor.Tensor{wave(2, 3, 33), wave(2, 3, 33)}, wave(33), wave(33), wave(33))[:len(s.in)]
	return []op.Case{{Name: "values", In: in, Out: []*tensor.Tensor{tensor.FromSlice(want, 1, 1, 2)}}, {Name: "bias and sum", In: all}, {Name: "one skip for all", In: []*tensor.Tensor{wave(2, 3, 33), wave(1, 3, 33), wave(33)}}}
}

type simplifiedLayerNormalizationCases struct{}

func (simplifiedLayerNormalizationCases) Cases() []op.Case {
	return []op.Case{{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]float32{3, 4}, 1, 2), tensor.FromSlice([]float32{1, 2})}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{.848528, 2.2627413}, 1, 2)}}, {Name: "rows", In: []*tensor.Tensor{wave(2, 3, 33), wave(33)}}}
}

func inferSkipNorm(c *op.Infer) error {
	x := c.In[0]
	c.Set(0, x.DType, x.Shape)
	var stats shape.Shape
	if n := len(x.Shape); n > 0 {
		stats = append(append(stats, x.Shape[:n-1]...), shape.Const(1))
	}
	c.Set(1, dtype.Float32, stats)
	c.Set(2, dtype.Float32, stats)
	c.Set(3, x.DType, x.Shape)
	return nil
}

// rowsSkipNorm: input and skip carry the batch, before the last axis.
func rowsSkipNorm(n *ir.Node, in []int) ([]int, bool) {
	x, skip := n.In[0].Type.Shape, n.In[1].Type.Shape
	for _, a := range in[2:] {
		if a != op.NoRows {
			return nil, false
		}
	}
	if x == nil || len(x) != len(skip) || in[0] == len(x)-1 || in[1] != in[0] {
		return nil, false
	}
	return slices.Repeat([]int{in[0]}, len(n.Out)), true
}

func rowsSimplified(n *ir.Node, in []int) ([]int, bool) {
	s := n.In[0].Type.Shape
	axis, err := op.Axis(n.Int("axis"), len(s))
	if s == nil || err != nil || in[1] != op.NoRows || in[0] >= axis {
		return nil, false
	}
	return slices.Repeat([]int{in[0]}, len(n.Out)), true
}

func (s skipNorm) ref(c *op.Call) error {
	x, skip := c.In[0], c.In[1]
	if len(x.Shape) == 0 || x.Len() > 0 && (skip.Len() == 0 || x.Len()%skip.Len() != 0) {
		return fmt.Errorf("skip is %s, which does not broadcast to %s", skip, x)
	}
	n := x.Shape[len(x.Shape)-1]
	v := num.Floats(x)
	for i, add := 0, num.Floats(skip); i < len(v); i++ {
		v[i] += add[i%len(add)]
	}
	for _, i := range []int{2, s.beta, s.bias} {
		if t := c.Input(i); i > 0 && t != nil && t.Len() != n {
			return fmt.Errorf("input %d is %s, expected %d numbers", i, t, n)
		}
	}
	if t := c.Input(s.bias); s.bias > 0 && t != nil {
		for i, b := 0, num.Floats(t); i < len(v); i++ {
			v[i] += b[i%n]
		}
	}
	if c.Wants(3) {
		num.SetFloats(c.Output(3, x.DType, x.Shape...), v)
	}
	mean, inv := normalizeRows(v, n, float64(c.Node.Float("epsilon")), s.rms)
	gamma := num.Floats(c.In[2])
	beta := make([]float64, n)
	if t := c.Input(s.beta); s.beta > 0 && t != nil {
		beta = num.Floats(t)
	}
	for i := range v {
		v[i] = v[i]*gamma[i%n] + beta[i%n]
	}
	num.SetFloats(c.Output(0, x.DType, x.Shape...), v)
	stats := append(append([]int{}, x.Shape[:len(x.Shape)-1]...), 1)
	for i, p := range [][]float64{mean, inv} {
		if c.Wants(i + 1) {
			num.SetFloats(c.Output(i+1, dtype.Float32, stats...), p)
		}
	}
	return nil
}

// normalizeRows normalizes rows of n in place and gives their statistics.
func normalizeRows(v []float64, n int, eps float64, rms bool) (mean, inv []float64) {
	for at := 0; at < len(v); at += n {
		row := v[at : at+n]
		m, square := 0., 0.
		if !rms {
			for _, x := range row {
				m += x / float64(n)
			}
		}
		for _, x := range row {
			square += (x - m) * (x - m) / float64(n)
		}
		i := 1 / math.Sqrt(square+eps)
		for k := range row {
			row[k] = (row[k] - m) * i
		}
		mean, inv = append(mean, m), append(inv, i)
	}
	return mean, inv
}

func inferSimplified(c *op.Infer) error {
	x := c.In[0].Shape
	var stats shape.Shape
	if x != nil {
		axis, err := op.Axis(c.Node.Int("axis"), len(x))
		if err != nil {
			return err
		}
		stats = append(stats, x[:axis]...)
		for range x[axis:] {
			stats = append(stats, shape.Const(1))
		}
	}
	c.Set(0, c.In[1].DType, x)
	c.Set(1, dtype.Float32, stats)
	return nil
}

func simplifiedRef(c *op.Call) error {
	x, scale := c.In[0], c.In[1]
	axis, err := op.Axis(c.Node.Int("axis"), len(x.Shape))
	if err != nil {
		return err
	}
	n := tensor.Count(x.Shape[axis:])
	if scale.Len() != n {
		return fmt.Errorf("scale is %s, expected %d numbers", scale, n)
	}
	v := num.Floats(x)
	_, inv := normalizeRows(v, n, float64(c.Node.Float("epsilon")), true)
	for i, g := 0, num.Floats(scale); i < len(v); i++ {
		v[i] *= g[i%n]
	}
	num.SetFloats(c.Output(0, scale.DType, x.Shape...), v)
	if c.Wants(1) {
		stats := append([]int{}, x.Shape[:axis]...)
		for range x.Shape[axis:] {
			stats = append(stats, 1)
		}
		num.SetFloats(c.Output(1, dtype.Float32, stats...), inv)
	}
	return nil
}
