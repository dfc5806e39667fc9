package qconv

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/mma"
)

const (
	mostSteps  = 1024      // about the most steps of a call: 30 µs
	maxSteps   = 2048      // of a block, which is one call
	blockSteps = 4         // what finishing a block takes, in steps
	fewWeights = 256 << 10 // bytes that stay in the second-level cache with all else
	runBytes   = 512       // that are fetched at a time
	rowsOfTile = 16
	sumsRow    = 4 * mma.Cols
	headBytes  = 8 * mma.Cols // what a panel of 32 channels has before its weights
)

// A strip is the argument of a kernel that adds up in tiles: row tiles of one size
// and some panels. Distances are in bytes. The assembly knows the offsets.
type strip struct {
	tile     unsafe.Pointer // what is the same for the layer
	config   unsafe.Pointer // *tileConfig
	in       unsafe.Pointer // where row tiles count from
	out      unsafe.Pointer // where pieces count from: the first panel's channel
	residual unsafe.Pointer // the same, or nil
	panel    unsafe.Pointer
	sums     unsafe.Pointer // of a block
	offsets  unsafe.Pointer // of steps
	rows     unsafe.Pointer // *rowTile
	pieces   unsafe.Pointer // what rowTile.pieces counts from
	next     unsafe.Pointer // nil, or what steps fetch into the second-level cache

	lda        int // from pixel to pixel
	far        int // from the first pixel to the 17th row's
	steps      int
	panels     int
	panelBytes int
	rowTiles   int
	channels   int // from the first panel's on
	nextRuns   int // of runBytes, that a step fetches
}

func (s *strip) arg() *byte { return (*byte)(unsafe.Pointer(s)) }

// A rowTile is up to 32 pixels that are computed together.
type rowTile struct {
	in     int // bytes to the first pixel's input
	pieces int // bytes to the first piece
	n      int // pieces
}

// A piece is pixels of a row tile whose outputs follow each other.
type piece struct {
	sums, n int32 // bytes to the first pixel's sums, pixels
	out     int   // bytes to its output
}

// tileConfig is what LDTILECFG loads.
type tileConfig struct {
	palette, startRow uint8
	_                 [14]uint8
	colBytes          [16]uint16
	rows              [16]uint8
}

// newTileConfig is for blocks of so many rows in the first tile and in the second, of
// which a step takes n bytes, a multiple of 4: of the 16 rows of a step of weights only
// the first n/4 are read.
func newTileConfig(near, far, n int) tileConfig {
	c := tileConfig{palette: 1}
	for i, t := range [8][2]int{{near, sumsRow / 2}, {near, sumsRow / 2}, {far, sumsRow / 2}, {far, sumsRow / 2},
		{near, n}, {far, n}, {n / 4, sumsRow / 2}, {n / 4, sumsRow / 2}} {
		if t[0] > 0 {
			c.rows[i], c.colBytes[i] = uint8(t[0]), uint16(t[1])
		}
	}
	return c
}

// stepBytes is how much of a step there is to add up.
func (pl *Plan) stepBytes() int { return min(mma.StepBytes, (pl.packed.run+3)/4*4) }

// A span is row tiles of one size.
type span struct {
	config   tileConfig
	near     int // rows of the first tile
	far      int // and of the second
	farBytes int // from the first pixel to that of the second tile
	from, to int // of the chunk's row tiles
	tail     int // -1, or where the input of an only row tile begins that reads beyond the end
}

// A layout is how the outputs of a chunk are cut into row tiles.
type layout struct {
	images int
	cut    cut
	spans  []span
	tiles  []rowTile
	pieces []piece
}

// stepOffsets are where the steps of a pixel's window are, from its first byte on.
func (pl *Plan) stepOffsets() []int {
	p, k := &pl.p, pl.packed
	rowBytes := p.Dilation[0] * pl.cols * p.In
	var offsets []int
	for tap := range k.taps {
		at := tap / p.Parts * rowBytes // parts of weights meet the same input
		if !p.adjacent() {
			at = tap/p.Kernel[1]*rowBytes + tap%p.Kernel[1]*p.Dilation[1]*p.In
		}
		for s := 0; s < 4*k.groups; s += mma.StepBytes {
			offsets = append(offsets, at+s)
		}
	}
	return offsets
}

// reach is how many bytes from a pixel's first are read for it.
func (pl *Plan) reach() int { return pl.offsets[len(pl.offsets)-1] + mma.StepBytes }

// tailBytes is the room for the input of a tile that would be read beyond its end.
func (pl *Plan) tailBytes() int {
	if !pl.packed.tiled || !pl.flat || pl.p.In%mma.StepInt8 == 0 {
		return 0
	}
	return (mma.Rows-1)*pl.p.In + pl.reach()
}

// lay cuts units [lo, hi): rows of outputs, or tiles of a flat input.
func (r *Runner) lay(l *layout, lo, hi int) {
	pl := r.plan
	p := &pl.p
	l.spans, l.tiles, l.pieces = l.spans[:0], l.tiles[:0], l.pieces[:0]
	inRow, outRow, width := p.Stride[0]*pl.cols*p.In, pl.w.Out*p.Out, pl.w.Out
	switch {
	case pl.flat:
		total := r.images * pl.h.Out * pl.w.Out
		from, to := lo*total/r.cut.units, hi*total/r.cut.units
		l.run(pl, run{from * p.In, from * p.Out, to - from, to - from, to - from})
	case p.Stride[0] == 1 && p.Stride[1] == 1:
		// The rows are one run, which goes on over the borders.
		l.run(pl, run{lo * inRow, lo * outRow, (hi-lo-1)*pl.cols + width, pl.cols, width})
	case width <= rowsOfTile:
		l.pairs(pl, lo, hi)
	default:
		for y := lo; y < hi; y++ {
			l.run(pl, run{y * inRow, y * outRow, width, width, width})
		}
	}
	if pl.tailBytes() > 0 {
		l.splitTail(pl, r.images*pl.inBytes())
	}
}

// splitTail makes a span of its own of a last tile that reads beyond an input of n
// bytes.
func (l *layout) splitTail(pl *Plan, n int) {
	last := &l.spans[len(l.spans)-1]
	t := &l.tiles[last.to-1]
	if t.in+(last.near+last.far-1)*pl.p.In+pl.reach() <= n {
		return
	}
	tail := *last
	tail.from, tail.tail, t.in = last.to-1, t.in, 0
	if last.to--; last.to == last.from {
		*last = tail
		return
	}
	l.spans = append(l.spans, tail)
}

// A run is pixels whose windows follow each other at one distance, and among which
// each width have outputs that follow each other.
type run struct {
	in, out int // bytes to the first
	n       int
	width   int // from one row of outputs to the next
	outputs int // of a row
}

// newSums is memory for the sums of a block, on a cache line.
func (pl *Plan) newSums() []byte {
	if !pl.packed.tiled {
		return nil
	}
	b := make([]byte, mma.Rows*sumsRow+lineBytes)
	at := int(-uintptr(unsafe.Pointer(&b[0])) & (lineBytes - 1))
	return b[at : at+mma.Rows*sumsRow]
}

const lineBytes = 64

// run cuts a run into tiles of the same number of rows. The last begins earlier than
// the one before ends.
func (l *layout) run(pl *Plan, x run) {
	p := &pl.p
	lda := p.Stride[1] * p.In
	tiles := (x.n + mma.Rows - 1) / mma.Rows
	rows := (x.n + tiles - 1) / tiles
	l.span(pl, min(rows, rowsOfTile), max(rows-rowsOfTile, 0), rowsOfTile*lda)
	for i := range tiles {
		at := min(i*rows, x.n-rows)
		l.tile(x.in + at*lda)
		// Pieces of the tile that are outputs of one row each.
		for k, end := i*rows, min((i+1)*rows, x.n); k < end; {
			y, col := k/x.width, k%x.width
			n := min(end-k, x.width-col)
			if outputs := min(n, x.outputs-col); outputs > 0 {
				l.piece((k-at)*sumsRow, outputs, x.out+(y*x.outputs+col)*p.Out)
			}
			k += n
		}
	}
}

// pairs makes tiles of two short rows each.
func (l *layout) pairs(pl *Plan, lo, hi int) {
	p := &pl.p
	inRow, outRow, width := p.Stride[0]*pl.cols*p.In, pl.w.Out*p.Out, pl.w.Out
	for y := lo; y < hi; y += 2 {
		if y+1 == hi {
			l.span(pl, width, 0, 0)
			l.tile(y * inRow)
			l.piece(0, width, y*outRow)
			return
		}
		l.span(pl, width, width, inRow)
		l.tile(y * inRow)
		l.piece(0, width, y*outRow)
		l.piece(rowsOfTile*sumsRow, width, (y+1)*outRow)
	}
}

// span begins a span, or goes on with one of the same tiles.
func (l *layout) span(pl *Plan, near, far, farBytes int) {
	if n := len(l.spans); n > 0 && l.spans[n-1].near == near && l.spans[n-1].far == far {
		return
	}
	n := len(l.tiles)
	l.spans = append(l.spans, span{config: newTileConfig(near, far, pl.stepBytes()), near: near, far: far, farBytes: farBytes, from: n, to: n, tail: -1})
}

func (l *layout) tile(in int) {
	l.tiles = append(l.tiles, rowTile{in: in, pieces: len(l.pieces) * int(unsafe.Sizeof(piece{}))})
	l.spans[len(l.spans)-1].to = len(l.tiles)
}

func (l *layout) piece(sums, n, out int) {
	l.pieces = append(l.pieces, piece{int32(sums), int32(n), out})
	l.tiles[len(l.tiles)-1].n++
}

// tiles computes units [lo, hi) of panels [first, last).
func (r *Runner) tiles(w *workspace, first, last, lo, hi int) {
	pl := r.plan
	if lo == hi {
		return
	}
	if l := &w.layout; l.images != r.images || l.cut != r.cut {
		l.images, l.cut = r.images, r.cut
		r.lay(l, lo, hi)
	}
	steps := len(pl.offsets)
	size := pl.packed.panelBytes(pl.packed.panels[0])
	outer := min(max(1, fewWeights/size), max(1, mostSteps/steps)) // panels that a row tile meets before the next does
	s := &w.strip
	s.tile, s.lda, s.steps, s.panelBytes = unsafe.Pointer(&w.tile), pl.p.Stride[1]*pl.p.In, steps, size
	s.offsets, s.pieces, s.sums = unsafe.Pointer(&pl.offsets[0]), unsafe.Pointer(&w.layout.pieces[0]), unsafe.Pointer(&w.sums[0])
	for from := first; from < last; from += outer {
		to := min(from+outer, last)
		s.panels, s.channels = to-from, pl.p.Out-pl.packed.panels[from].first
		s.panel = unsafe.Pointer(&r.op.Packed[pl.packed.panels[from].at])
		next := r.following(to, min(to+outer, last))
		s.nextRuns = max(1, mma.StepB/runBytes/len(w.layout.tiles))
		for i := range w.layout.spans {
			next = r.span(w, &w.layout.spans[i], pl.packed.panels[from].first, next)
		}
	}
}

// span computes the row tiles of a span for the strip's panels, whose first channel
// is given. It fetches from next and gives the rest.
func (r *Runner) span(w *workspace, x *span, channel int, next []byte) []byte {
	s := &w.strip
	s.config, s.far = unsafe.Pointer(&x.config), x.farBytes
	s.in = w.input(x)
	s.out, s.residual = unsafe.Pointer(&r.out[channel]), nil
	if r.resid != nil {
		s.residual = unsafe.Pointer(&r.resid[channel])
	}
	f := r.plan.kern.strip[bit(r.plan.p.Input.Signed)][bit(x.far > 0)]
	most := max(1, mostSteps/(s.panels*(s.steps+blockSteps)))
	for from := x.from; from < x.to; from += most {
		s.rowTiles = min(most, x.to-from)
		s.rows = unsafe.Pointer(&w.layout.tiles[from])
		s.next, next = nil, fetched(next, s)
		f(s.arg())
	}
	return next
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// fetched gives what is left when the strip has fetched the beginning of next.
func fetched(next []byte, s *strip) []byte {
	n := s.rowTiles * s.panels * s.steps * s.nextRuns * runBytes
	if n == 0 || len(next) < n {
		return nil
	}
	s.next = unsafe.Pointer(&next[0])
	return next[n:]
}

// input is where row tiles count from: the input, or a copy with room behind it.
func (w *workspace) input(x *span) unsafe.Pointer {
	if x.tail < 0 {
		return unsafe.Pointer(&w.src[0])
	}
	copy(w.tail, w.src[x.tail:])
	return unsafe.Pointer(&w.tail[0])
}

// following is the memory of panels [from, to).
func (r *Runner) following(from, to int) []byte {
	if from >= to {
		return nil
	}
	k := r.plan.packed
	last := k.panels[to-1]
	return r.op.Packed[k.panels[from].at : last.at+k.panelBytes(last)]
}
