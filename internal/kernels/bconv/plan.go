package bconv

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/mma"
	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/kernels/window"
)

// Block is the number of channels in a block of an activation.
const Block = 16

// Place says where the outputs along a dimension are in the output tensor.
type Place struct{ Size, First, Step int }

// Params says what to compute.
type Params struct {
	In, Out int  // channels
	Groups  int  // of them; 0 stands for 1
	Plain   bool // the input is [N, In, H, W] with In up to 4; else it is blocked
	H, W    window.Dim
	Places  [2]Place // of outputs along H and W

	Residual     bool
	ResidualLast bool // is added after the limits and After
	// What is of bfloat16 instead of float32: a blocked input, the residual, the output.
	InBF16, ResidualBF16, OutBF16 bool

	Clamp  bool // to [Lo, Hi]
	Lo, Hi float32
	After  func(x []float32) // the rest of the activation, or nil
	// Silu is SiLU after the limits, of which there are none, and before a residual that
	// is last: for outputs of bfloat16, to 2e-4 of itself.
	Silu bool
}

// maxRow is the columns of a kernel over a plain input: a step holds 8 pixels.
const maxRow = 8

// Supports reports whether there are plans at a level for blocked inputs.
func Supports(level cpu.Target) bool { return mma.Supports(level) }

// SupportsPlain reports whether there are for plain inputs of so many channels, and
// kernels of so many columns.
func SupportsPlain(channels, columns, dilation int, level cpu.Target) bool {
	return Supports(level) && channels <= 4 && columns <= maxRow && dilation == 1
}

// Plan is a convolution prepared for one input size and level.
type Plan struct {
	Params
	kern    *mma.Kernels
	configs *mma.Configs

	inBlocks, outBlocks int
	inSize              int // bytes of a number
	residualSize        int
	outSize             int
	pairs               int   // pairs of input blocks
	span                int   // pairs that a panel needs: all, without groups
	firstPair           []int // of each panel
	panels              int   // pairs of output blocks
	pixel               int   // bytes of a pixel of rounded input
	columns             int   // of the kernel, that a step multiplies
	rowSteps            int   // of a kernel row
	steps               int
	phases              []phase
	work                int  // multiply-adds of an image
	cost                int  // the time of an image, in multiply-adds
	fetches             bool // outputs come from beyond the second-level cache
}

// phase is the input pixels at places that are alike modulo the strides, in the
// padded image.
type phase struct{ y, x int }

// New prepares a convolution, which must be supported. At levels without tiles it
// is computed by portable twins, for tests.
func New(p Params, level cpu.Target) *Plan {
	pl := &Plan{Params: p, kern: mma.For(level)}
	if !p.Clamp {
		pl.Lo, pl.Hi = float32(math.Inf(-1)), float32(math.Inf(1))
	}
	pl.inSize, pl.residualSize, pl.outSize = sizeOf(p.InBF16), sizeOf(p.ResidualBF16), sizeOf(p.OutBF16)
	pl.inBlocks, pl.outBlocks = tiling.Ceil(p.In, Block), tiling.Ceil(p.Out, Block)
	pl.pairs, pl.panels = tiling.Ceil(pl.inBlocks, 2), tiling.Ceil(pl.outBlocks, 2)
	pl.Groups = max(p.Groups, 1)
	pl.setSpan()
	pl.work = p.H.Out * p.W.Out * p.Out * p.In / pl.Groups * p.H.Kernel * p.W.Kernel
	pl.cost = p.H.Out*p.W.Out*p.Out*min(p.In, 2*Block*pl.span)*p.H.Kernel*p.W.Kernel + 32*p.In*p.H.In*p.W.In + 64*p.Out*p.H.Out*p.W.Out
	pl.fetches = pl.InSize(1)+pl.OutSize(1)+pl.ResidualSize(1) > cpu.Cache().L2/2
	pl.pixel = mma.StepBytes
	switch {
	case p.Plain:
		pl.pixel = plainBytes
	case pl.inBlocks == 1 && p.W.Dilation == 1:
		pl.pixel = blockBytes
	}
	pl.columns = min(mma.StepBytes/pl.pixel, p.W.Kernel)
	pl.rowSteps = tiling.Ceil(p.W.Kernel, pl.columns)
	pl.configs = mma.NewConfigs(pl.columns * pl.pixel)
	pl.steps = pl.span * p.H.Kernel * pl.rowSteps
	for kh := range p.H.Kernel {
		for kw := range p.W.Kernel {
			if f := pl.phaseOf(kh, kw); pl.phaseNumber(f) < 0 {
				pl.phases = append(pl.phases, f)
			}
		}
	}
	return pl
}

// setSpan finds the pairs of input blocks that panels need, which are equally many: those
// of the groups that their outputs belong to. Weights between groups are zeros.
func (pl *Plan) setSpan() {
	in, out := pl.In/pl.Groups, pl.Out/pl.Groups
	for p := range pl.panels {
		end := min((p+1)*mma.Cols, pl.Out)
		first, last := p*mma.Cols/out*in/(2*Block), ((end-1)/out*in+in-1)/(2*Block)
		pl.firstPair = append(pl.firstPair, first)
		pl.span = max(pl.span, last+1-first)
	}
	for p := range pl.firstPair {
		pl.firstPair[p] = min(pl.firstPair[p], pl.pairs-pl.span)
	}
}

// input is where the pixels of a panel's first pair of input blocks are, in bytes.
func (pl *Plan) input(b *band, panel int) int {
	return pl.firstPair[panel] * len(pl.phases) * b.plane
}

// sizeOf is the bytes of a number.
func sizeOf(bf16 bool) int {
	if bf16 {
		return 2
	}
	return 4
}

// phaseOf is the phase of a tap. Where a step multiplies several columns, whole rows
// are in a phase.
func (pl *Plan) phaseOf(kh, kw int) phase {
	f := phase{kh * pl.H.Dilation % pl.H.Stride, kw * pl.W.Dilation % pl.W.Stride}
	if pl.wholeRows() {
		f.x = 0
	}
	return f
}

// wholeRows reports whether a pixel has less than a step.
func (pl *Plan) wholeRows() bool { return pl.pixel < mma.StepBytes }

// firstColumn is the first column of the kernel in a step of a row. The last step
// goes over columns of the one before where it has too few: their weights are zeros.
func (pl *Plan) firstColumn(step int) int {
	return min(step*pl.columns, pl.W.Kernel-pl.columns)
}

func (pl *Plan) phaseNumber(f phase) int {
	for i, g := range pl.phases {
		if f == g {
			return i
		}
	}
	return -1
}

// Sizes in bytes.
const (
	plainBytes = 8 // of a pixel of four channels
	blockBytes = 2 * Block
	lineBytes  = 64
	panelSums  = 4 * mma.Rows * mma.Cols
)

// PackedSize is the number of bytes of packed weights: the bias, then panels.
func (pl *Plan) PackedSize() int { return pl.biasBytes() + pl.panels*pl.panelBytes() }

func (pl *Plan) biasBytes() int  { return 4 * mma.Cols * pl.panels }
func (pl *Plan) panelBytes() int { return pl.steps * mma.StepB }

// Pack writes weights [Out, In, kernel rows, kernel columns] and bias [Out] (or
// nil) into dst, in the order in which they are read.
func (pl *Plan) Pack(dst []byte, weights, bias []float32) error {
	if want := pl.Out * pl.In / pl.Groups * pl.H.Kernel * pl.W.Kernel; len(weights) != want || len(dst) != pl.PackedSize() || bias != nil && len(bias) != pl.Out {
		return fmt.Errorf("bconv: %d weights into %d bytes with a bias of %d, expected %d, %d and %d", len(weights), len(dst), len(bias), want, pl.PackedSize(), pl.Out)
	}
	clear(dst)
	copy(unsafe.Slice((*float32)(unsafe.Pointer(&dst[0])), pl.Out), bias)
	row := make([]uint16, len(weights)/pl.Out)
	for o := range pl.Out {
		pl.kern.Round(row, weights[o*len(row):][:len(row)])
		panel := dst[pl.biasBytes()+o/mma.Cols*pl.panelBytes():][:pl.panelBytes()]
		pl.packChannel(unsafe.Slice((*uint16)(unsafe.Pointer(&panel[0])), len(panel)/2), row, o)
	}
	return nil
}

// packChannel packs the rounded weights of one output channel into a column of a
// panel.
func (pl *Plan) packChannel(panel []uint16, w []uint16, out int) {
	taps, col := pl.H.Kernel*pl.W.Kernel, out%mma.Cols
	size := pl.In / pl.Groups
	first := out/(pl.Out/pl.Groups)*size - 2*Block*pl.firstPair[out/mma.Cols] // channel of the panel's
	for tap := range taps {
		kh, kw := tap/pl.W.Kernel, tap%pl.W.Kernel
		for i := range size {
			c, inRow := first+i, kw/pl.columns
			step := (c/32*pl.H.Kernel+kh)*pl.rowSteps + inRow
			k := (kw-pl.firstColumn(inRow))*pl.pixel/2 + c%32
			panel[step*mma.StepB/2+k/2*2*mma.Cols+2*col+k%2] = w[i*taps+tap]
		}
	}
}

// band is the geometry of some rows of outputs in scratch memory.
type band struct {
	rows    int // of outputs
	inRows  int // of a plane: a phase of a pair of blocks
	cols    int // pixels of a row there
	plane   int // bytes
	bytes   int // of all planes
	run     int // outputs, with those in between
	width   int // outputs of a row, with those in between
	outputs int // of these
	rowStep int // bytes from the input of one output to the next
	tiles   int // of the run
	offsets []int

	height int // of tiles that are computed at once: see tabulate
	table  []mma.ConvTile
	pieces []mma.Piece
}

// newBand lays out a band of so many rows of outputs.
func (pl *Plan) newBand(rows int) band {
	h, w := &pl.H, &pl.W
	b := band{rows: rows, outputs: w.Out, inRows: rows + (h.Kernel-1)*h.Dilation/h.Stride}
	if pl.wholeRows() {
		b.width = tiling.Ceil((w.Out-1)*w.Stride+w.Kernel, w.Stride)
		b.cols, b.rowStep = b.width*w.Stride, w.Stride*pl.pixel
	} else {
		b.width = w.Out + (w.Kernel-1)*w.Dilation/w.Stride
		b.cols, b.rowStep = b.width, pl.pixel
	}
	b.plane = b.inRows * b.cols * pl.pixel
	b.bytes = pl.pairs * len(pl.phases) * b.plane
	b.run = (rows-1)*b.width + w.Out
	for p := range pl.span {
		for kh := range h.Kernel {
			for step := range pl.rowSteps {
				b.offsets = append(b.offsets, pl.offset(&b, p, kh, pl.firstColumn(step)))
			}
		}
	}
	if b.width == w.Out && pl.Places[1] == (Place{w.Out, 0, 1}) && pl.Places[0].Step == 1 {
		b.width, b.outputs = b.run, b.run // rows of outputs follow each other, here and there
	}
	b.tiles = tiling.Ceil(b.run, mma.Rows)
	return b
}

// offset is where the input of the first output is for a tap of a pair of blocks.
func (pl *Plan) offset(b *band, pair, kh, kw int) int {
	plane := pair*len(pl.phases) + pl.phaseNumber(pl.phaseOf(kh, kw))
	col := kw
	if !pl.wholeRows() {
		col = kw * pl.W.Dilation / pl.W.Stride
	}
	return plane*b.plane + (kh*pl.H.Dilation/pl.H.Stride*b.cols+col)*pl.pixel
}
