package image

import (
	"fmt"
	"math"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// compileRoiAlign serves float32.
func compileRoiAlign(p *op.Prep) (op.Kernel, error) {
	x, rois, batch, out := p.InShape(0), p.InShape(1), p.InShape(2), p.OutShape(0)
	if p.In[0].DType != dtype.Float32 || len(x) != 4 || len(rois) != 2 || rois[1] != 4 || len(batch) != 1 || batch[0] != rois[0] || out[2] < 1 || out[3] < 1 {
		return nil, nil
	}
	const samples = 4 // of a bin, about
	k := &roiKernel{roiSampling: newRoiSampling(p.Node), images: x[0], channels: x[1], h: x[2], w: x[3], dims: out, largest: strings.EqualFold(p.Node.Str("mode"), "max")}
	k.parts = split.Parts(tensor.Count(out)*samples, 1<<15)
	return k, nil
}

// roiKernel pools regions; where a region's samples lie is found once for all channels.
type roiKernel struct {
	roiSampling
	images, channels, h, w int
	dims                   []int // of the output
	largest                bool
	parts                  int

	dst, src, boxes []float32
	batch           []int64
	lines           [split.Most]roiLines // of chunks
	errs            split.Errors
}

// roiLines are the samples of one region.
type roiLines struct{ ys, xs []pixels }

// pixels are the two of a sample along one axis, with weights; lo is -1 beyond the image.
type pixels struct {
	lo, hi    int
	low, high float32
}

func (k *roiKernel) Run(c *op.Call) error {
	k.dst, k.src, k.boxes = tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...)), tensor.Of[float32](c.In[0]), tensor.Of[float32](c.In[1])
	k.batch = tensor.Of[int64](c.In[2])
	c.Pool.Run(k.parts, k)
	k.dst, k.src, k.boxes, k.batch = nil, nil, nil, nil
	return k.errs.First()
}

// Do pools one chunk, of channels of regions; it is called by the pool.
func (k *roiKernel) Do(part int) {
	lo, hi := split.Range(k.dims[0]*k.channels, k.parts, part)
	rows, columns, area := k.dims[2], k.dims[3], k.h*k.w
	lines := &k.lines[part]
	for lo < hi {
		region, first := lo/k.channels, lo%k.channels
		n := min(hi-lo, k.channels-first)
		if err := k.find(lines, region); err != nil {
			k.errs[part] = fmt.Errorf("region %d: %w", region, err)
			return
		}
		ny, nx := len(lines.ys)/rows, len(lines.xs)/columns
		for ch := first; ch < first+n; ch++ {
			plane := k.src[(int(k.batch[region])*k.channels+ch)*area:][:area]
			dst := k.dst[(region*k.channels+ch)*rows*columns:][:rows*columns]
			for i := range dst {
				y, x := i/columns, i%columns
				dst[i] = k.pool(plane, lines.ys[y*ny:(y+1)*ny], lines.xs[x*nx:(x+1)*nx])
			}
		}
		lo += n
	}
	if len(lines.ys)+len(lines.xs) > 1<<14 {
		*lines = roiLines{}
	}
}

// find notes where the samples of a region lie.
func (k *roiKernel) find(l *roiLines, region int) (err error) {
	if b := k.batch[region]; b < 0 || int(b) >= k.images {
		return fmt.Errorf("its batch index is %d, expected 0 to %d", b, k.images-1)
	}
	box := k.boxes[region*4 : region*4+4]
	if l.ys, err = k.along(l.ys[:0], box[1], box[3], k.dims[2], k.h); err == nil {
		l.xs, err = k.along(l.xs[:0], box[0], box[2], k.dims[3], k.w)
	}
	return err
}

// along appends the samples of all bins along an axis of so many pixels (size).
func (k *roiKernel) along(l []pixels, from, to float32, bins, size int) ([]pixels, error) {
	start, bin, samples, err := k.axis(float64(from), float64(to), bins)
	if err != nil {
		return l, err
	}
	for i := range bins {
		for j := range samples {
			at := sampleLine(sampleAt(start, bin, i, j, samples), size)
			if !at.inside {
				at.lo = -1
			}
			l = append(l, pixels{at.lo, at.hi, float32(1 - at.fraction), float32(at.fraction)})
		}
	}
	return l, nil
}

// pool is poolBin in float32: products and sums are rounded one by one.
func (k *roiKernel) pool(plane []float32, ys, xs []pixels) float32 {
	count := len(ys) * len(xs)
	if count == 0 {
		return 0
	}
	total, top := float32(0), float32(math.Inf(-1))
	for _, y := range ys {
		if y.lo < 0 {
			top = max(top, 0)
			continue
		}
		upper, lower := plane[y.lo*k.w:][:k.w], plane[y.hi*k.w:][:k.w]
		for _, x := range xs {
			var a, b, c, d float32
			if x.lo >= 0 {
				a, b = float32(float32(y.low*x.low)*upper[x.lo]), float32(float32(y.low*x.high)*upper[x.hi])
				c, d = float32(float32(y.high*x.low)*lower[x.lo]), float32(float32(y.high*x.high)*lower[x.hi])
			}
			if !k.largest {
				total += (a + b) + (c + d)
				continue
			}
			top = max(top, a, b, c, d)
		}
	}
	if k.largest {
		return top
	}
	return total / float32(count)
}
