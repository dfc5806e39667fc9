package qgemm

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/mma"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

const (
	mostTiles = 32   // of a block of rows
	mostSteps = 2048 // of a call, about, which then takes 80 µs
	runBytes  = 512  // that are fetched at a time
	panelRuns = mma.StepB / runBytes
	halfRows  = 16 // of a tile
	sumsBytes = 4 * maxRows * maxCols

	mostCopied = 4 // row tiles of which a row is less than a step's bytes from the end
)

// A strip is the arguments of a call: row tiles by some panels. The rows stay in the
// second-level cache, and a panel comes into the first with its first row tile. The
// assembly knows the offsets of the fields.
type strip struct {
	b, c, a  unsafe.Pointer // the first panel, its columns of row 0 of C, row 0 of A
	tiles    int            // row tiles
	rowTiles unsafe.Pointer // *rowTile
	steps    int            // of 64 k; at least 1
	panels   int
	columns  int // from the first panel's on
	ldc      int // bytes from row to row
	residual unsafe.Pointer
	ldr      int
	// Fields with one element for each column are those of the first panel.
	colSum, colZero, colScale, colBias unsafe.Pointer
	rowZero, rowScale, rowSum          unsafe.Pointer
	sums                               unsafe.Pointer // int32, 32 columns to a row
	config                             *tileConfig
	next                               unsafe.Pointer // what is fetched into the second-level cache
	nextRuns                           int            // of runBytes
	stepRuns                           int            // that a step fetches
	stepRows                           int            // that are finished in a step, while tiles add up
	flags                              uint64
	ends                               *[2][16]float32 // the least and the most so far, 16 of each
	lo, hi                             float32
	least, most                        float32 // of bytes, less zero
	zero                               int32
}

// A rowTile is where a row tile is. The first rows of the last one may have been
// finished with the one before.
type rowTile struct {
	a, lda int // bytes from strip.a, and from row to row
	rows   int // to finish
	skip   int // bytes of sums before them
	row    int // bytes of words before theirs
	c, r   int // bytes from strip.c and from strip.residual
}

// tileConfig is what LDTILECFG loads.
type tileConfig struct {
	palette, startRow uint8
	_                 [14]uint8
	colBytes          [16]uint16
	rows              [16]uint8
}

// set makes the configuration for blocks of so many rows.
func (c *tileConfig) set(rows int) {
	*c = tileConfig{palette: 1}
	near, far := min(rows, halfRows), max(rows-halfRows, 0)
	for i, n := range [8]int{near, near, far, far, near, far, halfRows, halfRows} {
		if n > 0 {
			c.rows[i], c.colBytes[i] = uint8(n), mma.StepBytes
		}
	}
}

// strips is what a chunk of strips needs beside scratch.
type strips struct {
	call     strip
	config   tileConfig
	rowTiles [mostTiles]rowTile
	ends     [2][16]float32
}

// stripPlan is how a product is cut for tiles.
type stripPlan struct {
	steps int // of 64 k
	rows  int // most of a block
	// Where a slot's scratch has what a block of rows needs: sums, words for each row, and
	// row tiles that are copied.
	sums, words, copied int
}

func (p *plan) planStrips() {
	s := &p.strips
	s.steps = max(1, p.groups*p.kern.group/mma.StepInt8)
	// A block of A takes half of what the second-level cache has for it.
	s.rows = min(tiling.Align(p.m, maxRows), mostTiles*maxRows, max(maxRows, BlockBytes()/max(1, p.k)/maxRows*maxRows))
	s.sums = 0
	s.words = sumsBytes
	s.copied = s.words + 3*4*s.rows
	p.perSlot = s.copied
	if tile := maxRows * s.steps * mma.StepBytes; p.k > mma.StepInt8 && p.k%mma.StepInt8 != 0 {
		p.perSlot += tile
	} else if p.k < mma.StepInt8 {
		p.perSlot += mostCopied * tile
	}
	p.perSlot = tiling.Align(p.perSlot, lineBytes)
}

// zeroPanel stands for a panel of no numbers.
var zeroPanel [mma.StepB]byte

// productOfTiles computes a part of a batch item, a block of rows after the other. All
// row tiles of a block meet a panel of B while it is in the first-level cache.
func (t *Task) productOfTiles(w *workspace, item int, part *tiling.Part) {
	if w.strip == nil {
		w.strip = &strips{}
	}
	t.findItem(w, item)
	t.setStrip(w)
	row, _ := tiling.Rows(part.Tile, t.M, t.plan.tiles)
	end, _ := tiling.Rows(part.TileEnd, t.M, t.plan.tiles)
	for ; row < end; row += t.plan.strips.rows {
		rows := min(t.plan.strips.rows, end-row)
		t.setBlock(w, row, rows)
		for from := part.Panel; from < part.PanelEnd; {
			to := t.call(w, row, from, part, row+rows < end)
			t.finishRows(w, row, rows, from, to)
			from = to
		}
	}
	for i := range w.strip.ends[0] {
		w.least, w.most = min(w.least, w.strip.ends[0][i]), max(w.most, w.strip.ends[1][i])
	}
	w.strip.call = strip{}
}

// setStrip sets what is the same for all calls of a batch item.
func (t *Task) setStrip(w *workspace) {
	p, x := &t.plan.strips, &w.strip.call
	*x = strip{steps: p.steps, config: &w.strip.config, ends: &w.strip.ends, rowTiles: unsafe.Pointer(&w.strip.rowTiles),
		sums: unsafe.Pointer(&w.scratch[p.sums]), ldc: 4 * t.C.Stride, ldr: 4 * t.ResidualStride, lo: t.Lo, hi: t.Hi, flags: t.flags()}
	words := func(i int) unsafe.Pointer { return unsafe.Pointer(&w.scratch[p.words+i*4*p.rows]) }
	x.rowZero, x.rowScale, x.rowSum = words(0), words(1), words(2)
	if t.Gelu {
		x.flags |= flagGelu
	}
	if t.Range != nil && (t.Post == nil || t.Gelu) {
		x.flags |= flagEnds
	}
	if t.C.Byte != nil {
		x.flags |= flagBytes
		x.ldc = t.C.Stride
		x.least, x.most = t.C.limits()
		x.zero = t.C.Zero
	}
	w.strip.ends = [2][16]float32{}
}

// setBlock makes row tiles of a block of rows, all of one height, and the words of rows.
func (t *Task) setBlock(w *workspace, row, rows int) {
	p, x := &t.plan.strips, &w.strip.call
	tiles := tiling.Ceil(rows, maxRows)
	height := tiling.Ceil(rows, tiles)
	w.strip.config.set(height)
	x.tiles, x.stepRows, x.stepRuns = tiles, tiling.Ceil(height, p.steps), tiling.Ceil(panelRuns, tiles)
	base := w.aOff + row*t.A.Stride
	copied := w.scratch[t.plan.strips.copied:]
	x.a = unsafe.Pointer(&zeroPanel)
	if t.K > 0 {
		x.a = at(t.A.Data, base)
	}
	for i := range tiles {
		first := i * height
		start := min(first, rows-height)
		r := rowTile{a: start * t.A.Stride, lda: t.A.Stride, rows: min(height, rows-first), skip: (first - start) * 4 * maxCols,
			row: 4 * first, c: first * x.ldc, r: first * x.ldr}
		if t.K == 0 {
			r.a, r.lda = 0, 0
		} else if base+(start+height-1)*t.A.Stride+p.steps*mma.StepBytes > len(t.A.Data) {
			copied = t.copyTile(w, &r, copied, row+start, height)
		}
		w.strip.rowTiles[i] = r
	}
	t.setWords(w, row, rows)
}

// copyTile copies rows to dst where a kernel would read beyond the end of A, and gives the
// rest of dst. Elsewhere it reads what follows a row that is not whole steps long, and
// multiplies it by zeros.
func (t *Task) copyTile(w *workspace, r *rowTile, dst []byte, row, rows int) []byte {
	for i := range rows {
		t.copyRow(dst, i, t.A.Data[w.aOff+(row+i)*t.A.Stride:][:t.K])
	}
	r.a, r.lda = int(uintptr(unsafe.Pointer(&dst[0]))-uintptr(w.strip.call.a)), 4*t.plan.groups
	return dst[rows*r.lda:]
}

// setWords sets the words of rows that are read.
func (t *Task) setWords(w *workspace, row, rows int) {
	x := &w.strip.call
	zero, scale, sum := view[int32](x.rowZero, rows), view[float32](x.rowScale, rows), view[int32](x.rowSum, rows)
	for i := range zero {
		if i == 0 || x.flags&flagOneZero == 0 {
			zero[i] = pick(t.ZeroA, row+i, 0)
		}
		if i == 0 || x.flags&flagOneScale == 0 {
			scale[i] = pick(t.RowScale, row+i, 1)
			if len(t.ColScale) == 1 {
				scale[i] = float32(scale[i] * t.ColScale[0])
			}
		}
		if x.flags&flagColZero != 0 {
			sum[i] = rowSum(t.A.Data[w.aOff+(row+i)*t.A.Stride:][:t.K], t.A.Signed)
		}
	}
}

// call multiplies the block of rows by panels, and says where these end. A panel is
// fetched while the one before is multiplied.
func (t *Task) call(w *workspace, row, from int, part *tiling.Part, more bool) (to int) {
	p, x := &t.plan, &w.strip.call
	most := max(1, mostSteps/(p.strips.steps*x.tiles))
	if t.K == 0 {
		most = 1
	}
	to = min(from+most, part.PanelEnd)
	next := to
	if to == part.PanelEnd {
		next = t.panelAfter(w, part, more)
	}
	if next != to && to-from > 1 { // the last one before another part in a call of its own
		to--
		next = to
	}
	ahead := t.packed(w.item, next, min(next+1, p.panels))
	if next == to {
		ahead = t.packed(w.item, from+1, min(to+1, p.panels))
	}
	x.next, x.nextRuns = at(ahead, 0), len(ahead)/runBytes
	x.b = at(t.packed(w.item, from, to), 0)
	if t.K == 0 {
		x.b = unsafe.Pointer(&zeroPanel)
	}
	x.panels, x.columns = to-from, t.N-from*maxCols
	t.setStripColumns(w, row, from)
	p.kern.strip[bit(t.A.Signed)][bit(w.strip.config.rows[2] > 0)]((*byte)(unsafe.Pointer(x)))
	return to
}

// panelAfter is the panel that is multiplied after a part's block of rows: that of the
// next block, or of the next part, or none.
func (t *Task) panelAfter(w *workspace, part *tiling.Part, more bool) int {
	if more {
		return part.Panel
	}
	if next, ok := t.after(w.chunk); ok && next.Item == part.Item {
		return next.Panel
	}
	return t.plan.panels
}

// setStripColumns points the strip at what there is for the columns from a panel on.
func (t *Task) setStripColumns(w *workspace, row, panel int) {
	x := &w.strip.call
	col, cols := panel*maxCols, w.item*t.N
	x.colSum, x.colZero = at(t.Packed.colSum, cols+col), at(t.Packed.colZero, cols+col)
	if x.flags&flagColScale != 0 {
		x.colScale = at(t.ColScale, col)
	}
	x.colBias = at(t.ColBias, col)
	x.residual = at(t.Residual, row*t.ResidualStride+col)
	x.c = t.C.at(w.cOff + row*t.C.Stride + col)
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
