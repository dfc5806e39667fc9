package image

import (
	"fmt"
	"math"
	"sort"
	"strings"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
)

func init() {
	register := func(extra bool, cases op.Cases, versions ...int) {
		attrs := op.Attrs{
			"mode": op.Default(ir.Str("avg")), "output_height": op.Default(ir.Int(1)), "output_width": op.Default(ir.Int(1)),
			"sampling_ratio": op.Default(ir.Int(0)), "spatial_scale": op.Default(ir.Float(1)),
		}
		if extra {
			attrs["coordinate_transformation_mode"] = op.Default(ir.Str("half_pixel"))
		}
		op.Register(&op.Op{
			Name: "RoiAlign", Versions: versions, Doc: "pools regions of interest by bilinear samples",
			In: op.Ports("X:T1", "rois:T1", "batch_indices:int64"), Out: op.Ports("Y:T1"), Types: op.Types{"T1": op.Floats}, Attrs: attrs,
			Infer: roiAlignInfer, Ref: roiAlignRef, Compile: compileRoiAlign, Cases: cases,
		})
	}
	register(false, nil, 10)
	register(true, roiAlignCases{}, 16, 22)
}

func roiAlignInfer(c *op.Infer) error {
	n, ch := shape.Unknown(), shape.Unknown()
	if s := c.In[1].Shape; len(s) == 2 {
		n = s[0]
	}
	if s := c.In[0].Shape; s != nil {
		if len(s) != 4 {
			return fmt.Errorf("input has shape %v, expected 4 dimensions", s)
		}
		ch = s[1]
	}
	c.Set(0, c.In[0].DType, shape.Shape{n, ch, shape.Const(c.Node.Int("output_height")), shape.Const(c.Node.Int("output_width"))})
	return nil
}

// maxSamples bounds the samples of a region along an axis, which grow with its size.
const maxSamples = 1 << 20

func roiAlignRef(c *op.Call) error {
	x, rois := c.In[0], c.In[1]
	batch, err := c.In[2].Ints()
	if err != nil {
		return err
	}
	ph, pw := c.Node.Int("output_height"), c.Node.Int("output_width")
	if x.Rank() != 4 || rois.Rank() != 2 || rois.Shape[1] != 4 || len(batch) != rois.Shape[0] || ph < 1 || pw < 1 {
		return fmt.Errorf("expected images of 4 dimensions, regions [n,4] and n batch indices, found %s, %s and %s for %d×%d bins", x, rois, c.In[2], ph, pw)
	}
	channels, h, w := x.Shape[1], x.Shape[2], x.Shape[3]
	v, boxes := num.Floats(x), num.Floats(rois)
	out := make([]float64, 0, len(batch)*channels*ph*pw)
	largest := strings.EqualFold(c.Node.Str("mode"), "max")
	for r, b := range batch {
		if b < 0 || b >= x.Shape[0] {
			return fmt.Errorf("batch_indices[%d] is %d, expected 0 to %d", r, b, x.Shape[0]-1)
		}
		ys, xs, err := roiSamples(c.Node, boxes[r*4:r*4+4], h, w)
		if err != nil {
			return fmt.Errorf("region %d: %w", r, err)
		}
		for ch := range channels {
			plane := v[(b*channels+ch)*h*w:][:h*w]
			for i := range ph {
				for j := range pw {
					out = append(out, poolBin(plane, w, ys[i], xs[j], largest))
				}
			}
		}
	}
	num.SetFloats(c.Output(0, x.DType, len(batch), channels, ph, pw), out)
	return nil
}

// mostRatio bounds sampling_ratio, whose square is the samples of a bin. Networks have 2.
const mostRatio = 128

// line is a sample along one axis: between pixels lo and hi, at a fraction of
// the way.
type line struct {
	lo, hi   int
	fraction float64
}

// roiSampling are the attributes that say where samples lie.
type roiSampling struct {
	scale float64
	half  bool
	ratio int
}

func newRoiSampling(n *ir.Node) roiSampling {
	return roiSampling{float64(n.Float("spatial_scale")), n.Str("coordinate_transformation_mode") == "half_pixel", n.Int("sampling_ratio")}
}

// roiAxis is where the samples of a region's bins lie along one axis.
type roiAxis struct {
	start, bin float64 // of the first bin, and a bin's length
	samples    int     // of a bin
}

// axis places the samples of a region between two coordinates.
func (s roiSampling) axis(from, to float64, bins int) (roiAxis, error) {
	offset := 0.
	if s.half {
		offset = 0.5
	}
	start := from*s.scale - offset
	length := to*s.scale - offset - start
	if !s.half {
		length = max(length, 1) // malformed regions are one pixel
	}
	samples := s.ratio
	if samples > mostRatio {
		return roiAxis{}, fmt.Errorf("sampling_ratio is %d, expected at most %d", samples, mostRatio)
	}
	if samples <= 0 {
		samples = int(min(math.Ceil(length/float64(bins)), maxSamples+1))
	}
	if math.IsNaN(start-start) || math.IsNaN(length-length) || samples > maxSamples/bins {
		return roiAxis{}, fmt.Errorf("from %v to %v: expected finite coordinates and at most %d samples in %d bins", from, to, maxSamples, bins)
	}
	return roiAxis{start, length / float64(bins), max(samples, 0)}, nil
}

// at is where sample k of bin i lies.
func (a roiAxis) at(i, k int) float64 {
	return a.start + float64(i)*a.bin + (float64(k)+0.5)*a.bin/float64(a.samples)
}

// inside gives the samples of bin i, from first to before end, that an axis of so many
// pixels (size) has. The others count as zeros, and are not visited: a region may be
// far larger than the image.
func (a roiAxis) inside(i, size int) (first, end int) {
	if size == 0 {
		return 0, 0
	}
	before := func(k int) bool { return a.at(i, k) < -1 }
	after := func(k int) bool { return a.at(i, k) > float64(size) }
	if a.bin < 0 { // samples go backwards
		before, after = after, before
	}
	first = sort.Search(a.samples, func(k int) bool { return !before(k) })
	return first, first + sort.Search(a.samples-first, func(k int) bool { return after(first + k) })
}

// roiBin are the samples of a bin that lie inside the image along one axis, of all.
type roiBin struct {
	lines []line
	all   int
}

// roiSamples gives the sample positions of every bin along y and x.
func roiSamples(n *ir.Node, box []float64, h, w int) (ys, xs []roiBin, err error) {
	s := newRoiSampling(n)
	axis := func(from, to float64, bins, size int) ([]roiBin, error) {
		a, err := s.axis(from, to, bins)
		if err != nil {
			return nil, err
		}
		out := make([]roiBin, bins)
		for i := range out {
			out[i].all = a.samples
			first, end := a.inside(i, size)
			for k := first; k < end; k++ {
				out[i].lines = append(out[i].lines, sampleLine(a.at(i, k), size))
			}
		}
		return out, nil
	}
	if ys, err = axis(box[1], box[3], n.Int("output_height"), h); err == nil {
		xs, err = axis(box[0], box[2], n.Int("output_width"), w)
	}
	return ys, xs, err
}

// sampleLine is the sample at a place from -1 to n.
func sampleLine(at float64, n int) line {
	at = max(at, 0)
	lo := int(at)
	if lo >= n-1 {
		return line{n - 1, n - 1, 0}
	}
	return line{lo, lo + 1, at - float64(lo)}
}

// poolBin is the mean of a bin's bilinear samples or, for max, the largest of
// the weighted corner pixels; samples outside the image are zero.
func poolBin(plane []float64, width int, ys, xs roiBin, largest bool) float64 {
	sum, top := 0., math.Inf(-1)
	for _, y := range ys.lines {
		for _, x := range xs.lines {
			a, b := (1-y.fraction)*(1-x.fraction)*plane[y.lo*width+x.lo], (1-y.fraction)*x.fraction*plane[y.lo*width+x.hi]
			c, d := y.fraction*(1-x.fraction)*plane[y.hi*width+x.lo], y.fraction*x.fraction*plane[y.hi*width+x.hi]
			sum += a + b + c + d
			top = max(top, a, b, c, d)
		}
	}
	count := ys.all * xs.all
	if len(ys.lines)*len(xs.lines) < count {
		top = max(top, 0)
	}
	switch {
	case count == 0:
		return 0
	case largest:
		return top
	}
	return sum / float64(count)
}
