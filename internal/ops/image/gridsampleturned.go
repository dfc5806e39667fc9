package image

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/blend"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/kernels/transpose"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// turnedGrid samples images of many channels: these are put beside each other first, so that
// a point is a weighted sum of rows. It gives the bits of gridKernel.
type turnedGrid struct {
	gridKernel
	turn  *transpose.Transpose // of an image
	slots tiling.Slots
	most  int // threads

	image        int
	turned, room []float32
}

// leastTurned is the number of channels from which turning pays.
const leastTurned = 16

func newTurnedGrid(k *gridKernel, threads int) (*turnedGrid, error) {
	turn, err := transpose.New(4, []int{k.channels, k.d * k.h * k.w}, []int{1, 0})
	if err != nil {
		return nil, err
	}
	t := &turnedGrid{gridKernel: *k, turn: turn, most: max(min(threads, tiling.MaxSlots), 1)}
	t.parts = split.Parts(k.points*k.channels, 1<<14)
	return t, nil
}

// pieces are the floats of an image, and of the points of a block on each thread.
func (k *turnedGrid) pieces() (image, room int) {
	return k.channels * k.d * k.h * k.w, k.most * blockPoints * k.channels
}

// ScratchBytes is the working memory of a run.
func (k *turnedGrid) ScratchBytes() int {
	image, room := k.pieces()
	return op.FloatBytes(image, room)
}

func (k *turnedGrid) Run(c *op.Call) error {
	k.dst, k.src, k.grid = tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...)), tensor.Of[float32](c.In[0]), tensor.Of[float32](c.In[1])
	memory := op.Memory(c.Scratch)
	image, room := k.pieces()
	k.turned, k.room = memory.Floats(image), memory.Floats(room)
	for k.image = range k.dims[0] {
		k.turn.Run(c.Pool, tensor.AsBytes(k.turned), tensor.AsBytes(k.src[k.image*image:][:image]))
		k.slots.Reset(k.most)
		c.Pool.Run(k.parts, k)
	}
	k.dst, k.src, k.grid, k.turned, k.room = nil, nil, nil, nil, nil
	return nil
}

// Do samples one chunk of an image's points; it is called by the pool.
func (k *turnedGrid) Do(part int) {
	slot := k.slots.Take()
	defer k.slots.Give(slot)
	room := k.room[slot*blockPoints*k.channels:][:blockPoints*k.channels]
	lo, hi := split.Range(k.points, k.parts, part)
	var b pixelBlock
	var offsets [16]int
	for lo < hi {
		n := min(hi-lo, blockPoints)
		for i := range n {
			k.find(&b, i, k.grid[k.axes*(k.image*k.points+lo+i):][:k.axes])
			row := room[i*k.channels:][:k.channels]
			taps := int(b.n[i])
			if taps == 0 {
				clear(row)
				continue
			}
			for j, pixel := range b.at[i][:taps] {
				offsets[j] = 4 * int(pixel) * k.channels
			}
			blend.Rows(row, k.turned, offsets[:taps], b.weight[i][:taps])
		}
		transpose.Tile32(k.dst[k.image*k.channels*k.points+lo:], room, k.points, k.channels, n, k.channels)
		lo += n
	}
}
