package image

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Name: "Col2Im", Versions: []int{18}, Doc: "adds up columns of blocks into an image, the inverse of im2col",
		In: op.Ports("input:T", "image_shape:int64", "block_shape:int64"), Out: op.Ports("output:T"), Types: op.Types{"T": op.Numeric},
		Attrs: op.Attrs{"dilations": op.Opt(ir.KindInts), "pads": op.Opt(ir.KindInts), "strides": op.Opt(ir.KindInts)},
		Infer: col2ImInfer, Ref: col2ImRef, Compile: wide.Compile(compileCol2Im), Rows: op.RowsFirst, Cases: col2ImCases{},
	})
}

func col2ImInfer(c *op.Infer) error {
	x := c.In[0].Shape
	size, ok := c.In[1].Dims()
	block, ok2 := c.In[2].Dims()
	if x == nil || !ok || !ok2 {
		c.Set(0, c.In[0].DType, nil)
		return nil
	}
	if len(x) != 3 || len(size) != len(block) {
		return fmt.Errorf("input %v, image %v and block %v: expected 3 dimensions, and as many of image and block", x, shape.Shape(size), shape.Shape(block))
	}
	c.Set(0, c.In[0].DType, slices.Concat(shape.Shape{x[0], x[1].Div(shape.Shape(block).Count())}, size))
	return nil
}

// columns is the geometry of a Col2Im: per dimension of the image.
type columns struct{ image, block, strides, dilations, pads, counts []int }

func newColumns(c *op.Call) (g columns, err error) {
	if g.image, err = c.In[1].Ints(); err != nil {
		return g, err
	}
	if g.block, err = c.In[2].Ints(); err != nil {
		return g, err
	}
	rank := len(g.image)
	ones := slices.Repeat([]int{1}, rank)
	g.strides, g.dilations, g.pads = ones, ones, make([]int, 2*rank)
	for name, dst := range map[string]*[]int{"strides": &g.strides, "dilations": &g.dilations, "pads": &g.pads} {
		if !c.Node.Has(name) {
			continue
		}
		if v := c.Node.Ints(name); len(v) != len(*dst) {
			return g, fmt.Errorf("%s: expected %d numbers, found %d", name, len(*dst), len(v))
		} else {
			*dst = v
		}
	}
	if len(g.block) != rank {
		return g, fmt.Errorf("block_shape: expected %d numbers, found %d", rank, len(g.block))
	}
	if err := tensor.CheckSize(slices.Concat(g.image, g.block)); err != nil {
		return g, err
	}
	for d := range rank {
		if g.image[d] < 1 || g.block[d] < 1 || g.strides[d] < 1 || g.dilations[d] < 1 {
			return g, fmt.Errorf("image %v, block %v, strides %v, dilations %v: expected positive numbers", g.image, g.block, g.strides, g.dilations)
		}
		g.counts = append(g.counts, (g.image[d]+g.pads[d]+g.pads[d+rank]-g.dilations[d]*(g.block[d]-1)-1)/g.strides[d]+1)
	}
	return g, nil
}

// target is the offset in the image of element k of block b, if it is inside.
func (g columns) target(k, b int) (offset int, inside bool) {
	inside = true
	stride := 1
	for d := len(g.image) - 1; d >= 0; d-- {
		at := b%g.counts[d]*g.strides[d] + k%g.block[d]*g.dilations[d] - g.pads[d]
		inside = inside && at >= 0 && at < g.image[d]
		offset += at * stride
		stride *= g.image[d]
		b, k = b/g.counts[d], k/g.block[d]
	}
	return offset, inside
}

func col2ImRef(c *op.Call) error {
	x := c.In[0]
	g, err := newColumns(c)
	if err != nil {
		return err
	}
	area, blocks := tensor.Count(g.block), tensor.Count(g.counts)
	if x.Rank() != 3 || x.Shape[1]%area != 0 || x.Shape[2] != blocks {
		return fmt.Errorf("input is %s, expected [batch, channels × %d, %d] for blocks %v of an image %v", x, area, blocks, g.block, g.image)
	}
	channels := x.Shape[1] / area
	dims := slices.Concat([]int{x.Shape[0], channels}, g.image)
	if err := tensor.CheckSize(dims); err != nil {
		return err
	}
	v, size := num.Floats(x), tensor.Count(g.image)
	sums := make([]float64, tensor.Count(dims))
	for plane := range x.Shape[0] * channels {
		for k := range area {
			for b := range blocks {
				if to, ok := g.target(k, b); ok {
					sums[plane*size+to] += v[(plane*area+k)*blocks+b]
				}
			}
		}
	}
	num.SetFloats(c.Output(0, x.DType, dims...), sums)
	return nil
}
