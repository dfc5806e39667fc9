package spatial

import (
	"fmt"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/conv"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/pointwise"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/tensor"
)

// Spec says which inputs of a node are what: 0 is the input, 1 the weights.
type Spec struct {
	Bias       int // 0 is none
	Residual   int // added before the activation; 0 is none
	Activation *pointwise.Activation
}

// plan and runner are a convolution of package conv, transposed or not.
type plan interface {
	Algorithm() conv.Algorithm
	InSize(n int) int
	OutSize(n int) int
	PackedSize() int
	Pack(dst, weights, bias []float32) error
	ScratchSize(threads int) int
}

type runner interface {
	Run(p *pool.Pool, o conv.Operands) error
}

// kernel is a convolution of tensors in plain layout: where the algorithm works
// on blocks of channels, it reorders input and output through scratch memory.
type kernel struct {
	plan
	runner
	spec           Spec
	dims           []int
	batch          int
	weights        []float32 // packed, if they are constant
	in, out        *conv.Reorder
	residual       *conv.Reorder
	act            *elemwise.Unary // an activation that package conv doesn't have
	inLen, outLen  int             // floats of scratch for the blocked tensors
	packLen, spare int             // for weights that are packed in every run, and the plan's own
}

// CompileConv prepares a convolution; nil where the reference has to serve.
func CompileConv(p *op.Prep, s Spec) (op.Kernel, error) {
	x, w := p.InShape(0), p.InShape(1)
	if p.In[0].DType != dtype.Float32 || len(x) > 5 || tensor.Count(p.OutShape(0)) == 0 || tensor.Count(x) == 0 {
		return nil, nil
	}
	g, err := Resolve(p.Node, x, w)
	if err != nil {
		return nil, err
	}
	params, in := paramsOf(g)
	params.Residual = s.Residual > 0
	act, known := activation(s.Activation)
	if known {
		params.Act = act
	}
	Tune(p, &params, in, cpu.Level())
	pl, err := conv.New(params, in, cpu.Level())
	if err != nil {
		return nil, err
	}
	k := &kernel{plan: pl, runner: pl.NewRunner(), spec: s, batch: g.Batch}
	if !known {
		if k.act, err = elemwise.NewUnary(s.Activation.Op, dtype.Float32, s.Activation.Params); err != nil {
			return nil, err
		}
	}
	return k, k.prepare(p, g.In, g.Out)
}

// CompileTranspose prepares a transposed convolution of a batch of images with
// the given spatial sizes, bias in input 2 if present.
func CompileTranspose(p *op.Prep, params conv.TransposeParams, in []int) (op.Kernel, error) {
	if len(in) == 1 {
		in = []int{1, in[0]}
		params.Kernel, params.Stride, params.Dilation = append([]int{1}, params.Kernel...), append([]int{1}, params.Stride...), append([]int{1}, params.Dilation...)
		params.Pads = []int{0, params.Pads[0], 0, params.Pads[1]}
		params.OutputPadding = append([]int{0}, params.OutputPadding...)
	}
	pl, err := conv.NewTranspose(params, in, cpu.Level())
	if err != nil {
		return nil, err
	}
	k := &kernel{plan: pl, runner: pl.NewRunner(), batch: p.InShape(0)[0]}
	if p.Has(2) {
		k.spec.Bias = 2
	}
	return k, k.prepare(p, params.In, params.Out)
}

// paramsOf translates the geometry; one dimension becomes two, which the fast
// algorithms take.
func paramsOf(g *Geometry) (conv.Params, []int) {
	p := conv.Params{In: g.In, Out: g.Out, Groups: g.Groups}
	dims := g.Dims
	if len(dims) == 1 {
		dims = append(dims[:0:0], window.Dim{In: 1, Out: 1, Kernel: 1, Stride: 1, Dilation: 1}, dims[0])
	}
	dims = merged(dims)
	var in, ends []int
	for _, d := range dims {
		p.Kernel, p.Stride, p.Dilation = append(p.Kernel, d.Kernel), append(p.Stride, d.Stride), append(p.Dilation, d.Dilation)
		p.Pads, ends, in = append(p.Pads, d.Begin), append(ends, d.End), append(in, d.In)
	}
	p.Pads = append(p.Pads, ends...)
	return p, in
}

// merged makes one dimension of two neighbours of a volume along which the kernel has one tap, which leaves two.
func merged(dims []window.Dim) []window.Dim {
	single := func(d window.Dim) bool { return d.Kernel == 1 && d.Stride == 1 && d.Begin == 0 && d.End == 0 }
	for i := range len(dims) - 1 {
		if a, b := dims[i], dims[i+1]; len(dims) == 3 && single(a) && single(b) {
			b.In *= a.In
			b.Out, b.Dilation = b.In, 1
			return append(append(dims[:i:i], b), dims[i+2:]...)
		}
	}
	return dims
}

// activation translates a; known is false where package conv doesn't have it.
func activation(a *pointwise.Activation) (act conv.Activation, known bool) {
	if a == nil {
		return act, true
	}
	p := a.Params
	switch a.Op {
	case elemwise.Relu:
		act.Kind = conv.Relu
	case elemwise.Clip:
		act = conv.Activation{Kind: conv.Clip, Lo: p.A, Hi: p.B}
	case elemwise.LeakyRelu:
		act = conv.Activation{Kind: conv.LeakyRelu, Alpha: p.A}
	case elemwise.HardSwish:
		act.Kind = conv.HardSwish
	case elemwise.Sigmoid:
		act.Kind = conv.Sigmoid
	case elemwise.Silu:
		act.Kind = conv.Silu
		return act, p.A == 1
	default:
		return act, false
	}
	return act, true
}

// prepare packs constant weights and lays out the scratch memory.
func (k *kernel) prepare(p *op.Prep, in, out int) error {
	level := cpu.Level()
	k.dims = p.OutShape(0)
	k.spare = k.ScratchSize(p.Threads)
	if k.Algorithm().InBlocked() {
		k.in = conv.NewToBlocked(in, tensor.Count(p.InShape(0)[2:]), level)
		k.inLen = k.InSize(k.batch)
	}
	if k.Algorithm().OutBlocked() {
		k.out = conv.NewFromBlocked(out, tensor.Count(k.dims[2:]), level)
		k.outLen = k.OutSize(k.batch)
		if k.spec.Residual > 0 {
			k.residual = conv.NewToBlocked(out, tensor.Count(k.dims[2:]), level)
		}
	}
	w, bias := p.In[1].Const, []float32(nil)
	if i := k.spec.Bias; i > 0 {
		if t := p.In[i].Const; t != nil {
			bias = tensor.Of[float32](t)
		} else {
			w = nil
		}
	}
	if w == nil {
		k.packLen = k.PackedSize()
		return nil
	}
	p.OnlyPacked(1)
	var err error
	packed := p.Pack(fmt.Sprintf("W/%s/%s", level, k.Algorithm()), 4*k.PackedSize(), func(dst []byte) {
		err = k.Pack(tensor.View[float32](dst), tensor.Of[float32](w), bias)
	})
	k.weights = tensor.View[float32](packed)[:k.PackedSize()]
	return err
}

// ScratchBytes is the working memory of a run.
func (k *kernel) ScratchBytes() int {
	return op.FloatBytes(k.inLen, k.outLen, k.packLen, k.spare)
}

// packOn packs the weights of a run, on its threads where the runner can.
func (k *kernel) packOn(p *pool.Pool, dst, w, bias []float32) error {
	if r, ok := k.runner.(*conv.Runner); ok {
		return r.Pack(p, dst, w, bias)
	}
	return k.Pack(dst, w, bias)
}

// Run computes the convolution.
func (k *kernel) Run(c *op.Call) error {
	y := c.Output(0, dtype.Float32, k.dims...)
	scratch := op.Memory(c.Scratch)
	o := conv.Operands{N: k.batch, In: tensor.Of[float32](c.In[0]), Out: tensor.Of[float32](y), Weights: k.weights}
	if k.in != nil {
		o.In = scratch.Floats(k.inLen)
		k.in.Run(c.Pool, k.batch, o.In, tensor.Of[float32](c.In[0]))
	}
	if k.out != nil {
		o.Out = scratch.Floats(k.outLen)
	}
	if i := k.spec.Residual; i > 0 {
		o.Residual = tensor.Of[float32](c.In[i])
		if k.residual != nil {
			k.residual.Run(c.Pool, k.batch, o.Out, o.Residual)
			o.Residual = o.Out
		}
	}
	if o.Weights == nil {
		o.Weights = scratch.Floats(k.packLen)
		var bias []float32
		if i := k.spec.Bias; i > 0 {
			bias = tensor.Of[float32](c.In[i])
		}
		if err := k.packOn(c.Pool, o.Weights, tensor.Of[float32](c.In[1]), bias); err != nil {
			return err
		}
	}
	o.Scratch = scratch.Floats(k.spare)
	if err := k.runner.Run(c.Pool, o); err != nil {
		return err
	}
	if k.out != nil {
		k.out.Run(c.Pool, k.batch, tensor.Of[float32](y), o.Out)
	}
	if k.act != nil {
		k.act.Run(c.Pool, y.Data, y.Data)
	}
	return nil
}
