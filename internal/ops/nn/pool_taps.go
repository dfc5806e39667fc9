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
	taps   [][]int // per output place; -1 is padding
	reduce func(plane []float32, taps []int) (v float32, best int)
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
	taps, err := spatial.Taps(dims)
	if err != nil {
		return nil, err
	}
	k := &tapPool{taps: taps, reduce: firstLargest, planes: x[0] * x[1], area: tensor.Count(x[2:]), dims: c.OutShape(0)}
	if p.name == "LpPool" {
		power := float64(c.Node.Int("p"))
		k.reduce = func(plane []float32, taps []int) (float32, int) { return lpOf(plane, taps, power), 0 }
	} else {
		k.order = storageOrder(x[2:], c.Node.Bool("storage_order"))
	}
	work := k.planes * len(taps)
	for _, d := range dims {
		work *= d.Kernel
	}
	k.parts = min(split.Parts(work, 8192), k.planes)
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
	for p := lo; p < hi; p++ {
		plane, first := k.in[p*k.area:][:k.area], p*len(k.taps)
		for i, taps := range k.taps {
			v, best := k.reduce(plane, taps)
			k.out[first+i] = v
			if k.indices != nil {
				k.indices[first+i] = int64(p*k.area + k.order(best))
			}
		}
	}
}

// firstLargest gives the largest number and its first place; -1 where all is padding.
func firstLargest(plane []float32, taps []int) (float32, int) {
	m, best := float32(math.Inf(-1)), -1
	for _, at := range taps {
		if at < 0 {
			continue
		}
		if best < 0 || plane[at] > plane[best] {
			best = at
		}
		m = max(m, plane[at])
	}
	return m, best
}

func lpOf(plane []float32, taps []int, p float64) float32 {
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
