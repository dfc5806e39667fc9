package image

import (
	"fmt"
	"math"
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
		op.Register(op.Op{
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

// line is a sample along one axis: between pixels lo and hi, at a fraction of
// the way; inside is false beyond the image.
type line struct {
	lo, hi   int
	fraction float64
	inside   bool
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

// axis gives, for a region between two coordinates, where its first bin starts, how long a bin is
// and how many samples it has.
func (s roiSampling) axis(from, to float64, bins int) (start, bin float64, samples int, err error) {
	offset := 0.
	if s.half {
		offset = 0.5
	}
	start = from*s.scale - offset
	length := to*s.scale - offset - start
	if !s.half {
		length = max(length, 1) // malformed regions are one pixel
	}
	samples = s.ratio
	if samples <= 0 {
		samples = int(min(math.Ceil(length/float64(bins)), maxSamples+1))
	}
	if math.IsNaN(start-start) || math.IsNaN(length-length) || samples > maxSamples/bins {
		return 0, 0, 0, fmt.Errorf("from %v to %v: expected finite coordinates and at most %d samples in %d bins", from, to, maxSamples, bins)
	}
	return start, length / float64(bins), max(samples, 0), nil
}

// sampleAt is where sample k of bin i lies.
func sampleAt(start, bin float64, i, k, samples int) float64 {
	return start + float64(i)*bin + (float64(k)+0.5)*bin/float64(samples)
}

// roiSamples gives the sample positions of every bin along y and x.
func roiSamples(n *ir.Node, box []float64, h, w int) (ys, xs [][]line, err error) {
	s := newRoiSampling(n)
	axis := func(from, to float64, bins, size int) ([][]line, error) {
		start, bin, samples, err := s.axis(from, to, bins)
		if err != nil {
			return nil, err
		}
		out := make([][]line, bins)
		for i := range out {
			for k := range samples {
				out[i] = append(out[i], sampleLine(sampleAt(start, bin, i, k, samples), size))
			}
		}
		return out, nil
	}
	if ys, err = axis(box[1], box[3], n.Int("output_height"), h); err == nil {
		xs, err = axis(box[0], box[2], n.Int("output_width"), w)
	}
	return ys, xs, err
}

func sampleLine(at float64, n int) line {
	if at < -1 || at > float64(n) || n == 0 {
		return line{}
	}
	at = max(at, 0)
	lo := int(at)
	if lo >= n-1 {
		return line{n - 1, n - 1, 0, true}
	}
	return line{lo, lo + 1, at - float64(lo), true}
}

// poolBin is the mean of a bin's bilinear samples or, for max, the largest of
// the weighted corner pixels.
func poolBin(plane []float64, width int, ys, xs []line, largest bool) float64 {
	sum, top := 0., math.Inf(-1)
	for _, y := range ys {
		for _, x := range xs {
			var corners [4]float64
			if y.inside && x.inside {
				corners = [4]float64{
					(1 - y.fraction) * (1 - x.fraction) * plane[y.lo*width+x.lo], (1 - y.fraction) * x.fraction * plane[y.lo*width+x.hi],
					y.fraction * (1 - x.fraction) * plane[y.hi*width+x.lo], y.fraction * x.fraction * plane[y.hi*width+x.hi],
				}
			}
			sum += corners[0] + corners[1] + corners[2] + corners[3]
			top = max(top, corners[0], corners[1], corners[2], corners[3])
		}
	}
	count := len(ys) * len(xs)
	switch {
	case count == 0:
		return 0
	case largest:
		return top
	}
	return sum / float64(count)
}
