package conv

import (
	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/pool"
)

// A 1×1 kernel with strides reads some pixels only. These are copied next to each other, and
// then it is a pointwise convolution, whose tiles run over rows: the sums, their order and
// the packed weights are the same. 1024→2048 from 14² to 7² takes 1.3 ms
// instead of 1.8 with AVX-512, 2.1 instead of 2.7 with AVX2.

// Where kernels are long for their rows, neighbouring outputs use different taps, and most tiles have a single pixel. There
// rows are copied with zeros before and after them: 768 channels in groups of 48 with kernels of 1×128 take
// 34 ms for a line of 400 instead of 47 with AVX-512.

// thinBytes is the inputs that are copied at once, of as many images: with a run of weights
// they stay in a second-level cache.
const thinBytes = 1 << 20

// thinned prepares that for a plan, or gives nil where it does not pay: where rows are
// long enough for whole tiles, or the input is read but a few times.
func (pl *Plan) thinned(level cpu.Target) (*Plan, error) {
	p := pl.p
	if w, pays := pl.padRow(); pays {
		return newPlan(p, Direct, []window.Dim{pl.grid.H, w}, level, nil)
	}
	if pl.algorithm != Direct || product(p.Kernel) > 1 || product(p.Stride) == 1 || sum(p.Pads) > 0 || p.Tuning.Rows || pl.half != nil ||
		pl.grid.W.Out > longRow || len(pl.groupsOf) < fewReads*p.Groups {
		return nil, nil
	}
	p.Stride = nil
	p, err := p.normalize()
	if err != nil {
		return nil, err
	}
	dims, err := p.dims(pl.out)
	if err != nil {
		return nil, err
	}
	return newPlan(p, Pointwise, dims, level, nil)
}

// padRow gives the rows with their padding, and whether to copy them so, which the layer and its size decide.
func (pl *Plan) padRow() (w window.Dim, pays bool) {
	if pl.algorithm != Direct || pl.half != nil || pl.p.Tuning.Rows || pl.grid.W.Kernel == 1 {
		return w, false
	}
	g := pl.grid
	w = g.W
	w.In, w.Begin, w.End = (w.Out-1)*w.Stride+(w.Kernel-1)*w.Dilation+1, 0, 0
	g.W, g.Cols = w, w.Spans()
	return w, w.In >= pl.grid.W.Begin+pl.grid.W.In && pl.rowCycles(&g) < 0.85*pl.rowCycles(&pl.grid)
}

// rowCycles is a model of all planes, with one of AVX-512's multiply-adds in a cycle and
// four that sums wait for.
func (pl *Plan) rowCycles(g *window.Grid) (all float64) {
	runs := make([]int, len(pl.set.tiles))
	for _, r := range pl.groupsOf {
		runs[r.n]++
	}
	for n, kernels := range pl.set.tiles {
		if runs[n] == 0 {
			continue
		}
		g.Tiles(len(kernels)-1, func(count, pixels, taps int) {
			all += float64(runs[n]) * float64(count*taps) * max(4, float64(n*pixels*pl.block)/16)
		})
	}
	return all
}

// longRow is the outputs of a row that make whole tiles by themselves.
const longRow = 32

// fewReads is how often an input is read at least to be copied.
const fewReads = 4

// thinImages is the number of images whose pixels are copied at once.
func (pl *Plan) thinImages() int { return max(1, thinBytes/4/pl.thin.InSize(1)) }

// thinner copies pixels or rows, an input block of an image at a time.
type thinner struct {
	plan    *Plan // with the strides
	dst, in []float32
}

// runThin computes some images at a time.
func (r *Runner) runThin(p *pool.Pool, op Operands) error {
	pl := r.plan
	n := min(pl.thinImages(), op.N)
	in, size, out := pl.InSize(1), pl.thin.InSize(1), pl.OutSize(1)
	all, residual := op, op.Residual
	for first := 0; first < all.N; first += n {
		op.N = min(n, all.N-first)
		r.copies = thinner{pl, op.Scratch[:op.N*size], all.In[first*in:][:op.N*in]}
		p.RunFromEnds(op.N*pl.imageBlocks(), &r.copies)
		op.In, op.Out = r.copies.dst, all.Out[first*out:][:op.N*out]
		if residual != nil {
			op.Residual = residual[first*out:][:op.N*out]
		}
		if err := r.thin.Run(p, op); err != nil {
			return err
		}
	}
	r.copies = thinner{}
	return nil
}

// Do copies block i.
func (t *thinner) Do(i int) {
	pl := t.plan
	h, w, b := pl.grid.H, pl.grid.W, pl.block
	src := t.in[i*h.In*w.In*b:][:h.In*w.In*b]
	if w.Kernel > 1 {
		pitch := pl.thin.grid.W.In * b
		for y := range h.In {
			dst := t.dst[(i*h.In+y)*pitch:][:pitch]
			left, row := w.Begin*b, src[y*w.In*b:][:w.In*b]
			clear(dst[:left])
			copyRow(dst[left:left+len(row)], row)
			clear(dst[left+len(row):])
		}
		return
	}
	dst := t.dst[i*h.Out*w.Out*b:][:h.Out*w.Out*b]
	for y := range h.Out {
		from, to := src[y*h.Stride*w.In*b:], dst[y*w.Out*b:]
		if b == 16 {
			copyPixels[[16]float32](to, from, w.Out, b, w.Stride*b)
		} else {
			copyPixels[[8]float32](to, from, w.Out, b, w.Stride*b)
		}
	}
}

// copyPixels copies n pixels; steps are in floats.
func copyPixels[V [8]float32 | [16]float32](dst, src []float32, n, dstStep, srcStep int) {
	var v V
	_, _ = dst[(n-1)*dstStep+len(v)-1], src[(n-1)*srcStep+len(v)-1]
	for x := range n {
		*(*V)(window.At(dst, x*dstStep*4)) = *(*V)(window.At(src, x*srcStep*4))
	}
}
