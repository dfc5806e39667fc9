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
	if !k.largest && k.channels >= leastRow && tensor.Count(x) > 0 && tensor.Count(out)*samples >= 2*tensor.Count(x) {
		return newRoiRows(k)
	}
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
type roiLines struct{ ys, xs binPixels }

// binPixels are the samples of a region's bins that lie inside the image along one axis.
type binPixels struct {
	of   []pixels
	ends []int // of bins, in of
	all  int   // samples of a bin, with those outside
}

// bin gives the samples of bin i.
func (b *binPixels) bin(i int) []pixels {
	if i == 0 {
		return b.of[:b.ends[0]]
	}
	return b.of[b.ends[i-1]:b.ends[i]]
}

// pixels are the two of a sample along one axis, with weights.
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
		samples := lines.ys.all * lines.xs.all
		for ch := first; ch < first+n; ch++ {
			plane := k.src[(int(k.batch[region])*k.channels+ch)*area:][:area]
			dst := k.dst[(region*k.channels+ch)*rows*columns:][:rows*columns]
			for i := range dst {
				y, x := i/columns, i%columns
				dst[i] = k.pool(plane, lines.ys.bin(y), lines.xs.bin(x), samples)
			}
		}
		lo += n
	}
	if len(lines.ys.of)+len(lines.xs.of) > 1<<14 {
		*lines = roiLines{}
	}
}

// find notes where the samples of a region lie.
func (k *roiKernel) find(l *roiLines, region int) (err error) {
	if b := k.batch[region]; b < 0 || int(b) >= k.images {
		return fmt.Errorf("its batch index is %d, expected 0 to %d", b, k.images-1)
	}
	box := k.boxes[region*4 : region*4+4]
	if err = k.along(&l.ys, box[1], box[3], k.dims[2], k.h); err == nil {
		err = k.along(&l.xs, box[0], box[2], k.dims[3], k.w)
	}
	return err
}

// along notes the samples of all bins along an axis of so many pixels (size).
func (k *roiKernel) along(l *binPixels, from, to float32, bins, size int) error {
	axis, err := k.axis(float64(from), float64(to), bins)
	if err != nil {
		return err
	}
	l.of, l.ends, l.all = l.of[:0], l.ends[:0], axis.samples
	for i := range bins {
		first, end := axis.inside(i, size)
		for j := first; j < end; j++ {
			at := sampleLine(axis.at(i, j), size)
			l.of = append(l.of, pixels{at.lo, at.hi, float32(1 - at.fraction), float32(at.fraction)})
		}
		l.ends = append(l.ends, len(l.of))
	}
	return nil
}

// pool is poolBin in float32: products and sums are rounded one by one. A bin has so
// many samples (count) with those outside the image.
func (k *roiKernel) pool(plane []float32, ys, xs []pixels, count int) float32 {
	if count == 0 {
		return 0
	}
	total, top := float32(0), float32(math.Inf(-1))
	if len(ys)*len(xs) < count {
		top = 0
	}
	for _, y := range ys {
		upper, lower := plane[y.lo*k.w:][:k.w], plane[y.hi*k.w:][:k.w]
		for _, x := range xs {
			a, b := float32(float32(y.low*x.low)*upper[x.lo]), float32(float32(y.low*x.high)*upper[x.hi])
			c, d := float32(float32(y.high*x.low)*lower[x.lo]), float32(float32(y.high*x.high)*lower[x.hi])
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
