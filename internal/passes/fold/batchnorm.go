package fold

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/tensor"
)

// BatchNorm folds a BatchNormalization into the convolution or matrix product
// before it.
var BatchNorm = pass.Pass{
	Name: "fold-batchnorm", Level: 1, Portable: true,
	Doc:     "Folds an inference-time BatchNormalization into the weights and bias of the Conv, ConvTranspose or Gemm that alone feeds it.",
	Rewrite: batchNorm,
}

func batchNorm(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if !n.Is("BatchNormalization") || n.In[0] == nil || n.Bool("training_mode") {
		return nil, nil
	}
	for _, v := range n.Out[1:] {
		if v != nil {
			c.Near(n, "it gives statistics too")
			return nil, nil
		}
	}
	scale, shift, ok := match.NormAffine(n)
	if !ok {
		c.Near(n, "its parameters are no float32 constants")
		return nil, nil
	}
	return foldAffine(c, n, n.In[0], scale, shift)
}

// Affine folds a multiplication or addition by one constant per channel into
// the convolution before it.
var Affine = pass.Pass{
	Name: "fold-affine", Level: 1, Portable: true,
	Doc:     "Folds Mul, Div, Add and Sub by a constant per channel into the weights and bias of the Conv or ConvTranspose that alone feeds it.",
	Rewrite: affine,
}

func affine(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if n.Domain != "" || len(n.In) != 2 {
		return nil, nil
	}
	x, k := n.In[0], n.In[1]
	if x.IsConst() && (n.Op == "Add" || n.Op == "Mul") {
		x, k = k, x
	}
	if x.IsConst() || !k.IsConst() || k.Const.DType != dtype.Float32 || x.Producer == nil || !(x.Producer.Is("Conv") || x.Producer.Is("ConvTranspose")) {
		return nil, nil
	}
	if len(x.Type.Shape) < 3 {
		return nil, nil
	}
	channels, ok := x.Type.Shape[1].Int()
	if !ok {
		return nil, nil
	}
	vals, ok := perChannel(k.Const, channels, len(x.Type.Shape))
	if !ok {
		return nil, nil
	}
	scale, shift := make([]float32, channels), make([]float32, channels)
	for i := range channels {
		scale[i] = 1
		switch n.Op {
		case "Mul":
			scale[i] = vals[i]
		case "Div":
			scale[i] = 1 / vals[i]
		case "Add":
			shift[i] = vals[i]
		case "Sub":
			shift[i] = -vals[i]
		default:
			return nil, nil
		}
	}
	return foldAffine(c, n, x, scale, shift)
}

// perChannel reads a constant that broadcasts over [N,C,…] as one value for
// each channel.
func perChannel(t *tensor.Tensor, channels, rank int) ([]float32, bool) {
	vals := tensor.Of[float32](t)
	switch {
	case len(vals) == 1 && t.Rank() <= rank:
		out := make([]float32, channels)
		for i := range out {
			out[i] = vals[0]
		}
		return out, true
	case len(vals) != channels || t.Rank() > rank || t.Rank() < rank-1 || t.Shape[t.Rank()-rank+1] != channels:
		return nil, false
	}
	return vals, true
}

// foldAffine replaces y = f(x)·scale + shift, where f is linear with constant
// weights, by f with other weights and bias.
func foldAffine(c *pass.Context, n *ir.Node, x *ir.Value, scale, shift []float32) (*ir.Patch, error) {
	f := x.Producer
	if f == nil || !(f.Is("Conv") || f.Is("ConvTranspose") || f.Is("Gemm")) {
		return nil, nil
	}
	if len(x.Uses()) != 1 || x.IsOutput() {
		c.Near(n, "the result of %s is read elsewhere too", f)
		return nil, nil
	}
	w, bias := f.Input(1), f.Input(2)
	if !w.IsConst() || w.Const.DType != dtype.Float32 || bias != nil && (!bias.IsConst() || bias.Const.DType != dtype.Float32) {
		c.Near(n, "the weights of %s are no float32 constants", f)
		return nil, nil
	}
	if f.Is("Gemm") && (f.Float("alpha") != 1 || f.Float("beta") != 1 || bias != nil && bias.Const.Len() != len(scale)) {
		c.Near(n, "%s scales its operands", f)
		return nil, nil
	}
	scaled, ok := scaleWeights(f, w.Const, scale, c.Pool)
	if !ok {
		return nil, nil
	}
	b := tensor.New(dtype.Float32, len(scale))
	for i := range scale {
		old := float32(0)
		if bias != nil {
			old = tensor.Of[float32](bias.Const)[i]
		}
		tensor.Of[float32](b)[i] = float32(old*scale[i]) + shift[i]
	}
	y := c.Value(n.Out[0].Name)
	m := ir.NewNode("", f.Op, f.Opset, []*ir.Value{f.In[0], ir.NewDerived(c.Name(w.Name), scaled, scaling(f, w, scale, c.Pool)), ir.NewConst(c.Name(f.Name+"_bias"), b)}, []*ir.Value{y}, f.Attrs)
	m.Name = f.Name
	return &ir.Patch{Reason: fmt.Sprintf("fold %s into %s", n, f), Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}, nil
}

// scaling gives a function that scales the weights w of f once more.
func scaling(f *ir.Node, w *ir.Value, scale []float32, p *pool.Pool) func() (*tensor.Tensor, error) {
	source, f := w.Source(), f.Detached()
	return func() (*tensor.Tensor, error) {
		t, err := source()
		if err != nil {
			return nil, err
		}
		scaled, _ := scaleWeights(f, t, scale, p)
		return scaled, nil
	}
}

// scaleWeights multiplies the weights that lead to each output channel.
func scaleWeights(f *ir.Node, w *tensor.Tensor, scale []float32, p *pool.Pool) (*tensor.Tensor, bool) {
	run, channel, ok := channelsOf(f, w.Shape, len(scale))
	if !ok {
		return nil, false
	}
	out := tensor.New(dtype.Float32, w.Shape...)
	t := &scaler{src: tensor.Of[float32](w), dst: tensor.Of[float32](out), run: run, scale: scale, channel: channel}
	t.runs = len(t.src) / max(run, 1)
	p.Run((t.runs+t.perChunk()-1)/t.perChunk(), t)
	return out, true
}

// scaler multiplies runs of weights.
type scaler struct {
	src, dst  []float32
	run, runs int
	scale     []float32
	channel   func(run int) int
}

// perChunk is how many runs make up a pool's piece of work.
func (t *scaler) perChunk() int { return max(1, (64<<10)/max(t.run, 1)) }

// Do scales one chunk.
func (t *scaler) Do(chunk int) {
	n := t.perChunk()
	for i := chunk * n; i < min((chunk+1)*n, t.runs); i++ {
		k := t.scale[t.channel(i)]
		to := t.dst[i*t.run:][:t.run]
		for j, v := range t.src[i*t.run:][:t.run] {
			to[j] = v * k
		}
	}
}

// channelsOf divides weights into runs of elements that lead to one output
// channel, and says to which of so many each run leads.
func channelsOf(f *ir.Node, w []int, channels int) (run int, channel func(i int) int, ok bool) {
	switch {
	case f.Is("Conv"): // [M, C/group, …]
		if len(w) < 3 || w[0] != channels {
			return 0, nil, false
		}
		return tensor.Count(w[1:]), func(i int) int { return i }, true
	case f.Is("ConvTranspose"): // [C, M/group, …]
		group := f.Int("group")
		if len(w) < 3 || group < 1 || w[1]*group != channels || w[0]%group != 0 {
			return 0, nil, false
		}
		perGroup := w[0] / group
		return tensor.Count(w[2:]), func(i int) int { return i/w[1]/perGroup*w[1] + i%w[1] }, true
	case f.Bool("transB"): // [N, K]
		if len(w) != 2 || w[0] != channels {
			return 0, nil, false
		}
		return w[1], func(i int) int { return i }, true
	}
	if len(w) != 2 || w[1] != channels { // [K, N]
		return 0, nil, false
	}
	return 1, func(i int) int { return i % channels }, true
}
