package recover

import (
	"slices"

	"github.com/salver-ml/salver/internal/tensor"
)

// patches cuts what a layer reads into rows: one for each place of a window, in the
// order of the layer's weights.
type patches struct {
	rank     int // of a convolution's input; 0 of a product
	channels int // of one group
	cols     int
	// Of convolutions, for each spatial axis.
	kernel, strides, dilations, pads []int
}

// newPatches is for a layer; nil where the padding is not explicit.
func newPatches(l *layer) *patches {
	c := &patches{channels: l.inputs() / l.groups, cols: l.columns()}
	if !l.n.Is("Conv") {
		return c
	}
	c.kernel = l.weights().Shape[2:]
	c.rank = 2 + len(c.kernel)
	if a := l.n.Str("auto_pad"); a != "" && a != "NOTSET" && a != "VALID" {
		return nil
	}
	fill := func(name string, n, v int) []int {
		if list := l.n.Ints(name); len(list) == n {
			return list
		}
		return slices.Repeat([]int{v}, n)
	}
	n := len(c.kernel)
	c.strides, c.dilations, c.pads = fill("strides", n, 1), fill("dilations", n, 1), fill("pads", 2*n, 0)
	return c
}

// rows gives at most so many rows of a group, at equal distances, the last of them
// as long as all.
func (c *patches) rows(x *tensor.Tensor, group, most int) []float32 {
	if c.rank == 0 {
		return c.productRows(x, most)
	}
	spatial := x.Shape[2:]
	out := make([]int, len(spatial))
	places := x.Shape[0]
	for i, n := range spatial {
		out[i] = max(0, (n+c.pads[i]+c.pads[i+len(spatial)]-c.dilations[i]*(c.kernel[i]-1)-1)/c.strides[i]+1)
		places *= out[i]
	}
	count := min(most, places)
	m := make([]float32, count*c.cols)
	origin := make([]int, len(spatial))
	for r := range count {
		at := r * places / count
		for i := len(spatial) - 1; i >= 0; i-- {
			origin[i] = at%out[i]*c.strides[i] - c.pads[i]
			at /= out[i]
		}
		c.patch(m[r*c.cols:][:c.cols], x, at, group, origin)
	}
	return m
}

// patch copies one window; what lies in the padding stays zero.
func (c *patches) patch(dst []float32, x *tensor.Tensor, image, group int, origin []int) {
	data, area := tensor.Of[float32](x), tensor.Count(x.Shape[2:])
	window := tensor.Count(c.kernel)
	for k := range window {
		offset, inside := 0, true
		rest, step := k, 1
		for i := len(c.kernel) - 1; i >= 0; i-- {
			at := origin[i] + rest%c.kernel[i]*c.dilations[i]
			rest /= c.kernel[i]
			inside = inside && at >= 0 && at < x.Shape[2+i]
			offset += at * step
			step *= x.Shape[2+i]
		}
		if !inside {
			continue
		}
		for ch := range c.channels {
			dst[ch*window+k] = data[(image*x.Shape[1]+group*c.channels+ch)*area+offset]
		}
	}
}

func (c *patches) productRows(x *tensor.Tensor, most int) []float32 {
	data := tensor.Of[float32](x)
	all := len(data) / c.cols
	if all <= most {
		return data
	}
	m := make([]float32, 0, most*c.cols)
	for r := range most {
		m = append(m, data[r*all/most*c.cols:][:c.cols]...)
	}
	return m
}
