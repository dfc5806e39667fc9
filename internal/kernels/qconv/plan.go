package qconv

import (
	"errors"
	"fmt"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/mma"
	"github.com/salver-ml/salver/internal/kernels/window"
)

// Plan is a convolution prepared for one input size and instruction-set level.
type Plan struct {
	p      Params
	h, w   window.Dim
	packed *packing
	kern   *kernels

	squares *squares // nil: not by tiles of 4×4 outputs

	flat       bool  // the pixels of all images are one row
	copied     bool  // the input is copied, with borders
	rows, cols int   // of an image as the kernels read it
	offsets    []int // tiles: where each step of a pixel's input is
}

// New prepares a convolution of images of h×w pixels.
func New(p Params, h, w int, level cpu.Target) (*Plan, error) {
	p, err := p.normalize()
	if err != nil {
		return nil, err
	}
	d, err := p.dims(h, w)
	if err != nil {
		return nil, err
	}
	pl := &Plan{p: p, h: d[0], w: d[1], kern: forLevel(level)}
	pl.packed = newPacking(p, pl.kern)
	pl.rows, pl.cols = h, w
	pl.flat = p.flat()
	// Tiles read whole steps, beyond the input's end too, but for flat inputs.
	if pl.packed.tiled {
		pl.copied = !pl.flat && pl.packed.run%mma.StepInt8 != 0
	} else {
		pl.copied = p.Input.Signed || pl.packed.run%4 != 0 || p.depthwise() && !pl.kern.masked && p.In%pl.kern.lanes != 0
	}
	if p.Pads[0]+p.Pads[1]+p.Pads[2]+p.Pads[3] > 0 {
		pl.copied = true
		pl.rows, pl.cols = pl.h.In+pl.h.Begin+pl.h.End, pl.w.In+pl.w.Begin+pl.w.End
		if padded := float64(pl.rows) * float64(pl.cols) * float64(p.In); padded > 16*float64(pl.inBytes()+pl.outBytes())+1<<20 {
			return nil, fmt.Errorf("%w: %d×%d with pads %v", ErrPadding, h, w, p.Pads)
		}
	}
	if pl.squares = newSquares(p, pl.kern, pl.h.Out, pl.w.Out); pl.squares != nil {
		pl.copied = true
		pl.rows, pl.cols = squareSide*pl.squares.high+2, squareSide*pl.squares.wide+2
	}
	if pl.packed.tiled {
		pl.offsets = pl.stepOffsets()
	}
	return pl, nil
}

// ErrPadding says that an input would grow out of proportion by its padding.
var ErrPadding = errors.New("qconv: the padding is far larger than input and output")

// OutSize is the height and width of the output.
func (pl *Plan) OutSize() (h, w int) { return pl.h.Out, pl.w.Out }

// PackedSize is the number of bytes of packed weights.
func (pl *Plan) PackedSize() int {
	if pl.squares != nil {
		return headerBytes + pl.p.Out/squareColumns*pl.squares.panelBytes()
	}
	return pl.packed.bytes
}

// Layout names how weights are packed, which depends on the input's size too.
func (pl *Plan) Layout() string {
	if pl.squares != nil {
		return "squares"
	}
	return "taps"
}

// Pack writes weights into dst, of PackedSize, in the order in which the kernels read them. dst
// should begin on a cache line.
func (pl *Plan) Pack(dst []byte, w Weights) error {
	if err := pl.packed.check(w); err != nil {
		return err
	}
	if n := pl.PackedSize(); len(dst) != n {
		return fmt.Errorf("qconv: packed weights need %d bytes, the buffer has %d", n, len(dst))
	}
	clear(dst)
	if pl.squares == nil || !pl.squares.pack(dst, w, pl.packed.zero()) {
		pl.packed.pack(dst, w)
	}
	return nil
}

// slack is what kernels may read beyond the copy of an input.
const slack = 64

// copyBytes is the copy of an image, whose numbers take so many bytes.
func (pl *Plan) copyBytes(number int) int { return align(number * (pl.rows*pl.cols*pl.p.In + slack)) }

// ScratchSize is the working memory of a run on so many threads or on one, for any number
// of images: small runs leave the other threads out, and a lone one takes larger blocks.
func (pl *Plan) ScratchSize(threads int) int {
	return max(pl.scratchSize(threads), pl.scratchSize(1))
}

func (pl *Plan) scratchSize(threads int) int {
	switch {
	case pl.squares != nil:
		return max(pl.copyBytes(2)+pl.squares.scratch(threads), pl.innerScratch(threads))
	case pl.packed.innerMayDo():
		bytes := max(pl.copyBytes(1), pl.innerScratch(threads))
		if pl.packed.mayClip() {
			bytes = max(bytes, pl.clipScratch(threads))
		}
		return bytes
	case !pl.copied:
		return 0
	case pl.byBlocks():
		c := pl.newCut(1, threads, pl.kern.depthwisePixels)
		return c.chunks() * pl.blockBytes(c)
	}
	return pl.copyBytes(1)
}

// byBlocks is true where each chunk copies the input of a few rows just before it
// reads them, while they are in the second-level cache: what reads each number a few
// times only is as slow as the memory.
func (pl *Plan) byBlocks() bool { return pl.copied && pl.p.depthwise() && !pl.flat }

// blockRows is the rows of output that are computed together.
func (pl *Plan) blockRows() int {
	return max(1, cpu.Cache().L2/4/max(1, pl.cols*pl.p.In*pl.p.Stride[0]))
}

// inputRows is the rows of padded input that so many rows of output read.
func (pl *Plan) inputRows(n int) int {
	return (n-1)*pl.p.Stride[0] + (pl.p.Kernel[0]-1)*pl.p.Dilation[0] + 1
}

// blockBytes is the input of a block, of which a chunk of the cut has some.
func (pl *Plan) blockBytes(c cut) int {
	return align(pl.inputRows(min(pl.blockRows(), (c.units+c.rows-1)/c.rows))*pl.cols*pl.p.In + slack)
}

func (pl *Plan) inBytes() int  { return pl.h.In * pl.w.In * pl.p.In }
func (pl *Plan) outBytes() int { return pl.h.Out * pl.w.Out * pl.p.Out }

// MACs is the number of multiply-adds of an image.
func (pl *Plan) MACs() int {
	return pl.h.Out * pl.w.Out * pl.p.Out * pl.p.In / pl.p.Groups * pl.p.Kernel[0] * pl.p.Kernel[1]
}
