package quant

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/spatial"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/tensor"
)

// windowTask copies each window of a group's channels into a row.
type windowTask struct {
	taps     [][]int // per output pixel: the input pixels, -1 in the padding
	channels int     // of the input
	per      int     // of a group

	dst, src []byte
	zero     byte
	group    int
	parts    int
}

func (t *windowTask) run(p *pool.Pool, dst, src []byte, zero byte, group int) {
	t.dst, t.src, t.zero, t.group = dst, src, zero, group
	t.parts = split.Parts(len(dst), 16384)
	p.Run(t.parts, t)
	t.dst, t.src = nil, nil
}

// Do copies the windows of one chunk; it is called by the pool.
func (t *windowTask) Do(i int) {
	lo, hi := split.Range(len(t.taps), t.parts, i)
	dst := t.dst[lo*len(t.taps[0])*t.per:]
	for _, taps := range t.taps[lo:hi] {
		for _, at := range taps {
			row := dst[:t.per]
			dst = dst[t.per:]
			if at >= 0 {
				copy(row, t.src[at*t.channels+t.group*t.per:])
				continue
			}
			for k := range row {
				row[k] = t.zero
			}
		}
	}
}

// finishTask adds the bias to accumulators, scales and rounds them to 8 bits,
// and turns pixels × channels into channels × pixels.
type finishTask struct {
	in         convInputs
	quantized  bool // else the result is int32
	signed     bool
	scale      []float32 // per channel
	zero       [1]int32
	bias       []int32 // per channel, or nil
	acc        []int32
	bytes      []byte
	ints       []int32
	at, first  int // of the output and of its channels
	cols, rows int // channels and pixels
	parts      int
}

// newFinish reports whether scales and zero points have shapes that it knows.
func newFinish(p *op.Prep, in convInputs, g *spatial.Geometry) (finishTask, bool) {
	f := finishTask{in: in, quantized: in.scaleX > 0, signed: p.Out[0].DType == dtype.Int8}
	if !f.quantized {
		return f, true
	}
	for _, i := range []int{in.scaleX, in.scaleY, in.zeroY} {
		if tensor.Count(p.InShape(i)) != 1 {
			return f, false
		}
	}
	n := tensor.Count(p.InShape(in.scaleW))
	f.scale = make([]float32, g.Out)
	return f, (n == 1 || n == g.Out) && (!p.Has(in.bias) || tensor.Count(p.InShape(in.bias)) == g.Out)
}

// set reads the scales, Y's zero point and the bias of a call.
func (f *finishTask) set(c *op.Call) {
	if !f.quantized {
		return
	}
	x, w, y := tensor.Of[float32](c.In[f.in.scaleX])[0], tensor.Of[float32](c.In[f.in.scaleW]), tensor.Of[float32](c.In[f.in.scaleY])[0]
	for i := range f.scale {
		f.scale[i] = float32(x*w[i%len(w)]) / y
	}
	widen(f.zero[:], c.In[f.in.zeroY])
	if b := c.Input(f.in.bias); b != nil {
		f.bias = tensor.Of[int32](b)
	}
}

func (f *finishTask) clear() { f.bias = nil }

// run stores pixels × channels accumulators at an offset of y.
func (f *finishTask) run(p *pool.Pool, y *tensor.Tensor, acc []int32, at, first, channels, pixels int) {
	f.output(y)
	f.acc, f.at, f.first, f.cols, f.rows = acc, at, first, channels, pixels
	f.parts = split.Parts(channels*pixels, 8192)
	p.Run(f.parts, f)
	f.acc, f.bytes, f.ints = nil, nil, nil
}

func (f *finishTask) output(y *tensor.Tensor) {
	if f.quantized {
		f.bytes = y.Data
	} else {
		f.ints = tensor.Of[int32](y)
	}
}

// Do finishes a run of pixels; it is called by the pool.
func (f *finishTask) Do(i int) {
	lo, hi := split.Range(f.rows, f.parts, i)
	const tile = 64 // pixels whose accumulators stay in a cache
	for ; lo < hi; lo += tile {
		end := min(lo+tile, hi)
		for ch := range f.cols {
			out := f.at + ch*f.rows
			if !f.quantized {
				for p := lo; p < end; p++ {
					f.ints[out+p] = f.acc[p*f.cols+ch]
				}
				continue
			}
			r := f.rounder(f.first + ch)
			for p := lo; p < end; p++ {
				f.bytes[out+p] = r.round(f.acc[p*f.cols+ch])
			}
		}
	}
}

// rounder turns a channel's accumulators into 8 bits.
type rounder struct {
	bias          int32
	scale, lo, hi float32
	zero          int32
}

func (f *finishTask) rounder(channel int) rounder {
	r := rounder{scale: f.scale[channel], zero: f.zero[0], lo: float32(-f.zero[0]), hi: float32(255 - f.zero[0])}
	if f.signed {
		r.lo, r.hi = float32(-128-f.zero[0]), float32(127-f.zero[0])
	}
	if f.bias != nil {
		r.bias = f.bias[channel]
	}
	return r
}

// magic is 1.5·2²³: adding it to a small number rounds it to an integer, ties
// to even, in the low bits.
const magic = 12582912

// round limits before it rounds, which is the same for limits that are integers.
func (r *rounder) round(acc int32) byte {
	v := float32(acc+r.bias) * r.scale
	if !(v > r.lo) {
		v = r.lo
	}
	if v > r.hi {
		v = r.hi
	}
	return byte(int32(float32(v+magic)-magic) + r.zero)
}

// depthwiseKernel convolves each channel with a filter of its own, row by row.
type depthwiseKernel struct {
	in     convInputs
	g      *spatial.Geometry
	w      []int32 // filters less their zero points
	finish finishTask
	out    dtype.Type

	x      *tensor.Tensor
	zero   [1]int32
	signed bool
	acc    []int32 // a row for each chunk
	parts  int
}

func newDepthwise(p *op.Prep, in convInputs, g *spatial.Geometry, f finishTask) *depthwiseKernel {
	w := num.Int64s(p.In[in.w].Const)
	if p.Has(in.zeroW) {
		subtract(w, num.Int64s(p.In[in.zeroW].Const))
	}
	k := &depthwiseKernel{in: in, g: g, finish: f, out: p.Out[0].DType, signed: p.In[0].DType == dtype.Int8}
	for _, x := range w {
		k.w = append(k.w, int32(x))
	}
	k.parts = split.Parts(g.Batch*g.Out, 1)
	return k
}

func (k *depthwiseKernel) width() int { return k.g.Dims[len(k.g.Dims)-1].Out }

// ScratchBytes holds a row of accumulators for each chunk.
func (k *depthwiseKernel) ScratchBytes() int { return k.parts * align(4*k.width()) }

// Run convolves.
func (k *depthwiseKernel) Run(c *op.Call) error {
	y := c.Output(0, k.out, k.g.Shape...)
	k.finish.set(c)
	k.finish.output(y)
	widen(k.zero[:], c.Input(k.in.zeroX))
	k.x, k.acc = c.In[0], ints(c.Scratch)
	c.Pool.Run(k.parts, k)
	k.x, k.acc = nil, nil
	k.finish.bytes, k.finish.ints = nil, nil
	k.finish.clear()
	return nil
}

// Do computes the planes of one chunk; it is called by the pool.
func (k *depthwiseKernel) Do(i int) {
	lo, hi := split.Range(k.g.Batch*k.g.Out, k.parts, i)
	acc := k.acc[i*align(4*k.width())/4:][:k.width()]
	for plane := lo; plane < hi; plane++ {
		k.plane(plane, acc)
	}
}

func (k *depthwiseKernel) plane(plane int, acc []int32) {
	dx := k.g.Dims[len(k.g.Dims)-1]
	dy := dx
	dy.In, dy.Out, dy.Kernel, dy.Stride, dy.Dilation, dy.Begin, dy.End = 1, 1, 1, 1, 1, 0, 0
	if len(k.g.Dims) == 2 {
		dy = k.g.Dims[0]
	}
	ch := plane % k.g.Out
	x := k.x.Data[plane*dy.In*dx.In:][:dy.In*dx.In]
	filter := k.w[ch*dy.Kernel*dx.Kernel:]
	for oy := range dy.Out {
		clear(acc)
		k0, k1 := dy.Taps(oy)
		for ky := k0; ky < k1; ky++ {
			row := x[(dy.First(oy)+ky*dy.Dilation)*dx.In:][:dx.In]
			for kx := range dx.Kernel {
				k.tap(acc, row, filter[ky*dx.Kernel+kx], dx.Stride, kx*dx.Dilation-dx.Begin)
			}
		}
		k.store(acc, (plane*dy.Out+oy)*dx.Out, ch)
	}
}

// tap adds one weight times a row, less the zero point, where it lies inside.
func (k *depthwiseKernel) tap(acc []int32, row []byte, w int32, stride, from int) {
	lo := 0
	if from < 0 {
		lo = (-from + stride - 1) / stride
	}
	hi := len(acc)
	if last := len(row) - 1 - from; last < (hi-1)*stride {
		hi = max(last, -1)/stride + 1
		if last < 0 {
			hi = 0
		}
	}
	zero := k.zero[0]
	if k.signed {
		for o := lo; o < hi; o++ {
			acc[o] += w * (int32(int8(row[o*stride+from])) - zero)
		}
		return
	}
	for o := lo; o < hi; o++ {
		acc[o] += w * (int32(row[o*stride+from]) - zero)
	}
}

func (k *depthwiseKernel) store(acc []int32, at, ch int) {
	if !k.finish.quantized {
		copy(k.finish.ints[at:], acc)
		return
	}
	r := k.finish.rounder(ch)
	out := k.finish.bytes[at:][:len(acc)]
	for i, a := range acc {
		out[i] = r.round(a)
	}
}
