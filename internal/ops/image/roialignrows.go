package image

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/kernels/transpose"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// leastRow is the number of channels from which it pays to compute all of a sample at once.
const leastRow = 16

// roiRows is roiKernel for means of many samples: it puts the channels of each pixel side
// by side first, and then adds up rows of them, with the same operations for each in the
// same order.
type roiRows struct {
	roiKernel
	pixels, working int // numbers of scratch: of the images, and of a chunk
	turn            *transpose.Transpose
	scratch         []float32
	weights         [split.Most][5]float32 // of a sample's four pixels, in chunks, and the number of a bin's samples
}

func newRoiRows(k *roiKernel) (*roiRows, error) {
	turn, err := transpose.New(4, []int{k.images, k.channels, k.h * k.w}, []int{0, 2, 1})
	if err != nil {
		return nil, err
	}
	r := &roiRows{roiKernel: *k, pixels: k.images * k.channels * k.h * k.w, working: (k.dims[2]*k.dims[3] + temporary) * k.channels, turn: turn}
	r.parts = min(k.parts, k.dims[0])
	return r, nil
}

// ScratchBytes is for the images, and for each chunk the bins of a region and rows.
func (k *roiRows) ScratchBytes() int { return 4 * (k.pixels + k.parts*k.working) }

func (k *roiRows) Run(c *op.Call) error {
	k.dst, k.src, k.boxes = tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...)), tensor.Of[float32](c.In[0]), tensor.Of[float32](c.In[1])
	k.batch, k.scratch = tensor.Of[int64](c.In[2]), tensor.View[float32](c.Scratch)
	k.turn.Run(c.Pool, c.Scratch, c.In[0].Data)
	c.Pool.Run(k.parts, k)
	k.dst, k.src, k.boxes, k.batch, k.scratch = nil, nil, nil, nil, nil
	return k.errs.First()
}

// temporary is the number of rows in which a sample is computed.
const temporary = 3

// Do pools a chunk of regions; it is called by the pool.
func (k *roiRows) Do(part int) {
	lo, hi := split.Range(k.dims[0], k.parts, part)
	bins, lines := k.dims[2]*k.dims[3], &k.lines[part]
	own := k.scratch[k.pixels+part*k.working:][:k.working]
	sums, rows := own[:bins*k.channels], own[bins*k.channels:]
	for region := lo; region < hi; region++ {
		if err := k.find(lines, region); err != nil {
			k.errs[part] = fmt.Errorf("region %d: %w", region, err)
			return
		}
		image := k.scratch[int(k.batch[region])*k.h*k.w*k.channels:][:k.h*k.w*k.channels]
		for i := range bins {
			k.mean(part, sums[i*k.channels:][:k.channels], rows, image, lines.ys.bin(i/k.dims[3]), lines.xs.bin(i%k.dims[3]))
		}
		transpose.Tile32(k.dst[region*k.channels*bins:], sums, bins, k.channels, bins, k.channels)
	}
	if len(lines.ys.of)+len(lines.xs.of) > 1<<14 {
		*lines = roiLines{}
	}
}

// mean is pool for all channels of a bin.
func (k *roiRows) mean(part int, sum, rows, image []float32, ys, xs []pixels) {
	clear(sum)
	count := k.lines[part].ys.all * k.lines[part].xs.all
	if count == 0 {
		return
	}
	times, plus, n, w := elemwise.Row(elemwise.Mul), elemwise.Row(elemwise.Add), k.channels, &k.weights[part]
	a, b, c := rows[:n], rows[n:][:n], rows[2*n:][:n]
	for _, y := range ys {
		upper, lower := image[y.lo*k.w*n:], image[y.hi*k.w*n:]
		for _, x := range xs {
			w[0], w[1], w[2], w[3] = y.low*x.low, y.low*x.high, y.high*x.low, y.high*x.high
			times(a, upper[x.lo*n:][:n], w[0:1], 1, 0)
			times(b, upper[x.hi*n:][:n], w[1:2], 1, 0)
			plus(a, a, b, 1, 1)
			times(b, lower[x.lo*n:][:n], w[2:3], 1, 0)
			times(c, lower[x.hi*n:][:n], w[3:4], 1, 0)
			plus(b, b, c, 1, 1)
			plus(a, a, b, 1, 1)
			plus(sum, sum, a, 1, 1)
		}
	}
	w[4] = float32(count)
	elemwise.Row(elemwise.Div)(sum, sum, w[4:5], 1, 0)
}
