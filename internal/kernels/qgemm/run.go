package qgemm

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// A plan says how a task is cut. None of it shows in the result.
type plan struct {
	planKey
	tiles, panels int
	ncPanel       int // panels of B in a block
	groups        int // of k
	grid          tiling.Grid
	copyA         bool
	strips        stripPlan
	spills        spillPlan
	perSlot       int // bytes of scratch
	slots         int
}

// planKey is what a plan depends on.
type planKey struct {
	kern           *kernels
	m, n, k, items int
	threads        int
	signedA        bool
	spilled        bool
	tuning         Tuning
}

// chunkWork is the number of multiply-adds for which a chunk of its own pays.
const chunkWork = 1 << 21

func (t *Task) newPlan(threads int) plan {
	key := planKey{kern: t.Packed.kern, m: t.M, n: t.N, k: t.K, items: t.items(), threads: threads, signedA: t.A.Signed, spilled: t.Packed.spilled, tuning: t.Tuning}
	if key == t.plan.planKey {
		return t.plan
	}
	kern := key.kern
	p := plan{planKey: key}
	s := tiling.Shape{Items: p.items, M: p.m, N: p.n, K: p.k, MR: kern.mr, NR: kern.nr, ChunkWork: chunkWork, Along: p.tuning.Along}
	p.tiles, p.panels = s.Tiles(), s.Panels()
	p.groups = kern.depth(p.k) / kern.group
	p.grid = tiling.Split(s, threads)
	p.slots = min(threads, p.grid.Chunks(), tiling.MaxSlots)
	block := BlockBytes()
	if n := p.tuning.BlockBytes; n > 0 {
		block = n
	}
	p.ncPanel = max(1, block/max(1, p.groups*kern.group*kern.nr))
	if kern.fetches {
		p.ncPanel = max(1, p.ncPanel/2) // beside the next one, which is fetched meanwhile
	}
	if kern.tiled() {
		p.planStrips()
		return p
	}
	p.copyA = kern.wide || p.signedA || p.k%kern.align != 0
	if p.copyA {
		p.perSlot = tiling.Align(kern.mr*p.rowBytes(), lineBytes)
	}
	if p.spilled {
		p.planSpills()
	}
	return p
}

// rowBytes is a row of A as the kernels read it.
func (p *plan) rowBytes() int {
	if p.kern.wide {
		return 2 * p.groups * p.kern.group
	}
	return p.groups * p.kern.group
}

const lineBytes = 64

// scratch is the bytes that all slots need, with room for alignment.
func (p *plan) scratch() int {
	if p.perSlot == 0 {
		return 0
	}
	return p.slots*p.perSlot + lineBytes
}

// A workspace is what a chunk needs. It is not on the stack since kernels are
// called through variables, which makes arguments escape.
type workspace struct {
	tile     tile
	scratch  []byte
	rowScale [maxRows]float32
	rowZero  [maxRows]int32
	rowSum   [maxRows]int32
	rowInner [maxRows]int32
	next     []byte  // where kernels fetch: the block of B after this one, or what is left of it
	chunk    int     // in progress
	least    float32 // of the results, and 0
	most     float32
	strip    *strips                     // of tiles
	floats   [tileRows * maxCols]float32 // a tile on its way to bytes

	evens                [evenRows]*byte
	spillRow, spillPanel int // of the first sum of spills

	aOff, cOff, item int // where the batch item begins; the number of B's

	_ [128]byte // no false sharing with the next
}

// chunkTask is a Task as the pool sees it.
type chunkTask Task

// Do computes chunk number i.
func (c *chunkTask) Do(i int) {
	t := (*Task)(c)
	slot := t.slots.Take()
	w := &t.spaces[slot]
	w.scratch, w.chunk = t.scratchOf(slot), i
	part := t.plan.grid.Part(i)
	for item := part.Item; item < part.ItemEnd; item++ {
		if t.plan.kern.tiled() {
			t.productOfTiles(w, item, &part)
		} else {
			t.product(w, item, &part)
		}
	}
	// Pointers to memory that may be unmapped must not stay where the collector
	// looks.
	w.tile, w.scratch, w.next, w.evens = tile{}, nil, nil, [evenRows]*byte{}
	t.slots.Give(slot)
}

// scratchOf is the memory of one slot, aligned to a cache line.
func (t *Task) scratchOf(slot int) []byte {
	if t.plan.perSlot == 0 {
		return nil
	}
	s := t.Scratch
	if len(s) < t.plan.scratch() {
		s = t.own
	}
	s = s[int(-uintptr(unsafe.Pointer(unsafe.SliceData(s)))&(lineBytes-1)):]
	return s[slot*t.plan.perSlot : (slot+1)*t.plan.perSlot]
}

// at is the address of element i of s, nil if s is empty.
func at[T any](s []T, i int) unsafe.Pointer {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Pointer(&s[i])
}

// product computes a part of a batch item. A tile of A meets a block of B's
// panels while it is in the first cache; the block stays in the second.
func (t *Task) product(w *workspace, item int, part *tiling.Part) {
	t.setItem(w, item)
	p := &t.plan
	for j := part.Panel; j < part.PanelEnd; j += p.ncPanel {
		end := min(j+p.ncPanel, part.PanelEnd)
		w.next = t.following(w, part, end)
		for i := part.Tile; i < part.TileEnd; i++ {
			row, rowEnd := tiling.Rows(i, t.M, p.tiles)
			w.tile.rows = rowEnd - row
			if n := p.spills.tiles; p.spilled && (i-part.Tile)%n == 0 {
				t.spill(w, i, min(i+n, part.TileEnd), j, end)
			}
			t.setRows(w, row)
			t.panels(w, row, j, end)
			t.finishRows(w, row, w.tile.rows, j, end)
		}
	}
}

// following is the block of B that comes after one that ends with panel end.
func (t *Task) following(w *workspace, part *tiling.Part, end int) []byte {
	p := &t.plan
	if end == part.PanelEnd {
		if next, ok := t.after(w.chunk); ok && next.Item == part.Item {
			end = next.Panel
		}
	}
	return t.packed(w.item, end, min(end+p.ncPanel, p.panels))
}

// after is the part that a thread is likely to take after chunk i: the first threads
// claim chunks forwards, the others backwards.
func (t *Task) after(i int) (tiling.Part, bool) {
	chunks := t.plan.grid.Chunks()
	if next := i + 1; t.plan.slots == 1 || next <= (chunks-1)/2 {
		return t.plan.grid.Part(min(next, chunks-1)), next < chunks
	}
	if i > (chunks+1)/2 {
		return t.plan.grid.Part(i - 1), true
	}
	return tiling.Part{}, false
}

// finishRows does what kernels have not done with the panels of some rows, while these are
// in the cache.
func (t *Task) finishRows(w *workspace, row, rows, from, to int) {
	tiled := t.plan.kern.tiled()
	post := t.Post != nil && !(t.Gelu && tiled)
	ends := t.Range != nil && (post || !tiled)
	if !post && !ends {
		return
	}
	lo, hi := from*t.plan.kern.nr, min(to*t.plan.kern.nr, t.N)
	for i := row; i < row+rows; i++ {
		piece := t.C.Float[w.cOff+i*t.C.Stride:][lo:hi]
		switch {
		case post && t.Gelu && t.plan.kern.gelu != nil:
			t.plan.kern.gelu(piece)
		case post:
			t.Post(piece)
		}
		if ends {
			least, most := t.Range(piece)
			w.least, w.most = min(w.least, least), max(w.most, most)
		}
	}
}

// setItem sets what is the same for all tiles of a batch item.
func (t *Task) setItem(w *workspace, item int) {
	t.findItem(w, item)
	x := &w.tile
	x.k = t.plan.groups
	x.ldc, x.ldr = 4*t.C.Stride, 4*t.ResidualStride
	x.step = t.plan.groups * t.plan.kern.group * t.plan.kern.nr
	if t.C.Byte != nil {
		x.ldc = 4 * t.plan.kern.nr
	}
	x.lo, x.hi = t.Lo, t.Hi
	x.rowScale = unsafe.Pointer(&w.rowScale)
	x.rowZero = unsafe.Pointer(&w.rowZero)
	x.rowSum = unsafe.Pointer(&w.rowSum)
	x.rowInner = unsafe.Pointer(&w.rowInner)
	x.flags = t.flags()
	if t.plan.spilled {
		x.flags |= flagSpilled
		x.lds = 4 * t.plan.spills.ld
	}
}

// findItem finds the operands of a batch item.
func (t *Task) findItem(w *workspace, item int) {
	batch := tiling.Batch(t.Batch)
	w.aOff = batch.Offset(item, t.A.Steps)
	w.cOff = batch.Offset(item, t.C.Steps)
	w.item = batch.Offset(item, t.Steps)
}

func (t *Task) flags() (f uint64) {
	if len(t.ZeroA) > 0 || t.shift() != 0 {
		f |= flagColSum
	}
	if len(t.ZeroA) <= 1 {
		f |= flagOneZero
	}
	if len(t.RowScale) <= 1 {
		f |= flagOneScale
	}
	if t.Packed.shifted {
		f |= flagColZero
	}
	if t.C.Int != nil {
		return f
	}
	f |= flagFloat
	if len(t.ColScale) > 1 {
		f |= flagColScale
	}
	if len(t.ColBias) > 0 {
		f |= flagColBias
	}
	if t.Clip {
		f |= flagClip
	}
	if t.Residual != nil {
		f |= flagResidual
	}
	return f
}

// setRows points the tile at its rows of A, and sets what goes with them.
func (t *Task) setRows(w *workspace, row int) {
	x := &w.tile
	for i := range x.rows {
		a := t.A.Data[w.aOff+(row+i)*t.A.Stride:][:t.K]
		w.rowZero[i] = pick(t.ZeroA, row+i, 0)
		w.rowZero[i] += t.shift()
		w.rowScale[i] = pick(t.RowScale, row+i, 1)
		if len(t.ColScale) == 1 {
			w.rowScale[i] = float32(w.rowScale[i] * t.ColScale[0])
		}
		if t.plan.copyA {
			t.copyRow(w.scratch, i, a)
			if f := t.plan.kern.innerSum; f != nil && len(a) > 0 {
				w.rowInner[i] = f(&w.scratch[i*t.plan.rowBytes()], t.plan.groups)
			}
		}
		if x.flags&flagColZero != 0 {
			w.rowSum[i] = rowSum(a, t.A.Signed) + t.shift()*int32(t.K)
		}
	}
	x.a, x.lda = at(t.A.Data, w.aOff+row*t.A.Stride), t.A.Stride
	if t.K == 0 {
		x.a = nil
	}
	if t.plan.copyA {
		x.a, x.lda = at(w.scratch, 0), t.plan.rowBytes()
	}
}

// shift is what is added to numbers of A: kernels multiply unsigned ones, but for
// tiles.
func (t *Task) shift() int32 {
	if t.A.Signed && !t.plan.kern.tiled() {
		return 128
	}
	return 0
}

// pick is element i of a vector that has one element, all, or none.
func pick[T any](s []T, i int, none T) T {
	switch len(s) {
	case 0:
		return none
	case 1:
		return s[0]
	}
	return s[i]
}

func rowSum(a []byte, signed bool) (s int32) {
	if signed {
		for _, x := range a {
			s += int32(int8(x))
		}
		return s
	}
	for _, x := range a {
		s += int32(x)
	}
	return s
}

// copyRow copies a row of A to scratch: unsigned, or as words less 128 if the kernel wants
// so, and filled up to a whole group.
func (t *Task) copyRow(dst []byte, i int, a []byte) {
	flip := byte(t.shift())
	bytes := t.plan.rowBytes()
	dst = dst[i*bytes:][:bytes]
	if t.plan.kern.wide {
		flip ^= 128
		n := 0
		if f := t.plan.kern.widen; f != nil && len(a) >= widenStep {
			n = len(a) &^ (widenStep - 1)
			f(&dst[0], &a[0], n, uint64(flip))
		}
		widen(dst[2*n:], a[n:], flip)
		return
	}
	flipped(dst, a, flip)
	clear(dst[len(a):])
}

// packed is the memory of panels [from, to) of an item.
func (t *Task) packed(item, from, to int) []byte {
	p := &t.plan
	size := p.groups * p.kern.group * p.kern.nr
	return t.Packed.data[item*packedItem(p.kern, t.K, t.N):][from*size : to*size]
}

// fetch makes each panel of the next call of a kernel fetch n bytes of what comes next into
// the second-level cache, as far as there is some.
func (w *workspace) fetch(n int) {
	x := &w.tile
	if n == 0 || len(w.next) == 0 {
		x.next, x.nextStep = x.b, 0
		return
	}
	x.next, x.nextStep = unsafe.Pointer(&w.next[0]), n
	w.next = w.next[min(x.panels*n, len(w.next)):]
}

// panels calls kernels for a row tile and some panels: once for all that are whole, since
// returning to Go after each takes time. Those of bytes go through a tile of floats.
func (t *Task) panels(w *workspace, row, from, to int) {
	p, x := &t.plan, &w.tile
	b := w.item * packedItem(p.kern, t.K, t.N)
	whole := min(to, t.N/p.kern.nr)
	for j := from; j < to; j += x.panels {
		if x.step > 0 {
			x.b = at(t.Packed.data, b+j*x.step)
		}
		x.panels = 1
		if t.C.Byte == nil {
			x.panels = max(1, whole-j)
		}
		t.tiles(w, row, j)
	}
}

// tiles calls the kernel for the tile's rows of panels from j on, which begin with row.
func (t *Task) tiles(w *workspace, row, j int) {
	kern, x := t.plan.kern, &w.tile
	col := j * kern.nr
	x.mask = 1<<kern.nr - 1
	if col+kern.nr > t.N {
		x.mask = 1<<(t.N-col) - 1
	}
	t.setColumns(w, row, j)
	if kern.fetches {
		w.fetch(t.plan.groups / 4 * lineBytes)
	}
	f := kern.kernel(x)
	if t.C.Byte == nil {
		f(x.arg())
		return
	}
	bytes := (*byte)(x.c)
	x.c = unsafe.Pointer(&w.floats)
	f(x.arg())
	lo, hi := t.C.limits()
	kern.narrow(bytes, t.C.Stride, &w.floats[0], x.rows, x.mask, lo, hi, t.C.Zero)
}

// setColumns points the tile at what there is for the columns from panel j on, and at C.
func (t *Task) setColumns(w *workspace, row, j int) {
	x := &w.tile
	col, cols := j*t.plan.kern.nr, w.item*t.N
	x.colSum = at(t.Packed.colSum, cols+col)
	x.colZero = at(t.Packed.colZero, cols+col)
	x.colInner = at(t.Packed.colInner, cols+col)
	if x.flags&flagColScale != 0 {
		x.colScale = at(t.ColScale, col)
	}
	x.colBias = at(t.ColBias, col)
	x.residual = at(t.Residual, row*t.ResidualStride+col)
	if p := &t.plan; p.spilled {
		x.spilled = at(w.scratch, p.spills.sums+4*((row-w.spillRow)*p.spills.ld+col-w.spillPanel*clipCols))
	}
	x.c = t.C.at(w.cOff + row*t.C.Stride + col)
}

// at is element i of the one kind that there is.
func (c *Output) at(i int) unsafe.Pointer {
	switch {
	case c.Int != nil:
		return at(c.Int, i)
	case c.Float != nil:
		return at(c.Float, i)
	}
	return at(c.Byte, i)
}
