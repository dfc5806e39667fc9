package quant

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/op"
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
