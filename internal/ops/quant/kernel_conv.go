package quant

import (
	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/qgemm"
	"github.com/salver-ml/salver/internal/kernels/transpose"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/spatial"
	"github.com/salver-ml/salver/internal/tensor"
)

// convInputs says which inputs of a node are what; 0 is the input.
type convInputs struct{ w, zeroX, zeroW, scaleX, scaleW, scaleY, zeroY, bias int }

var (
	integerInputs = convInputs{w: 1, zeroX: 2, zeroW: 3}
	qlinearInputs = convInputs{w: 3, zeroX: 2, zeroW: 5, scaleX: 1, scaleW: 4, scaleY: 6, zeroY: 7, bias: 8}
)

// convKernel convolves 8-bit integers as a product of matrices: the input is
// turned so that a pixel's channels are adjacent, each window is copied into a
// row, and the rows are multiplied with packed weights.
type convKernel struct {
	g       *spatial.Geometry
	groups  []qgemm.Task
	turn    *transpose.Transpose // channels × pixels to pixels × channels
	windows *windowTask          // nil: a pixel is its own window
	back    *transpose.Transpose // pixels × channels of a group to channels × pixels
	scaling
	za      []int32
	area    int // pixels of the input
	pixels  int // of the output
	depth   int // numbers in a window
	scratch int
	dims    []int
	out     dtype.Type
}

// compileConv gives nil where the reference has to serve: weights or zero
// points that are computed.
func compileConv(p *op.Prep, in convInputs) (op.Kernel, error) {
	for _, i := range []int{in.zeroX, in.zeroW} {
		if p.Has(i) && tensor.Count(p.InShape(i)) == 0 {
			return nil, nil // the reference says what is wrong
		}
	}
	w := p.In[in.w].Const
	if w == nil || p.Has(in.zeroW) && p.In[in.zeroW].Const == nil || p.Has(in.zeroX) && tensor.Count(p.InShape(in.zeroX)) != 1 {
		return nil, nil
	}
	g, err := spatial.Resolve(p.Node, p.InShape(0), p.InShape(in.w))
	if err != nil {
		return nil, err
	}
	if tensor.Count(p.InShape(0)) == 0 || tensor.Count(g.Shape) == 0 {
		return nil, nil
	}
	f, ok := newScaling(p, in, g)
	if !ok {
		return nil, nil
	}
	if g.In == g.Groups && fitsFloat(w) {
		return newDepthwise(p, g, f)
	}
	k := &convKernel{g: g, scaling: f, za: make([]int32, 1), dims: g.Shape, out: p.Out[0].DType}
	k.pixels, k.area = tensor.Count(spatial.Sizes(g.Dims)), tensor.Count(p.InShape(0)[2:])
	taps := tensor.Count(w.Shape[2:])
	k.depth = w.Shape[1] * taps
	if k.turn, err = transpose.New(1, []int{g.In, k.area}, []int{1, 0}); err != nil {
		return nil, err
	}
	if k.back, err = transpose.New(k.out.Bits()/8, []int{k.pixels, g.Out / g.Groups}, []int{1, 0}); err != nil {
		return nil, err
	}
	if !isPointwise(g) {
		taps, err := spatial.Taps(g.Dims)
		if err != nil {
			return nil, err
		}
		k.windows = &windowTask{taps: taps, channels: g.In, per: w.Shape[1]}
	}
	return k, k.pack(p, w, taps)
}

func isPointwise(g *spatial.Geometry) bool {
	for _, d := range g.Dims {
		if d.Kernel != 1 || d.Stride != 1 || d.Begin+d.End != 0 {
			return false
		}
	}
	return true
}

// pack prepares each group's product: pixels × depth by depth × channels.
func (k *convKernel) pack(p *op.Prep, w *tensor.Tensor, taps int) error {
	g := k.g
	perOut := g.Out / g.Groups
	zero := zerosOf(p, k.in.zeroW, g.Out)
	size := op.Align(qgemm.PackedSize(k.depth, perOut, 1))
	ordered := channelsLast(w.Data, k.depth/taps, taps)
	b := qgemm.Matrix{Signed: w.DType == dtype.Int8, Stride: k.depth, Trans: true}
	var err error
	at := func(i int) qgemm.Matrix {
		m := b
		m.Data = ordered[i*perOut*k.depth:]
		return m
	}
	data := p.Pack("W/"+cpu.ISA(), size*g.Groups, func(dst []byte) {
		for i := range g.Groups {
			if err == nil {
				_, err = qgemm.PackB(dst[i*size:], at(i), zero[i*perOut:][:perOut], k.depth, perOut, 1, 0)
			}
		}
	})
	if err != nil {
		return err
	}
	k.groups = make([]qgemm.Task, g.Groups)
	for i := range k.groups {
		t := &k.groups[i]
		t.M, t.N, t.K = k.pixels, perOut, k.depth
		t.A = qgemm.Matrix{Signed: p.In[0].DType == dtype.Int8, Stride: k.depth}
		if k.windows == nil {
			t.A.Stride = g.In
		}
		t.C.Stride, t.C.Signed = perOut, k.signed
		if k.quantized {
			t.ColScale, t.ColBias = k.scale[i*perOut:][:perOut], k.bias[i*perOut:][:perOut]
		}
		if t.Packed, err = qgemm.Prepacked(data[i*size:], b.Signed, zero[i*perOut:][:perOut], k.depth, perOut, 1); err != nil {
			return err
		}
		k.scratch = max(k.scratch, op.Align(t.ScratchSize(p.Threads)))
	}
	return nil
}

// zerosOf reads the constant zero points of input i, one for each of n channels.
func zerosOf(p *op.Prep, i, n int) []int32 {
	zero := make([]int32, n)
	if p.Has(i) {
		z := num.Int64s(p.In[i].Const)
		for i := range zero {
			zero[i] = int32(z[i%len(z)])
		}
	}
	return zero
}

// channelsLast reorders [out, channels, taps] to [out, taps, channels].
func channelsLast(w []byte, channels, taps int) []byte {
	out := make([]byte, len(w))
	for i, x := range w {
		row, rest := i/(channels*taps), i%(channels*taps)
		out[row*channels*taps+rest%taps*channels+rest/taps] = x
	}
	return out
}

// ScratchBytes is the working memory of a run.
func (k *convKernel) ScratchBytes() int {
	n := op.Align(k.area*k.g.In) + op.Align(k.out.Bits()/8*k.pixels*k.g.Out/k.g.Groups) + k.scratch
	if k.windows != nil {
		n += op.Align(k.pixels * k.depth)
	}
	return n
}

// Run convolves.
func (k *convKernel) Run(c *op.Call) error {
	g := k.g
	scratch := op.Memory(c.Scratch)
	turned := scratch.Take(k.area * g.In)
	perOut := g.Out / g.Groups
	size := k.out.Bits() / 8
	result := scratch.Take(size * k.pixels * perOut)
	var rows []byte
	if k.windows != nil {
		rows = scratch.Take(k.pixels * k.depth)
	}
	widen(k.za, c.Input(k.in.zeroX))
	y := c.Output(0, k.out, k.dims...)
	k.read(c)
	for n := range g.Batch {
		k.turn.Run(c.Pool, turned, c.In[0].Data[n*g.In*k.area:][:g.In*k.area])
		for i := range k.groups {
			t := &k.groups[i]
			t.A.Data = turned[i*k.g.In/g.Groups:]
			if k.windows != nil {
				k.windows.run(c.Pool, rows, turned, byte(k.za[0]), i)
				t.A.Data = rows
			}
			t.ZeroA, t.Scratch = k.za, scratch[:k.scratch]
			if k.quantized {
				t.C.Byte, t.C.Zero = result, k.zero[0]
			} else {
				t.C.Int = tensor.View[int32](result)
			}
			err := t.Run(c.Pool)
			t.A.Data, t.C.Int, t.C.Byte, t.Scratch = nil, nil, nil, nil
			if err != nil {
				return err
			}
			at := size * (n*g.Out + i*perOut) * k.pixels
			k.back.Run(c.Pool, y.Data[at:at+len(result)], result)
		}
	}
	return nil
}

func compileConvInteger(p *op.Prep) (op.Kernel, error) { return compileConv(p, integerInputs) }

func compileQLinearConv(p *op.Prep) (op.Kernel, error) { return compileConv(p, qlinearInputs) }
