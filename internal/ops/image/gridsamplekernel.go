package image

import (
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// compileGridSample serves images and volumes of float32.
func compileGridSample(p *op.Prep) (op.Kernel, error) {
	x, grid := p.InShape(0), p.InShape(1)
	s, err := newSampler(p.Node)
	if err != nil {
		return nil, err
	}
	axes := len(x) - 2
	if axes != 2 && axes != 3 || axes == 3 && s.mode == "cubic" || len(grid) != len(x) || grid[axes+1] != axes || grid[0] != x[0] || p.In[0].DType != dtype.Float32 || p.In[1].DType != dtype.Float32 || tensor.Count(x[2:]) > math.MaxInt32 {
		return nil, nil
	}
	k := &gridKernel{sampler: s, axes: axes, taps: 1, dims: p.OutShape(0), d: 1, h: x[axes], w: x[axes+1], channels: x[1], points: tensor.Count(grid[1 : axes+1])}
	if axes == 3 {
		k.d = x[2]
	}
	switch s.mode {
	case "linear":
		k.taps = 1 << axes
	case "cubic":
		k.taps = 16
	}
	k.parts = split.Parts(x[0]*k.points*(8+k.channels)*k.taps, 1<<16)
	if k.taps > 1 && k.channels >= leastTurned && k.points > 0 && k.d*k.h*k.w > 0 {
		return newTurnedGrid(k, p.Threads)
	}
	return k, nil
}

// gridKernel samples images, and volumes, whose planes are one after the other. The pixels that make up a point, with their weights, are found once
// for all channels.
type gridKernel struct {
	sampler
	dims             []int
	axes             int // 2 or 3: coordinates of a point
	d, h, w          int // d is 1 of an image
	channels, points int
	taps             int // of a point, without padding
	parts            int

	dst, src, grid []float32
}

func (k *gridKernel) Run(c *op.Call) error {
	k.dst, k.src, k.grid = tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...)), tensor.Of[float32](c.In[0]), tensor.Of[float32](c.In[1])
	c.Pool.Run(k.parts, k)
	k.dst, k.src, k.grid = nil, nil, nil
	return nil
}

// Do samples one chunk of points; it is called by the pool.
func (k *gridKernel) Do(part int) {
	lo, hi := split.Range(k.dims[0]*k.points, k.parts, part)
	var b pixelBlock
	for lo < hi {
		image, first := lo/k.points, lo%k.points
		n := min(hi-lo, k.points-first, len(b.n))
		for i := range n {
			k.find(&b, i, k.grid[k.axes*(lo+i):][:k.axes])
		}
		area := k.d * k.h * k.w
		for ch := range k.channels {
			plane := image*k.channels + ch
			b.sum(k.dst[plane*k.points+first:][:n], k.src[plane*area:][:area])
		}
		lo += n
	}
}

// pixelBlock holds the pixels that make up some points: n of them each, row by row.
type pixelBlock struct {
	n      [blockPoints]uint8
	at     [blockPoints][16]int32
	weight [blockPoints][16]float32
}

const blockPoints = 64

// find notes the pixels of point i.
func (k *gridKernel) find(b *pixelBlock, i int, point []float32) {
	if k.axes == 3 {
		k.findInVolume(b, i, point)
		return
	}
	x, y := point[0], point[1]
	if k.inside(b, i, k.pixel(x, k.w), k.pixel(y, k.h)) {
		return
	}
	var columns, rows [4]tap
	nx, ny := k.along(&columns, x, k.w), k.along(&rows, y, k.h)
	n := 0
	for _, r := range rows[:ny] {
		for _, c := range columns[:nx] {
			b.at[i][n], b.weight[i][n] = int32(r.at*k.w+c.at), float32(r.weight*c.weight)
			n++
		}
	}
	b.n[i] = uint8(n)
}

// inside notes the pixels of a point that no padding concerns, with the bits that along gives; false where that is not so.
func (k *gridKernel) inside(b *pixelBlock, i int, x, y float64) bool {
	if !(x >= 0 && x < float64(k.w-1) && y >= 0 && y < float64(k.h-1)) {
		return false
	}
	at, weight := &b.at[i], &b.weight[i]
	switch k.taps {
	case 1:
		at[0], weight[0] = int32(int(math.RoundToEven(y))*k.w+int(math.RoundToEven(x))), 1
	case 4: // of an image
		column, row := int(x), int(y)
		first := int32(row*k.w + column)
		at[0], at[1], at[2], at[3] = first, first+1, first+int32(k.w), first+int32(k.w)+1
		right, down := x-float64(column), y-float64(row)
		left, up := 1-right, 1-down
		weight[0], weight[1], weight[2], weight[3] = float32(up*left), float32(up*right), float32(down*left), float32(down*right)
	default:
		return false
	}
	b.n[i] = uint8(k.taps)
	return true
}

// along is taps without memory of its own.
func (k *gridKernel) along(out *[4]tap, coord float32, n int) int {
	x, lo, hi, ok := k.position(coord, n)
	if !ok {
		return 0
	}
	base := math.Floor(x)
	first, r, found := int(base), x-base, 0
	add := func(at int, w float64) {
		if at, ok := k.place(at, n, lo, hi); ok {
			out[found] = tap{at, w}
			found++
		}
	}
	switch k.mode {
	case "nearest":
		add(first, 1)
	case "linear":
		add(first, 1-r)
		add(first+1, r)
	default:
		for i, w := range cubic(r) {
			add(first-1+i, w)
		}
	}
	return found
}

// sum weighs the pixels of one plane: products and sums are rounded one by one.
func (b *pixelBlock) sum(dst, plane []float32) {
	for i := range dst {
		at, w := &b.at[i], &b.weight[i]
		if b.n[i] == 4 || b.n[i] == 8 {
			s := float32(w[0]*plane[at[0]]) + float32(w[1]*plane[at[1]])
			s += float32(w[2] * plane[at[2]])
			s += float32(w[3] * plane[at[3]])
			if b.n[i] == 8 {
				s += float32(w[4] * plane[at[4]])
				s += float32(w[5] * plane[at[5]])
				s += float32(w[6] * plane[at[6]])
				s += float32(w[7] * plane[at[7]])
			}
			dst[i] = s
			continue
		}
		var s float32
		for j := range b.n[i] {
			s += float32(w[j&15] * plane[at[j&15]])
		}
		dst[i] = s
	}
}
