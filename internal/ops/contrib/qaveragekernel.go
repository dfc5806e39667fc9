package contrib

import (
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/spatial"
	"github.com/salver-ml/salver/internal/tensor"
)

// qaverageKernel is QLinearAveragePool as its reference computes it: sums of
// float32 in the order of the window's places. A window's places and a byte's
// number are looked up.
type qaverageKernel struct {
	dims                []int
	dt                  dtype.Type
	last                bool
	batch, channels, in int     // in: the places of an input plane
	taps                [][]int // per output place
	counts              []float32
	units, parts        int // planes, or places of all images with the channels last

	number      [256]float32
	scale, zero float32
	x, y        []byte
}

func compileQAverage(p *op.Prep) (op.Kernel, error) {
	n, x := p.Node, p.InShape(0)
	for _, i := range []int{1, 2, 3, 4} {
		if p.Has(i) && tensor.Count(p.InShape(i)) != 1 {
			return nil, nil
		}
	}
	if len(x) < 3 || tensor.Count(x)*tensor.Count(p.OutShape(0)) == 0 {
		return nil, nil
	}
	k := &qaverageKernel{dims: p.OutShape(0), dt: p.In[0].DType, last: n.Bool("channels_last"), batch: x[0]}
	plane := x[2:]
	k.channels = x[1]
	if k.last {
		k.channels, plane = x[len(x)-1], x[1:len(x)-1]
	}
	k.in = tensor.Count(plane)
	w, err := spatial.Read(n, nil)
	if err != nil {
		return nil, err
	}
	dims, err := w.Resolve(plane)
	if err != nil {
		return nil, err
	}
	places := 1
	for _, d := range dims {
		places *= d.Out
	}
	for at := range places {
		taps, count := windowPlaces(k.in, dims, at, n.Bool("count_include_pad"))
		k.taps, k.counts = append(k.taps, taps), append(k.counts, float32(count))
	}
	k.units = k.batch * k.channels
	if k.last {
		k.units = k.batch * places
	}
	k.parts = split.Parts(tensor.Count(k.dims)*max(len(k.taps[places/2]), 1), 16384)
	return k, nil
}

// Run computes the averages.
func (k *qaverageKernel) Run(c *op.Call) error {
	scale, zero := tensor.Of[float32](c.In[1])[0], k.zeroPoint(c.Input(2))
	for i := range k.number {
		k.number[i] = float32(k.value(byte(i))-zero) * scale
	}
	k.scale, k.zero = tensor.Of[float32](c.In[3])[0], k.zeroPoint(c.Input(4))
	k.x, k.y = c.In[0].Data, c.Output(0, k.dt, k.dims...).Data
	c.Pool.Run(k.parts, k)
	k.x, k.y = nil, nil
	return nil
}

func (k *qaverageKernel) value(q byte) float32 {
	if k.dt == dtype.Int8 {
		return float32(int8(q))
	}
	return float32(q)
}

func (k *qaverageKernel) zeroPoint(t *tensor.Tensor) float32 {
	if t == nil {
		return 0
	}
	return k.value(t.Data[0])
}

// Do computes one chunk of planes, or of places with the channels last; it is
// called by the pool.
func (k *qaverageKernel) Do(part int) {
	lo, hi := split.Range(k.units, k.parts, part)
	n := len(k.taps)
	for u := lo; u < hi; u++ {
		if !k.last {
			x, y := k.x[u*k.in:][:k.in], k.y[u*n:][:n]
			for at := range y {
				y[at] = k.average(x, at, 0, 1)
			}
			continue
		}
		x, y := k.x[u/n*k.in*k.channels:], k.y[u*k.channels:][:k.channels]
		for ch := range y {
			y[ch] = k.average(x, u%n, ch, k.channels)
		}
	}
}

func (k *qaverageKernel) average(x []byte, at, offset, step int) byte {
	sum := float32(0)
	for _, p := range k.taps[at] {
		sum += k.number[x[offset+p*step]]
	}
	v := float32(sum/k.counts[at]/k.scale) + k.zero
	return byte(int32(saturated(math.RoundToEven(float64(v)), k.dt)))
}
