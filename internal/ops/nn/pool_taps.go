package nn

import (
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/spatial"
	"github.com/salver-ml/salver/internal/tensor"
)

// tapPool pools float32 by lists of each window's places: MaxPool that gives
// indices too, and LpPool.
type tapPool struct {
	taps   []int32 // window by window; -1 is padding
	window int     // places of each
	reduce func(plane []float32, taps []int32) (v float32, best int)
	order  func(int) int // of a place's index
	planes int
	area   int // of an input plane
	dims   []int
	parts  int

	in, out []float32
	indices []int64
}

// compileTaps gives nil for what package pooling does, and for other types.
func (p pooling) compileTaps(c *op.Prep, dims []window.Dim) (op.Kernel, error) {
	x := c.InShape(0)
	if c.In[0].DType != dtype.Float32 || tensor.Count(x) == 0 || p.name == "AveragePool" || p.name == "MaxPool" && c.Node.Output(1) == nil {
		return nil, nil
	}
	if p.name == "MaxPool" {
		if k := compileIndexed(c, dims); k != nil {
			return k, nil
		}
	}
	taps, err := spatial.Taps(dims)
	if err != nil {
		return nil, err
	}
	k := &tapPool{reduce: firstLargest, planes: x[0] * x[1], area: tensor.Count(x[2:]), dims: c.OutShape(0)}
	for _, list := range taps {
		for _, at := range list {
			k.taps = append(k.taps, int32(at))
		}
		k.window = len(list)
	}
	if p.name == "LpPool" {
		power := float64(c.Node.Int("p"))
		k.reduce = func(plane []float32, taps []int32) (float32, int) { return lpOf(plane, taps, power), 0 }
	} else {
		k.order = storageOrder(x[2:], c.Node.Bool("storage_order"))
	}
	k.parts = min(split.Parts(k.planes*len(k.taps), 8192), k.planes)
	return k, nil
}

// Run pools.
func (k *tapPool) Run(c *op.Call) error {
	k.in, k.out = tensor.Of[float32](c.In[0]), tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...))
	if k.order != nil && c.Wants(1) {
		k.indices = tensor.Of[int64](c.Output(1, dtype.Int64, k.dims...))
	}
	c.Pool.Run(k.parts, k)
	k.in, k.out, k.indices = nil, nil, nil
	return nil
}

// Do pools the planes of one chunk; it is called by the pool.
func (k *tapPool) Do(part int) {
	lo, hi := split.Range(k.planes, k.parts, part)
	places := tensor.Count(k.dims[2:])
	for p := lo; p < hi; p++ {
		plane, out := k.in[p*k.area:][:k.area], k.out[p*places:][:places]
		for i := range out {
			v, best := k.reduce(plane, k.taps[i*k.window:][:k.window])
			out[i] = v
			if k.indices != nil {
				k.indices[p*places+i] = int64(p*k.area + k.order(best))
			}
		}
	}
}

// firstLargest gives the largest number, NaN if there is one, and its first place;
// -1 where all is padding. Numbers are compared as integers of the same order,
// with their place behind them, since a branch for each would be mispredicted.
func firstLargest(plane []float32, taps []int32) (float32, int) {
	best, nan := int64(none), false
	for i, at := range taps {
		if at < 0 {
			continue
		}
		v := plane[at] + 0 // no -0
		bits := int32(math.Float32bits(v))
		best = max(best, int64(bits^bits>>31&math.MaxInt32)<<32|int64(math.MaxInt32-i))
		nan = nan || v != v
	}
	if best == none {
		return float32(math.Inf(-1)), -1
	}
	at := int(taps[math.MaxInt32-int(best&math.MaxInt32)])
	if nan {
		return float32(math.NaN()), at
	}
	return plane[at], at
}

func lpOf(plane []float32, taps []int32, p float64) float32 {
	s := 0.
	for _, at := range taps {
		if at < 0 {
			continue
		}
		switch x := float64(plane[at]); p {
		case 1:
			s += math.Abs(x)
		case 2:
			s += float64(x * x)
		default:
			s += math.Pow(math.Abs(x), p)
		}
	}
	switch p {
	case 1:
		return float32(s)
	case 2:
		return float32(math.Sqrt(s))
	}
	return float32(math.Pow(s, 1/p))
}
