package nn

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// compileRoiPool serves float32.
func compileRoiPool(p *op.Prep) (op.Kernel, error) {
	x, rois, out := p.InShape(0), p.InShape(1), p.OutShape(0)
	if p.In[0].DType != dtype.Float32 || len(x) != 4 || len(rois) != 2 || rois[1] != 5 || tensor.Count(x) == 0 || tensor.Count(out) == 0 {
		return nil, nil
	}
	k := &roiPoolKernel{
		images: x[0], channels: x[1], h: x[2], w: x[3], dims: out, scale: float64(p.Node.Float("spatial_scale")),
		larger: elemwise.Row(elemwise.Max),
	}
	k.parts = split.Parts(rois[0]*x[1]*x[2]*x[3]/4, 1<<15)
	return k, nil
}

// roiPoolKernel takes the maxima of each bin's columns, then those of them.
type roiPoolKernel struct {
	images, channels, h, w int
	dims                   []int // of the output
	scale                  float64
	parts                  int
	larger                 func(dst, a, b []float32, sa, sb int)

	dst, src, regions []float32
	rooms             [split.Most]roiPoolRoom
	errs              split.Errors
}

// roiPoolRoom is the memory of a chunk.
type roiPoolRoom struct {
	most   []float32 // maxima of columns
	ys, xs [][2]int  // the bins of a region
}

func (k *roiPoolKernel) Run(c *op.Call) error {
	k.dst, k.src, k.regions = tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...)), tensor.Of[float32](c.In[0]), tensor.Of[float32](c.In[1])
	c.Pool.Run(k.parts, k)
	k.dst, k.src, k.regions = nil, nil, nil
	return k.errs.First()
}

// Do pools one chunk of channels of regions; it is called by the pool.
func (k *roiPoolKernel) Do(part int) {
	room := &k.rooms[part]
	if room.most == nil {
		*room = roiPoolRoom{make([]float32, k.w), make([][2]int, k.dims[2]), make([][2]int, k.dims[3])}
	}
	rows, columns := k.dims[2], k.dims[3]
	lo, hi := split.Range(k.dims[0]*k.channels, k.parts, part)
	for last := -1; lo < hi; lo++ {
		region := lo / k.channels
		roi := k.regions[region*5:][:5]
		image := int(roi[0])
		if image < 0 || image >= k.images {
			k.errs[part] = fmt.Errorf("region %d is of image %d, expected 0 to %d", region, image, k.images-1)
			return
		}
		if region != last {
			k.bins(room.xs, roi[1], roi[3], k.w)
			k.bins(room.ys, roi[2], roi[4], k.h)
			last = region
		}
		plane := k.src[(image*k.channels+lo%k.channels)*k.h*k.w:][:k.h*k.w]
		out := k.dst[lo*rows*columns:][:rows*columns]
		left, right := room.xs[0][0], room.xs[columns-1][1]
		for y, ends := range room.ys {
			most := room.most[:max(right-left, 0)]
			k.columnMaxima(most, plane, left, ends[0], ends[1])
			for x, b := range room.xs {
				out[y*columns+x] = largestOf(most, b[0]-left, b[1]-left, ends[1] > ends[0])
			}
		}
	}
}

// bins notes those of a region along an axis of so many pixels (size).
func (k *roiPoolKernel) bins(b [][2]int, from, to float32, size int) {
	for i := range b {
		b[i][0], b[i][1] = bin(float64(from)*k.scale, float64(to)*k.scale, i, len(b), size)
	}
}

// columnMaxima takes the largest of rows y0 to y1 of each column from left on.
func (k *roiPoolKernel) columnMaxima(most, plane []float32, left, y0, y1 int) {
	if len(most) == 0 || y0 >= y1 {
		return
	}
	copy(most, plane[y0*k.w+left:])
	for y := y0 + 1; y < y1; y++ {
		k.larger(most, most, plane[y*k.w+left:][:len(most)], 1, 1)
	}
}

// largestOf is the largest of a bin's columns, 0 if it is empty.
func largestOf(most []float32, from, to int, rows bool) float32 {
	if from >= to || !rows {
		return 0
	}
	m := float32(math.Inf(-1))
	for _, v := range most[from:to] {
		m = max(m, v)
	}
	if math.IsInf(float64(m), -1) {
		return 0
	}
	return m
}
