package contrib

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/spatial"
	"github.com/salver-ml/salver/internal/tensor"
)

// qaveragePoolRef sums in float32 and rounds once, with the zero point added
// before: bytes come out as onnxruntime's do, ties included.
func qaveragePoolRef(c *op.Call) error {
	n, last := c.Node, c.Node.Bool("channels_last")
	x, err := dequantized(c.In[0], c.In[1], c.In[2])
	if err != nil {
		return fmt.Errorf("input: %w", err)
	}
	scale, zero, err := scaleOf(c.In[3], c.Input(4))
	if err != nil {
		return fmt.Errorf("output: %w", err)
	}
	if len(x.Shape) < 3 {
		return fmt.Errorf("input is %s, expected batch, channels and positions", c.In[0])
	}
	if last {
		x = transposed(x, channelsFirst(len(x.Shape)))
	}
	w, err := spatial.Read(n, nil)
	if err != nil {
		return err
	}
	dims, err := w.Resolve(x.Shape[2:])
	if err != nil {
		return err
	}
	out := append([]int{}, x.Shape[:2]...)
	for _, d := range dims {
		out = append(out, d.Out)
	}
	if err := tensor.CheckSize(out); err != nil {
		return err
	}
	y := tensor.New(c.In[0].DType, out...)
	v := make([]float64, y.Len())
	area, from := tensor.Count(out[2:]), tensor.Count(x.Shape[2:])
	for i := range v {
		mean := averageWindow(tensor.Of[float32](x)[i/area*from:][:from], dims, i%area, n.Bool("count_include_pad"))
		v[i] = saturated(math.RoundToEven(float64(float32(mean/scale)+zero)), y.DType)
	}
	num.SetFloats(y, v)
	if last {
		y = transposed(y, channelsLast(len(y.Shape)))
	}
	give(c, 0, y)
	return nil
}

// averageWindow is the average of the window of output position at in a plane.
func averageWindow(plane []float32, dims []window.Dim, at int, padded bool) float32 {
	places, count := windowPlaces(len(plane), dims, at, padded)
	sum := float32(0)
	for _, p := range places {
		sum += plane[p]
	}
	return sum / float32(count)
}

// windowPlaces are those of a plane of n places in the window of output position
// at, and the number that their sum is divided by.
func windowPlaces(n int, dims []window.Dim, at int, padded bool) (places []int, count int) {
	places, count = []int{0}, 1
	step, rest, size := n, at, 1
	for _, d := range dims {
		size *= d.Out
	}
	for _, d := range dims {
		step /= max(d.In, 1)
		size /= d.Out
		begin := rest/size*d.Stride - d.Begin
		rest %= size
		count *= d.Kernel
		var next []int
		for _, p := range places {
			first := max(0, (d.Dilation-1-begin)/d.Dilation)
			for k := first; k < d.Kernel && begin+k*d.Dilation < d.In; k++ {
				next = append(next, p+(begin+k*d.Dilation)*step)
			}
		}
		places = next
	}
	if !padded {
		count = len(places)
	}
	return places, count
}
