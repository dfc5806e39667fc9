package gemm

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// A workspace is what a chunk needs. It is not on the stack since kernels are
// called through variables, which makes arguments escape.
type workspace struct {
	tile    tile
	final   uint64 // flags of the last block of K
	scratch []float32
	next    block               // after the one in work
	ahead   block               // the first of the chunk that the thread is likely to take next
	share   int                 // of it that the row tile in work fetches
	shares  int                 // how many there are
	stream  bool                // the row tile in work fetches what it reads itself
	warm    bool                // the first block of the run, which nobody has fetched, is done
	kept    int                 // first row of the residual that is copied
	last    [rowColumns]float32 // sums of columns at the end of a row

	// where the batch item begins; in B packed, its number
	aOff, bOff, cOff, resOff, colOff, rowOff int

	_ [128]byte // no false sharing with the next
}

// chunkTask is a Task as the pool sees it.
type chunkTask Task

// Do computes chunk number i.
func (c *chunkTask) Do(i int) {
	t := (*Task)(c)
	slot := t.slots.Take()
	w := &t.spaces[slot]
	w.scratch = t.scratchOf(slot)
	part := t.plan.grid.Part(i)
	w.ahead = t.ahead(i)
	for item := part.Item; item < part.ItemEnd; item++ {
		t.product(w, item, &part)
	}
	// Pointers to memory that may be unmapped must not stay where the collector
	// looks.
	w.tile, w.scratch = tile{}, nil
	t.slots.Give(slot)
}

// at is the address of element i of s, nil if s is empty.
func at(s []float32, i int) unsafe.Pointer {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Add(unsafe.Pointer(unsafe.SliceData(s)), 4*i)
}

// product computes a part of a batch item.
func (t *Task) product(w *workspace, item int, part *tiling.Part) {
	w.item(t, item)
	if t.N == 1 {
		t.column(w, part.Tile, part.TileEnd)
		return
	}
	p := &t.plan
	for j := part.Panel; j < part.PanelEnd; j += p.ncPanel {
		for k := p.stream; ; k += p.kc {
			kn := min(p.kc, t.K-k)
			b := block{k0: k, k: kn, p0: j, p1: min(j+p.ncPanel, part.PanelEnd)}
			t.packBlock(w, &b)
			if p.keepR && k == p.stream {
				t.keepResidual(w, &b, part)
			}
			if p.stream > 0 && k == p.stream {
				t.stream(w, &b)
			}
			w.next = t.after(w, &b, part)
			if kn > 0 || k == 0 || w.final != 0 || t.Post != nil {
				t.block(w, &b, part.Tile, part.TileEnd)
			}
			if k+kn == t.K {
				break
			}
		}
	}
}

// item sets what is the same for all tiles of a batch item.
func (w *workspace) item(t *Task, item int) {
	w.aOff = t.offset(item, t.A.Steps)
	w.bOff = t.offset(item, t.B.Steps)
	w.cOff = t.offset(item, t.C.Steps)
	w.resOff = t.offset(item, t.Residual.Steps)
	w.colOff = t.offset(item, t.ColBias.Steps)
	w.rowOff = t.offset(item, t.RowBias.Steps)
	x := &w.tile
	x.lda = 4 * t.A.Stride
	x.ldc = 4 * t.C.Stride
	x.ldr = 4 * t.Residual.Stride
	if t.plan.keepR {
		x.ldr = 4 * t.plan.rStride
	}
	x.alpha, x.beta = one(t.Alpha), one(t.Beta)
	x.lo, x.hi, x.slope = t.Lo, t.Hi, t.Slope
	if t.Act == ReLU {
		x.lo, x.hi = 0, inf
	}
	w.final = t.finalFlags(x)
}

func one(x float32) float32 {
	if x == 0 {
		return 1
	}
	return x
}

// finalFlags says what the last block of K has to do.
func (t *Task) finalFlags(x *tile) (f uint64) {
	if x.alpha != 1 {
		f |= flagAlpha
	}
	if t.ColBias.Data != nil {
		f |= flagColBias
	}
	if t.RowBias.Data != nil {
		f |= flagRowBias
	}
	if t.Residual.Data != nil {
		f |= flagResidual
	}
	switch t.Act {
	case ReLU, Clip:
		f |= flagClip
	case LeakyReLU:
		f |= flagLeaky
	}
	return f
}

// A block is rows of B by panels.
type block struct {
	k0, k  int // first row and number of rows
	p0, p1 int // panels
}

// after is the block that a thread computes next, empty if none is known.
func (t *Task) after(w *workspace, b *block, part *tiling.Part) block {
	p := &t.plan
	if k := b.k0 + b.k; k < t.K {
		return block{k0: k, k: min(p.kc, t.K-k), p0: b.p0, p1: b.p1}
	}
	if b.p1 == part.PanelEnd {
		return w.ahead
	}
	return t.firstBlock(b.p1, part)
}

// firstBlock is the first block from a panel of a part on.
func (t *Task) firstBlock(panel int, part *tiling.Part) block {
	return block{k: min(t.plan.kc, t.K), p0: panel, p1: min(panel+t.plan.ncPanel, part.PanelEnd)}
}

// ahead is the first block of the chunk that a thread is likely to take after chunk i:
// threads claim them from both ends. It is empty where that is in another product.
func (t *Task) ahead(i int) block {
	chunks := t.plan.grid.Chunks()
	next := i + 1
	if i >= chunks/2 {
		next = i - 1
	}
	if next < 0 || next >= chunks {
		return block{}
	}
	part := t.plan.grid.Part(next)
	if part.Item != t.plan.grid.Part(i).Item {
		return block{}
	}
	return t.firstBlock(part.Panel, &part)
}

// block multiplies row tiles of A with a block of B. A tile of A meets all of
// the block's panels while it is in the first cache; the block stays in the
// second.
func (t *Task) block(w *workspace, b *block, t0, t1 int) {
	x := &w.tile
	x.k = b.k
	x.flags = 0
	if b.k0 > 0 {
		x.flags = flagLoad
	}
	last := b.k0+b.k == t.K
	if last {
		x.flags |= w.final
	}
	for i := t0; i < t1; i++ {
		row, end := tiling.Rows(i, t.M, t.plan.tiles)
		x.rows = end - row
		x.a = nil
		if b.k > 0 {
			t.placeA(w, b, row)
		}
		t.shareFetching(w, b, i-t0, t1-t0)
		x.rowBias = at(t.RowBias.Data, w.rowOff+row)
		t.panels(w, b, row)
		if last && t.Post != nil {
			t.post(w, b, row, end)
		}
	}
	w.warm = true
}

// shareFetching says what row tile i of n fetches: an even share of the next block, since
// lines on their way from memory hold up those from the second cache. A tile that is alone
// fetches what it reads itself, a little ahead, and so does the first one of a run.
func (t *Task) shareFetching(w *workspace, b *block, i, n int) {
	nr := t.plan.kern.nr
	w.stream = i == 0 && (n == 1 || !w.warm)
	if w.stream {
		w.tile.flags &^= flagLean
		w.tile.advance = 2 * 4 * nr // two rows
		return
	}
	w.share, w.shares = i, n
	if !w.warm {
		w.share, w.shares = i-1, n-1
	}
	p := &t.plan
	w.tile.setFetching(p.kern, tiling.Ceil(4*nr*w.next.k, w.shares), b.k, p.packed || p.packB)
}

// setFetching makes a tile that goes through k rows of B fetch so many bytes meanwhile; panels
// says that B lies in such.
func (x *tile) setFetching(kern *kernels, bytes, k int, panels bool) {
	x.flags &^= flagLean
	x.advance = tiling.Ceil(bytes, fetches(k))
	if steps := k / leanStep; panels && kern.lean > 0 && x.rows >= kern.lean && steps > 0 && bytes <= steps*lineBytes {
		x.flags |= flagLean
		x.advance = tiling.Ceil(bytes, steps)
	}
}

// fetches is how often kernels fetch for later calls while they go through so many k:
// twice in four steps.
func fetches(k int) int { return max(2*(k/4), 1) }

// placeA points the tile at its rows of A, transposed if need be.
func (t *Task) placeA(w *workspace, b *block, row int) {
	x := &w.tile
	if !t.A.Trans {
		x.a = at(t.A.Data, w.aOff+row*t.A.Stride+b.k0)
		return
	}
	x.a, x.lda = at(w.scratch, 0), 4*b.k
	rows := min(tiling.Align(x.rows, transposeBlock), t.M-row)
	transpose(t.plan.kern, w.scratch, b.k, at(t.A.Data, w.aOff+b.k0*t.A.Stride+row), t.A.Stride, b.k, rows)
}

// panels calls the kernels for a row tile and all panels of the block.
func (t *Task) panels(w *workspace, b *block, row int) {
	p, x := &t.plan, &w.tile
	nr := p.kern.nr
	c := w.cOff + row*t.C.Stride
	x.mask = 1<<nr - 1
	x.flags &^= flagMaskB
	x.step = t.panelStep(b)
	wide := 1
	if p.packed {
		wide = p.kern.panelsOf(x.rows)
	}
	whole := min(b.p1, t.N/nr)
	for j, n := b.p0, 0; j < b.p1; j += n {
		f := p.kern.tile[x.rows]
		x.next, x.nextStep = nil, 0
		switch {
		case j >= whole:
			n = 1
			f = p.kern.partialOf(x.rows, t.N-j*nr)
			x.mask = 1<<(t.N-j*nr) - 1
			if !p.packed && !p.packB && !p.packTail {
				x.flags |= flagMaskB
			}
			t.fetch(w, b, j-b.p0, n)
		case wide > 1 && j+wide <= whole:
			f, n = p.kern.wide[x.rows], wide
		default:
			n = t.fetch(w, b, j-b.p0, min(whole-j, maxPanels))
		}
		x.panels = n
		x.b, x.ldb = nil, 0
		if b.k > 0 {
			x.b, x.ldb = t.panelOf(w, b, j)
		}
		x.c = at(t.C.Data, c+j*nr)
		x.colBias = at(t.ColBias.Data, w.colOff+j*nr)
		x.residual = t.residual(w, b, row, j)
		f(x.arg())
	}
}

// panelStep is the bytes from one panel of a block of B to the next.
func (t *Task) panelStep(b *block) int {
	nr := t.plan.kern.nr
	switch {
	case t.Packed != nil:
		return 4 * t.K * nr
	case t.plan.packB:
		return 4 * b.k * nr
	}
	return 4 * nr
}

// streamAhead is how many rows of B a tile fetches ahead of what it reads.
const streamAhead = 64

// fetch sets what a row tile's call for n panels of a block, from number i on, fetches to
// have it in the second cache when its turn comes, and gives the number of panels for which
// that holds, at least 1. A first pass over B that waits for memory takes twice its time.
func (t *Task) fetch(w *workspace, b *block, i, n int) int {
	if t.Packed == nil {
		return n
	}
	x, next, step := &w.tile, &w.next, 4*t.K*t.plan.kern.nr
	if w.stream {
		panel := b.p0 + i
		if ahead := (panel+n-1)*t.K + b.k0 + streamAhead; ahead < t.plan.panels*t.K {
			from, ldb := t.panelOf(w, b, panel)
			x.next, x.nextStep = unsafe.Add(from, streamAhead*ldb), step
		}
		return n
	}
	if next.p0+i >= next.p1 {
		return n
	}
	from, ldb := t.panelOf(w, next, next.p0+i)
	x.next, x.nextStep = unsafe.Add(from, next.k*w.share/w.shares*ldb), step
	return min(n, next.p1-next.p0-i)
}

// keepResidual copies the residual of a block's columns, which the sums of blocks
// of K overwrite.
func (t *Task) keepResidual(w *workspace, b *block, part *tiling.Part) {
	p := &t.plan
	first, _ := tiling.Rows(part.Tile, t.M, p.tiles)
	end, _ := tiling.Rows(part.TileEnd, t.M, p.tiles)
	from, to := b.p0*p.kern.nr, min(b.p1*p.kern.nr, t.N)
	for i := first; i < end; i++ {
		at := w.resOff + i*t.Residual.Stride
		copy(w.scratch[p.rOff+(i-first)*p.rStride:], t.Residual.Data[at+from:at+to])
	}
	w.kept = first
}

// residual is where that of a row and panel is.
func (t *Task) residual(w *workspace, b *block, row, panel int) unsafe.Pointer {
	p := &t.plan
	if p.keepR {
		return at(w.scratch, p.rOff+(row-w.kept)*p.rStride+(panel-b.p0)*p.kern.nr)
	}
	return at(t.Residual.Data, w.resOff+row*t.Residual.Stride+panel*p.kern.nr)
}

// panelOf is where panel j of a block of B begins, and the bytes from row to row.
func (t *Task) panelOf(w *workspace, b *block, j int) (unsafe.Pointer, int) {
	p := &t.plan
	nr := p.kern.nr
	switch {
	case t.Packed != nil:
		return at(t.Packed.data, w.bOff*t.Packed.itemSize()+(j*t.K+b.k0)*nr), 4 * nr
	case p.packB:
		return at(w.scratch, p.bOff+(j-b.p0)*b.k*nr), 4 * nr
	case p.packTail && (j+1)*nr > t.N:
		return at(w.scratch, p.bOff), 4 * nr
	}
	return at(t.B.Data, w.bOff+b.k0*t.B.Stride+j*nr), 4 * t.B.Stride
}

// packBlock copies a block of B into panels, or only its partial panel, or
// nothing.
func (t *Task) packBlock(w *workspace, b *block) {
	if b.k == 0 { // all of K is streamed; what is behind it may be behind all of B
		return
	}
	p := &t.plan
	nr := p.kern.nr
	for j := b.p0; j < b.p1; j++ {
		partial := (j+1)*nr > t.N
		if !p.packB && !(p.packTail && partial) {
			continue
		}
		at, _ := t.panelOf(w, b, j)
		packPanel(p.kern, floats(at, b.k*nr), &t.B, w.bOff, b.k0, b.k, j*nr, min(nr, t.N-j*nr))
	}
}

// post applies the function to what is finished of a row tile.
func (t *Task) post(w *workspace, b *block, row, end int) {
	nr := t.plan.kern.nr
	from, to := b.p0*nr, min(b.p1*nr, t.N)
	for i := row; i < end; i++ {
		at := w.cOff + i*t.C.Stride
		t.Post(t.C.Data[at+from : at+to])
	}
}

// column computes a product with a single column, in the arithmetic of dot.go.
func (t *Task) column(w *workspace, t0, t1 int) {
	p, x := &t.plan, &w.tile
	x.colBias = at(t.ColBias.Data, w.colOff)
	x.rowBias = at(t.RowBias.Data, w.rowOff)
	x.flags = w.final
	b := t.columnOfB(w)
	first, _ := tiling.Rows(t0, t.M, t.plan.tiles)
	_, last := tiling.Rows(t1-1, t.M, t.plan.tiles)
	for from := first; from < last; from += p.aRows {
		n := min(p.aRows, last-from)
		if t.A.Trans && t.K > 0 {
			transpose(p.kern, w.scratch, t.K, at(t.A.Data, w.aOff+from), t.A.Stride, t.K, n)
		}
		for row := from; row < from+n; row++ {
			var s, res float32
			if t.K > 0 {
				s = p.kern.dot((*float32)(t.rowOfA(w, row, from)), b, t.K)
			}
			if t.Residual.Data != nil {
				res = t.Residual.Data[w.resOff+row*t.Residual.Stride]
			}
			c := t.C.Data[w.cOff+row*t.C.Stride:][:1]
			c[0] = x.finish(s, row, res)
			if t.Post != nil {
				t.Post(c)
			}
		}
	}
}

// columnOfB is the contiguous column, copied to scratch if need be.
func (t *Task) columnOfB(w *workspace) *float32 {
	p := &t.plan
	if t.Packed != nil {
		return (*float32)(at(t.Packed.data, w.bOff*t.Packed.itemSize()))
	}
	if p.bContiguous {
		return (*float32)(at(t.B.Data, w.bOff))
	}
	dst := w.scratch[p.bOff:]
	for k := range t.K {
		dst[k] = t.B.Data[w.bOff+k*t.B.Stride]
	}
	return unsafe.SliceData(dst)
}

// rowOfA is a contiguous row, in scratch, where rows begin with first, if A is transposed.
func (t *Task) rowOfA(w *workspace, row, first int) unsafe.Pointer {
	if !t.A.Trans {
		return at(t.A.Data, w.aOff+row*t.A.Stride)
	}
	return at(w.scratch, (row-first)*t.K)
}

// alignment is how many elements to skip for a cache line boundary.
func alignment(s []float32) int {
	return int(-uintptr(unsafe.Pointer(unsafe.SliceData(s)))&(lineBytes-1)) / 4
}

const lineBytes = 64
