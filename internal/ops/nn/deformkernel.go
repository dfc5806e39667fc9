package nn

import (
	"errors"
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/blend"
	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/kernels/transpose"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/spatial"
	"github.com/salver-ml/salver/internal/tensor"
)

// deformKernel computes deformed convolutions of images of float32: of a block of pixels it
// gathers the windows, tap by tap with all channels beside each other, and multiplies them
// with the weights.
type deformKernel struct {
	*spatial.Geometry
	offsetGroups int
	taps         int
	inArea, area int                  // pixels of an image and of an output
	pixels       int                  // of a block
	blocks       int                  // of an output
	turn         *transpose.Transpose // of an image
	slots        tiling.Slots
	products     []gemm.Task
	errs         []error // of slots
	own          int     // floats of a product's scratch

	mask, bias      bool
	dst, src        []float32
	offsets, masks  []float32
	weights, biases []float32 // weights: [group][tap][input][output]
	turned          []float32 // an image: [pixel][channel]
	room            []float32 // of slots
	image           int
}

// deformColumns is about how many floats a block of windows has: it stays in the second cache.
const deformColumns = 96 << 10

func compileDeform(p *op.Prep) (op.Kernel, error) {
	x, w := p.InShape(0), p.InShape(1)
	if p.In[0].DType != dtype.Float32 || len(x) != 4 || tensor.Count(x) == 0 || tensor.Count(w) == 0 || tensor.Count(p.OutShape(0)) == 0 {
		return nil, nil
	}
	g, err := spatial.Resolve(p.Node, x, w)
	if err != nil {
		return nil, err
	}
	out := g.Shape[2:]
	k := &deformKernel{
		Geometry: g, offsetGroups: p.Node.Int("offset_group"), taps: tensor.Count(w[2:]),
		inArea: x[2] * x[3], area: out[0] * out[1], bias: p.Has(3), mask: p.Has(4),
	}
	og := k.offsetGroups
	if og < 1 || g.In%og != 0 || !slices.Equal(p.InShape(2), []int{g.Batch, 2 * og * k.taps, out[0], out[1]}) ||
		k.bias && tensor.Count(p.InShape(3)) != g.Out || k.mask && tensor.Count(p.InShape(4)) != g.Batch*og*k.taps*k.area {
		return nil, nil // the reference says what is wrong
	}
	depth := g.In / g.Groups * k.taps
	k.pixels = min(max(deformColumns/depth, 16), k.area)
	k.blocks = tiling.Ceil(k.area, k.pixels)
	if k.turn, err = transpose.New(4, []int{g.In, k.inArea}, []int{1, 0}); err != nil {
		return nil, err
	}
	k.products = make([]gemm.Task, max(min(p.Threads, tiling.MaxSlots), 1))
	k.errs = make([]error, len(k.products))
	for i := range k.products {
		k.products[i].Product = gemm.Product{M: k.pixels, N: g.Out / g.Groups, K: depth,
			A: gemm.Matrix{Stride: depth}, B: gemm.Matrix{Stride: g.Out / g.Groups}, C: gemm.Matrix{Stride: g.Out / g.Groups}}
		k.own = tiling.Align(k.products[i].ScratchSize(1), 16)
	}
	return k, nil
}

// slotSize is the floats of a block's windows, results and product.
func (k *deformKernel) slotSize() int {
	return tiling.Align(k.pixels*k.taps*(k.In/k.Groups), 16) + tiling.Align(k.pixels*(k.Out/k.Groups), 16) + k.own
}

func (k *deformKernel) pieces() [3]int {
	return [3]int{k.In * k.inArea, k.Out * k.In / k.Groups * k.taps, len(k.products) * k.slotSize()}
}

// ScratchBytes is room for an image, the weights and blocks of windows.
func (k *deformKernel) ScratchBytes() int {
	p := k.pieces()
	return op.FloatBytes(p[:]...)
}

func (k *deformKernel) Run(c *op.Call) error {
	memory, pieces := op.Memory(c.Scratch), k.pieces()
	k.turned, k.weights, k.room = memory.Floats(pieces[0]), memory.Floats(pieces[1]), memory.Floats(pieces[2])
	k.dst, k.src, k.offsets = tensor.Of[float32](c.Output(0, dtype.Float32, k.Shape...)), tensor.Of[float32](c.In[0]), tensor.Of[float32](c.In[2])
	if k.bias {
		k.biases = tensor.Of[float32](c.In[3])
	}
	if k.mask {
		k.masks = tensor.Of[float32](c.In[4])
	}
	k.turnWeights(tensor.Of[float32](c.In[1]))
	for k.image = range k.Batch {
		k.turn.Run(c.Pool, tensor.AsBytes(k.turned), tensor.AsBytes(k.src[k.image*pieces[0]:][:pieces[0]]))
		k.slots.Reset(len(k.products))
		c.Pool.Run(k.Groups*k.blocks, k)
	}
	k.dst, k.src, k.offsets, k.masks, k.weights, k.biases, k.turned, k.room = nil, nil, nil, nil, nil, nil, nil, nil
	err := errors.Join(k.errs...)
	clear(k.errs)
	return err
}

// turnWeights puts the outputs of a group beside each other, and its inputs within a tap.
func (k *deformKernel) turnWeights(w []float32) {
	perIn, perOut := k.In/k.Groups, k.Out/k.Groups
	for out := range k.Out {
		to := k.weights[out/perOut*perIn*k.taps*perOut+out%perOut:]
		for in := range perIn {
			for tap, v := range w[(out*perIn+in)*k.taps:][:k.taps] {
				to[(tap*perIn+in)*perOut] = v
			}
		}
	}
}

// Do computes a block of pixels of a group; it is called by the pool.
func (k *deformKernel) Do(part int) {
	slot := k.slots.Take()
	defer k.slots.Give(slot)
	group, lo := part/k.blocks, part%k.blocks*k.pixels
	n := min(k.pixels, k.area-lo)
	perIn, perOut := k.In/k.Groups, k.Out/k.Groups
	room := k.room[slot*k.slotSize():][:k.slotSize()]
	columns := room[:k.pixels*k.taps*perIn]
	room = room[tiling.Align(len(columns), 16):]
	result := room[:k.pixels*perOut]
	for p := range n {
		k.gather(columns[p*k.taps*perIn:][:k.taps*perIn], group*perIn, lo+p)
	}
	t := &k.products[slot]
	t.M, t.A.Data, t.B.Data, t.C.Data = n, columns, k.weights[group*k.taps*perIn*perOut:], result
	t.Scratch = room[tiling.Align(len(result), 16):]
	if k.bias {
		t.ColBias.Data = k.biases[group*perOut:][:perOut]
	}
	err := t.Run(nil)
	t.A.Data, t.B.Data, t.C.Data, t.Scratch, t.ColBias.Data = nil, nil, nil, nil, nil
	if err != nil {
		k.errs[slot] = err
		return
	}
	transpose.Tile32(k.dst[(k.image*k.Out+group*perOut)*k.area+lo:], result, k.area, perOut, n, perOut)
}

// gather fills in the window of a pixel: channels first to first+len(column)/taps.
func (k *deformKernel) gather(column []float32, first, pixel int) {
	dy, dx := &k.Dims[0], &k.Dims[1]
	perIn, each := len(column)/k.taps, k.In/k.offsetGroups
	y0, x0 := float64(dy.First(pixel/dx.Out)), float64(dx.First(pixel%dx.Out))
	for ch := first; ch < first+perIn; {
		group := ch / each
		n := min((group+1)*each, first+perIn) - ch
		for tap := range k.taps {
			at := (k.image*k.offsetGroups+group)*k.taps + tap
			y := y0 + float64(tap/dx.Kernel*dy.Dilation) + float64(k.offsets[2*at*k.area+pixel])
			x := x0 + float64(tap%dx.Kernel*dx.Dilation) + float64(k.offsets[(2*at+1)*k.area+pixel])
			weight := 1.
			if k.mask {
				weight = float64(k.masks[at*k.area+pixel])
			}
			k.interpolate(column[tap*perIn+ch-first:][:n], ch, y, x, weight)
		}
		ch += n
	}
}

// interpolate takes len(dst) channels at a place, with zeros around the image.
func (k *deformKernel) interpolate(dst []float32, channel int, y, x, weight float64) {
	h, w := k.Dims[0].In, k.Dims[1].In
	if weight-weight != 0 { // an infinite or missing weight shows where zeros are, too
		k.interpolate(dst, channel, y, x, 1)
		for i := range dst {
			dst[i] *= float32(weight)
		}
		return
	}
	if !(y > -1 && x > -1 && y < float64(h) && x < float64(w)) {
		clear(dst)
		return
	}
	floorY, floorX := math.Floor(y), math.Floor(x)
	fy, fx := y-floorY, x-floorX
	top, left := int(floorY), int(floorX)
	var offsets [4]int
	var weights [4]float32
	n := 0
	for corner, v := range [4]float64{(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx} {
		cy, cx := top+corner/2, left+corner%2
		if cy >= 0 && cy < h && cx >= 0 && cx < w {
			offsets[n], weights[n] = 4*((cy*w+cx)*k.In+channel), float32(v*weight)
			n++
		}
	}
	blend.Rows(dst, k.turned, offsets[:n], weights[:n])
}
