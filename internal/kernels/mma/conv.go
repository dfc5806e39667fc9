package mma

import (
	"math"
	"unsafe"
)

// A Conv multiplies row tiles of bfloat16, whose steps begin at offsets, by neighbouring
// panels, and brings the sums to pixels of two blocks of 16 channels: in this order, each
// rounded, plus the bias, plus the residual unless that is last, the limits, plus the
// residual that is last. With Silu, which needs results of bfloat16, x/(1+exp(-x)) within 2e-4
// of itself or 1e-36 is in the place of the limits. While the tiles add up a row tile the vector
// units finish the one before. No bounds are checked. Dst may be Residual. The assembly
// knows the offsets of the fields.
type Conv struct {
	A        unsafe.Pointer
	LDA      int            // bytes from row to row
	Offsets  unsafe.Pointer // of each step: bytes from a row tile, as int
	Steps    int            // from 1 to MaxSteps
	B        unsafe.Pointer // panels without gaps
	Panels   int            // at least 1
	Tiles    *ConvTile
	Count    int // of row tiles, at least 1
	Pieces   *Piece
	Sums     unsafe.Pointer // StripSums bytes, on a cache line
	next     unsafe.Pointer // what is fetched into the second-level cache: see Fetch
	nextRuns int            // of 512 bytes, that are left
	stepRuns int            // that a step fetches
	config   *config
	Dst      unsafe.Pointer // of the first panel
	LDC      int            // bytes from pixel to pixel
	HalfC    int            // bytes from the first block of a panel to the second
	PanelC   int            // bytes from panel to panel
	Residual unsafe.Pointer // nil: none
	LDR      int
	HalfR    int
	PanelR   int
	Bias     unsafe.Pointer // 32 floats for each panel
	Narrow   int            // 1: the last panel is of one block
	flags    uint64
	stepRows int // that are finished in a step
	Lo, Hi   float32
	rows     int

	BF16, ResidualBF16 bool // what is stored in bfloat16
	ResidualLast       bool
	Silu               bool
	Ahead              bool // results and residual are fetched into the first-level cache before their turn
}

// A ConvTile is where a row tile is, and its pieces, of which there is at least one.
type ConvTile struct {
	A      int // bytes from Conv.A
	Pieces int // bytes from Conv.Pieces
	Count  int
}

// A Piece is neighbouring rows of a row tile that belong to neighbouring pixels.
type Piece struct {
	Skip int // bytes of sums before them
	Rows int // at least 1
	C    int // bytes from Dst to the first one's pixel
	R    int // the same of Residual
}

// PieceBytes is the size of a Piece.
const PieceBytes = int(unsafe.Sizeof(Piece{}))

// Bits of Conv.flags.
const (
	convHalf = 1 << iota
	convResidualBF16
	convAdd
	convAddLast
	convAhead
)

// Configure sets the rows of a row tile, from 1 to 32, and the bytes of a step.
func (x *Conv) Configure(c *Configs, rows int) { x.rows, x.config = rows, &c[rows] }

// Fetch makes the next call fetch the first part of next while it multiplies, and gives
// the rest.
func (x *Conv) Fetch(next []byte) []byte {
	x.next, x.nextRuns, x.stepRuns = nil, 0, max(1, StepB/NextRun/x.Count)
	runs := min(len(next)/NextRun, x.Steps*x.Count*x.Panels*x.stepRuns)
	runs -= runs % x.stepRuns
	if runs > 0 {
		x.next, x.nextRuns = unsafe.Pointer(&next[0]), runs
	}
	return next[runs*NextRun:]
}

// Conv does it.
func (k *Kernels) Conv(x *Conv) {
	residual := x.Residual != nil
	x.flags = bit(x.BF16, convHalf) | bit(x.ResidualBF16, convResidualBF16) | bit(residual && !x.ResidualLast, convAdd) |
		bit(residual && x.ResidualLast, convAddLast) | bit(x.Ahead, convAhead)
	x.stepRows = (x.rows + x.Steps - 1) / x.Steps
	k.conv[bit(x.Silu, 1)][(x.rows-1)/16]((*byte)(unsafe.Pointer(x)))
}

var negInf, posInf = float32(math.Inf(-1)), float32(math.Inf(1))

func (s sum) conv(t *byte) {
	x := (*Conv)(unsafe.Pointer(t))
	for p := range x.Panels {
		narrow := p == x.Panels-1 && x.Narrow == 1
		for _, tile := range unsafe.Slice(x.Tiles, x.Count) {
			b := Block{A: unsafe.Add(x.A, tile.A), LDA: x.LDA, B: unsafe.Add(x.B, p*x.Steps*StepB), C: x.Sums, LDC: 4 * Cols,
				Offsets: x.Offsets, Steps: x.Steps, Panels: 1, Tiles: 1, Narrow: int(bit(narrow, 1)), config: x.config, rows: x.rows}
			s.bf16((*byte)(unsafe.Pointer(&b)))
			for _, piece := range unsafe.Slice((*Piece)(unsafe.Add(unsafe.Pointer(x.Pieces), tile.Pieces)), tile.Count) {
				x.finishPortable(p, b.columns(0), piece)
			}
		}
	}
}

func (x *Conv) finishPortable(p, columns int, piece Piece) {
	limits := Pixels{Lo: x.Lo, Hi: x.Hi, Bias: unsafe.Add(x.Bias, 4*Cols*p), LDC: x.LDC, HalfC: x.HalfC, LDR: x.LDR, HalfR: x.HalfR, Silu: x.Silu,
		Dst: unsafe.Add(x.Dst, p*x.PanelC+piece.C), form: formBias | bit(x.BF16, formHalf)}
	if x.Residual != nil {
		limits.Residual = unsafe.Add(x.Residual, p*x.PanelR+piece.R)
		limits.form |= formResidual | bit(x.ResidualBF16, formHalfResidual)
	}
	last := Pixels{Lo: negInf, Hi: posInf, Residual: limits.Residual, LDR: x.LDR, HalfR: x.HalfR, form: limits.form &^ formBias}
	if x.ResidualLast && !x.Silu {
		limits.form &^= formResidual | formHalfResidual
	}
	for i := range piece.Rows {
		for j, sum := range view[float32](unsafe.Add(x.Sums, piece.Skip+i*4*Cols), columns) {
			y := limits.element(i, j, sum)
			if x.ResidualLast && !x.Silu {
				y = last.element(i, j, y)
			}
			limits.store(i, j, y)
		}
	}
}
