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

// scaling is what turns the accumulators of a channel into 8 bits:
// saturate(round(float32(acc)·scale + bias) + zero), each operation rounded.
type scaling struct {
	in        convInputs
	quantized bool      // else the result is int32
	signed    bool      // int8, else uint8
	scale     []float32 // per channel
	bias      []float32 // per channel, scaled
	zero      [1]int32
}

// newScaling reports whether scales and zero points have shapes that it knows.
func newScaling(p *op.Prep, in convInputs, g *spatial.Geometry) (scaling, bool) {
	s := scaling{in: in, quantized: in.scaleX > 0, signed: p.Out[0].DType == dtype.Int8}
	if !s.quantized {
		return s, true
	}
	for _, i := range []int{in.scaleX, in.scaleY, in.zeroY} {
		if tensor.Count(p.InShape(i)) != 1 {
			return s, false
		}
	}
	n := tensor.Count(p.InShape(in.scaleW))
	s.scale, s.bias = make([]float32, g.Out), make([]float32, g.Out)
	return s, (n == 1 || n == g.Out) && (!p.Has(in.bias) || tensor.Count(p.InShape(in.bias)) == g.Out)
}

// read takes the scales, Y's zero point and the bias of a call.
func (s *scaling) read(c *op.Call) {
	if !s.quantized {
		return
	}
	x, w, y := tensor.Of[float32](c.In[s.in.scaleX])[0], tensor.Of[float32](c.In[s.in.scaleW]), tensor.Of[float32](c.In[s.in.scaleY])[0]
	for i := range s.scale {
		s.scale[i] = float32(x*w[i%len(w)]) / y
	}
	widen(s.zero[:], c.In[s.in.zeroY])
	clear(s.bias)
	if b := c.Input(s.in.bias); b != nil {
		for i, v := range tensor.Of[int32](b) {
			s.bias[i] = float32(v) * s.scale[i]
		}
	}
}

// rounder is the scaling of one channel.
type rounder struct {
	bias, scale, lo, hi float32
	zero                int32
}

func (s *scaling) rounder(channel int) rounder {
	r := rounder{scale: s.scale[channel], bias: s.bias[channel], zero: s.zero[0], lo: float32(-s.zero[0]), hi: float32(255 - s.zero[0])}
	if s.signed {
		r.lo, r.hi = float32(-128-s.zero[0]), float32(127-s.zero[0])
	}
	return r
}

// magic is 1.5·2²³: adding it to a small number rounds it to an integer, ties
// to even, in the low bits.
const magic = 12582912

// round limits before it rounds, which is the same for limits that are integers.
func (r *rounder) round(acc int32) byte {
	v := float32(float32(acc)*r.scale) + r.bias
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
	in convInputs
	g  *spatial.Geometry
	w  []int32 // filters less their zero points
	scaling
	out dtype.Type

	x     *tensor.Tensor
	zeroX [1]int32
	minus bool    // x is int8
	acc   []int32 // a row for each chunk
	bytes []byte  // the output
	ints  []int32
	parts int
}

func newDepthwise(p *op.Prep, in convInputs, g *spatial.Geometry, s scaling) *depthwiseKernel {
	w := num.Int64s(p.In[in.w].Const)
	if p.Has(in.zeroW) {
		subtract(w, num.Int64s(p.In[in.zeroW].Const))
	}
	k := &depthwiseKernel{in: in, g: g, scaling: s, out: p.Out[0].DType, minus: p.In[0].DType == dtype.Int8}
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
	k.read(c)
	if k.quantized {
		k.bytes = y.Data
	} else {
		k.ints = tensor.Of[int32](y)
	}
	widen(k.zeroX[:], c.Input(k.in.zeroX))
	k.x, k.acc = c.In[0], ints(c.Scratch)
	c.Pool.Run(k.parts, k)
	k.x, k.acc, k.bytes, k.ints = nil, nil, nil, nil
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
			if dx.Kernel == 3 && dx.Dilation == 1 && !k.minus {
				k.three(acc, row, [3]int32(filter[ky*3:]), dx.Stride, -dx.Begin)
				continue
			}
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
	if lo >= hi {
		return
	}
	acc, row = acc[lo:hi], row[lo*stride+from:]
	zero := k.zeroX[0]
	switch {
	case k.minus:
		for o := range acc {
			acc[o] += w * (int32(int8(row[o*stride])) - zero)
		}
	case stride == 1:
		for o, x := range row[:len(acc)] {
			acc[o] += w * (int32(x) - zero)
		}
	default:
		for o := range acc {
			acc[o] += w * (int32(row[o*stride]) - zero)
		}
	}
}

// three adds three neighbouring weights at once where all lie inside.
func (k *depthwiseKernel) three(acc []int32, row []byte, w [3]int32, stride, from int) {
	lo := min((max(-from, 0)+stride-1)/stride, len(acc))
	hi := lo
	if last := len(row) - 3 - from; last >= lo*stride {
		hi = min(last/stride+1, len(acc))
	}
	for kx, x := range w { // the few at the ends
		k.tap(acc[:lo], row, x, stride, from+kx)
		if hi < len(acc) {
			k.tap(acc[hi:], row, x, stride, from+kx+hi*stride)
		}
	}
	if lo == hi {
		return
	}
	zero := (w[0] + w[1] + w[2]) * k.zeroX[0]
	row = row[lo*stride+from:]
	inside := acc[lo:hi]
	if stride == 1 {
		for o := range inside {
			x := (*[3]byte)(row[o : o+3])
			inside[o] += w[0]*int32(x[0]) + w[1]*int32(x[1]) + w[2]*int32(x[2]) - zero
		}
		return
	}
	for o := range inside {
		x := (*[3]byte)(row[o*stride : o*stride+3])
		inside[o] += w[0]*int32(x[0]) + w[1]*int32(x[1]) + w[2]*int32(x[2]) - zero
	}
}

func (k *depthwiseKernel) store(acc []int32, at, ch int) {
	if !k.quantized {
		copy(k.ints[at:], acc)
		return
	}
	r := k.rounder(ch)
	out := k.bytes[at:][:len(acc)]
	for i, a := range acc {
		out[i] = r.round(a)
	}
}
