package nn

import (
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// indexedPool is MaxPool of float32 with indices, of one or two dimensions: row by row of
// the output, tap by tap.
type indexedPool struct {
	h, w   window.Dim
	planes int
	dims   []int
	column bool          // indices count columns
	order  func(int) int // of a place's index then
	spans  [][2]int      // outputs of a row that each tap of a row lies inside the input for
	taps   []int         // places of the taps, from a window's first
	parts  int
	keys   [split.Most][]int64 // of chunks: the largest so far of each output of a row

	in, out []float32
	indices []int64
}

// compileIndexed gives nil where tapPool has to serve.
func compileIndexed(c *op.Prep, dims []window.Dim) op.Kernel {
	x := c.InShape(0)
	k := &indexedPool{planes: x[0] * x[1], dims: c.OutShape(0), column: c.Node.Bool("storage_order")}
	k.order = storageOrder(x[2:], k.column)
	switch len(dims) {
	case 1:
		k.h, k.w = window.Dim{In: 1, Out: 1, Kernel: 1, Stride: 1, Dilation: 1}, dims[0]
	case 2:
		k.h, k.w = dims[0], dims[1]
	default:
		return nil
	}
	if k.h.Kernel*k.w.Kernel > 1<<20 {
		return nil
	}
	for kx := range k.w.Kernel {
		from, to := k.reach(kx)
		k.spans = append(k.spans, [2]int{from, to})
	}
	for tap := range k.h.Kernel * k.w.Kernel {
		k.taps = append(k.taps, tap/k.w.Kernel*k.h.Dilation*k.w.In+tap%k.w.Kernel*k.w.Dilation)
	}
	k.parts = split.Parts(k.planes*k.h.Out*k.w.Out*k.h.Kernel*k.w.Kernel, 1<<13)
	return k
}

// Run pools.
func (k *indexedPool) Run(c *op.Call) error {
	k.in, k.out = tensor.Of[float32](c.In[0]), tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...))
	k.indices = tensor.Of[int64](c.Output(1, dtype.Int64, k.dims...))
	c.Pool.Run(k.parts, k)
	k.in, k.out, k.indices = nil, nil, nil
	return nil
}

// Do pools the rows of one chunk; it is called by the pool.
func (k *indexedPool) Do(part int) {
	if k.keys[part] == nil {
		k.keys[part] = make([]int64, k.w.Out)
	}
	lo, hi := split.Range(k.planes*k.h.Out, k.parts, part)
	for r := lo; r < hi; r++ {
		k.row(k.keys[part], r/k.h.Out, r%k.h.Out)
	}
}

// none is the key of an output all of whose taps are padding.
const none = math.MinInt64

func (k *indexedPool) row(keys []int64, plane, y int) {
	area := k.h.In * k.w.In
	in := k.in[plane*area:][:area]
	for i := range keys {
		keys[i] = none
	}
	y0, y1 := k.h.Taps(y)
	top := k.h.First(y)
	for ky := y0; ky < y1; ky++ {
		row := in[(top+ky*k.h.Dilation)*k.w.In:][:k.w.In]
		for kx, s := range k.spans {
			if s[0] < s[1] {
				larger(keys[s[0]:s[1]], row[k.w.First(s[0])+kx*k.w.Dilation:], k.w.Stride, math.MaxInt32-(ky*k.w.Kernel+kx))
			}
		}
	}
	out, indices := k.out[(plane*k.h.Out+y)*k.w.Out:][:k.w.Out], k.indices[(plane*k.h.Out+y)*k.w.Out:][:k.w.Out]
	first := top*k.w.In - k.w.Begin
	for x, key := range keys {
		at := -1
		if key != none {
			at = first + x*k.w.Stride + k.taps[math.MaxInt32-int(key&math.MaxInt32)]
			out[x] = in[at]
		} else {
			out[x] = float32(math.Inf(-1))
		}
		if k.column {
			at = k.order(at)
		}
		indices[x] = int64(plane*area + at)
	}
}

// reach gives the outputs of a row whose tap kx lies inside the input.
func (k *indexedPool) reach(kx int) (from, to int) {
	at := kx*k.w.Dilation - k.w.Begin
	if at < 0 {
		from = (-at + k.w.Stride - 1) / k.w.Stride
	}
	if at < k.w.In {
		to = min((k.w.In-1-at)/k.w.Stride+1, k.w.Out)
	}
	return from, to
}

// larger takes one tap into a run of outputs. Numbers are compared as integers of the same
// order, NaN above all, with their place behind them, since a branch for each would be
// mispredicted.
func larger(keys []int64, in []float32, stride, place int) {
	for i, best := range keys {
		v := in[i*stride] + 0 // no -0
		bits := int32(math.Float32bits(v))
		if v != v {
			bits = math.MaxInt32
		}
		keys[i] = max(best, int64(bits^bits>>31&math.MaxInt32)<<32|int64(place))
	}
}
