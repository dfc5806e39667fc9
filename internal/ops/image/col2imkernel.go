package image

import (
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// compileCol2Im serves float32 images of one or two dimensions, whose size is known.
func compileCol2Im(p *op.Prep) (op.Kernel, error) {
	x := p.InShape(0)
	if p.In[0].DType != dtype.Float32 || p.In[1].Const == nil || p.In[2].Const == nil || len(x) != 3 {
		return nil, nil
	}
	g, err := newColumns(&op.Call{Node: p.Node, In: []*tensor.Tensor{nil, p.In[1].Const, p.In[2].Const}})
	if err != nil {
		return nil, err
	}
	area, blocks := tensor.Count(g.block), tensor.Count(g.counts)
	if len(g.counts) == 0 || slices.Min(g.counts) < 1 || x[1]%area != 0 || x[2] != blocks {
		return nil, nil // the reference says what is wrong
	}
	switch len(g.image) {
	case 1:
		g.image, g.block, g.counts = append([]int{1}, g.image...), append([]int{1}, g.block...), append([]int{1}, g.counts...)
		g.strides, g.dilations, g.pads = append([]int{1}, g.strides...), append([]int{1}, g.dilations...), []int{0, g.pads[0], 0, g.pads[1]}
	case 2:
	default:
		return nil, nil
	}
	k := &col2ImKernel{columns: g, dims: p.OutShape(0), planes: x[0] * x[1] / area, add: elemwise.Row(elemwise.Add)}
	k.parts = min(split.Parts(tensor.Count(x), 1<<14), max(k.planes, 1))
	return k, nil
}

// col2ImKernel adds up the planes of images, row by row of blocks: element by element of the
// blocks, in order.
type col2ImKernel struct {
	columns
	dims   []int
	planes int
	parts  int
	add    func(dst, a, b []float32, sa, sb int)

	dst, src []float32
}

func (k *col2ImKernel) Run(c *op.Call) error {
	k.dst, k.src = tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...)), tensor.Of[float32](c.In[0])
	c.Pool.Run(k.parts, k)
	k.dst, k.src = nil, nil
	return nil
}

// Do adds up the planes of one chunk, row by row; it is called by the pool.
func (k *col2ImKernel) Do(part int) {
	lo, hi := split.Range(k.planes, k.parts, part)
	h, w, rows, cols := k.image[0], k.image[1], k.counts[0], k.counts[1]
	for plane := lo; plane < hi; plane++ {
		blocks := k.src[plane*k.block[0]*k.block[1]*rows*cols:]
		for y := range h {
			row := k.dst[(plane*h+y)*w:][:w]
			clear(row)
			for e := range k.block[0] * k.block[1] {
				at := y - e/k.block[1]*k.dilations[0] + k.pads[0]
				if at < 0 || at%k.strides[0] != 0 || at/k.strides[0] >= rows {
					continue
				}
				dx := e%k.block[1]*k.dilations[1] - k.pads[1]
				from, to := inside(dx, k.strides[1], cols, w)
				if from < to {
					src := blocks[(e*rows+at/k.strides[0])*cols:]
					k.addRow(row[from*k.strides[1]+dx:], src[from:to])
				}
			}
		}
	}
}

// addRow adds numbers a stride apart.
func (k *col2ImKernel) addRow(dst, src []float32) {
	if k.strides[1] == 1 {
		k.add(dst[:len(src)], dst, src, 1, 1)
		return
	}
	for i, v := range src {
		dst[i*k.strides[1]] += v
	}
}

// inside gives the blocks, of n that are a stride apart, whose element at a distance lies
// inside an axis of so many pixels (size).
func inside(distance, stride, n, size int) (from, to int) {
	if distance < 0 {
		from = (-distance + stride - 1) / stride
	}
	if distance < size {
		to = min((size-1-distance)/stride+1, n)
	}
	return from, to
}
