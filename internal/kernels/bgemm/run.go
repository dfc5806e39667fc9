package bgemm

import (
	"math"
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/amx"
	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// roundTask is a Task whose operands are rounded.
type roundTask Task

// Do rounds chunk number i: tiles of rows of A, then panels of B.
func (c *roundTask) Do(i int) {
	t := (*Task)(c)
	p := &t.plan
	n := p.units()
	rowTiles := n
	if !p.packed {
		rowTiles -= p.items * p.panels
	}
	for u := i * n / p.rounds; u < (i+1)*n/p.rounds; u++ {
		if u < rowTiles {
			t.roundRows(u/p.tiles, u%p.tiles, t.turned(i))
		} else {
			t.packPanel((u-rowTiles)/p.panels, (u-rowTiles)%p.panels, t.turned(i))
		}
	}
}

// numbers are so many bytes at an offset in the scratch memory.
func (t *Task) numbers(off, bytes int) []uint16 {
	if bytes == 0 {
		return nil
	}
	s := t.memory[off:][:bytes]
	return unsafe.Slice((*uint16)(unsafe.Pointer(&s[0])), bytes/2)
}

// turned is where a chunk turns an operand, if there is one to turn.
func (t *Task) turned(chunk int) []uint16 {
	if !t.plan.turns() {
		return nil
	}
	return t.numbers(t.plan.turnedOff+chunk*2*turnedSize, 2*turnedSize)
}

// roundRows rounds a tile of rows of A, step by step.
func (t *Task) roundRows(item, tile int, turned []uint16) {
	p := &t.plan
	off := tiling.Batch(t.Batch).Offset(item, t.A.Steps)
	row, end := p.rows(tile, tile+1)
	dst := t.numbers((item*p.tiles+tile)*p.tilePitch, p.tilePitch)
	for k := 0; k < t.K; k += amx.StepBF16 {
		step, n := dst[:p.stepPitch/2], min(amx.StepBF16, t.K-k)
		dst = dst[len(step):]
		at := off + row*t.A.Stride + k
		switch {
		case t.HalfA:
			t.copyStep(step, t.A16[at:], end-row, n)
		case t.A.Trans:
			t.roundColumns(step, t.A.Data[off+k*t.A.Stride+row:], end-row, n, turned)
		case n == amx.StepBF16:
			p.kern.Blocks(step, t.A.Data[at:], t.A.Data[at+amx.StepBF16/2:], end-row, t.A.Stride)
		default:
			t.roundStep(step, t.A.Data[at:], end-row, n)
		}
	}
}

// roundStep rounds the n numbers of a step that a's rows have.
func (t *Task) roundStep(step []uint16, a []float32, rows, n int) {
	clear(step)
	for i := range rows {
		t.plan.kern.Round(step[i*amx.StepBF16:][:n], a[i*t.A.Stride:][:n])
	}
}

// copyStep is roundStep for an A that is rounded.
func (t *Task) copyStep(step, a []uint16, rows, n int) {
	clear(step)
	for i := range rows {
		copy(step[i*amx.StepBF16:], a[i*t.A.Stride:][:n])
	}
}

// roundColumns rounds a step of rows that are columns of a, of which n exist.
func (t *Task) roundColumns(step []uint16, a []float32, rows, n int, turned []uint16) {
	clear(step)
	turned = turned[:rows]
	for k := range n {
		t.plan.kern.Round(turned, a[k*t.A.Stride:][:rows])
		for i, x := range turned {
			step[i*amx.StepBF16+k] = x
		}
	}
}

// packPanel packs a panel of B, which changes from run to run.
func (t *Task) packPanel(item, panel int, turned []uint16) {
	dst := panelOf(t.memory[t.plan.bOff:], t.K, t.N, item, panel)
	off := tiling.Batch(t.Batch).Offset(item, t.B.Steps)
	j := panel * amx.Cols
	packPanel(t.plan.kern, dst, &t.B, off, t.K, j, min(amx.Cols, t.N-j), turned)
}

// A workspace is what a chunk needs.
type workspace struct {
	block  amx.Block
	finish amx.Finish
	store  amx.Pixels
	sums   []byte

	item             int
	aOff, cOff       int // where the batch item begins
	resOff           int
	colBias, rowBias int

	_ [128]byte // no false sharing with the next
}

// chunkTask is a Task whose product is computed.
type chunkTask Task

// Do computes chunk number i.
func (c *chunkTask) Do(i int) {
	t := (*Task)(c)
	p := &t.plan
	slot := t.slots.Take()
	w := &t.spaces[slot]
	w.sums = t.memory[p.cOff+slot*p.sumBytes():][:p.sumBytes()]
	part := p.grid.Part(i)
	stacks := tiling.Ceil(part.TileEnd-part.Tile, p.stack)
	for item := part.Item; item < part.ItemEnd; item++ {
		t.setItem(w, item)
		for r := range stacks {
			from, to := tiling.Rows(r, part.TileEnd-part.Tile, stacks)
			t.stack(w, &part, part.Tile+from, part.Tile+to)
		}
	}
	// Pointers to memory that may be unmapped must not stay where the collector
	// looks.
	w.block, w.finish, w.store, w.sums = amx.Block{}, amx.Finish{}, amx.Pixels{}, nil
	t.slots.Give(slot)
}

// stack computes row tiles of a part's panels.
func (t *Task) stack(w *workspace, part *tiling.Part, from, to int) {
	p := &t.plan
	for j := part.Panel; j < part.PanelEnd; j += p.group {
		end := min(j+p.group, part.PanelEnd)
		if p.steps == 0 {
			clear(w.sums)
		} else {
			t.multiply(w, from, to, j, end, t.panelBytes(w.item, end, min(end+p.group, part.PanelEnd)))
		}
		t.finish(w, from, to, j, end)
	}
}

// multiply adds up row tiles from and to of some panels, block by block, and fetches
// the panels that are next.
func (t *Task) multiply(w *workspace, from, to, panel, end int, next []byte) {
	p, b := &t.plan, &w.block
	row, rowEnd := p.rows(from, to)
	tiles, rest := (rowEnd-row)/p.height, (rowEnd-row)%p.height
	b.LDA, b.LDC = p.rowPitch, rowSums
	b.TileA, b.TileC = p.tilePitch, p.height*rowSums
	b.Panels, b.PanelC = end-panel, (rowEnd-row)*rowSums
	panels := t.panelBytes(w.item, panel, end)
	for s := 0; s < p.steps; s += p.depth {
		n := min(p.depth, p.steps-s)
		b.B, b.Gap, b.Add = unsafe.Pointer(&panels[s*amx.StepB]), (p.steps-n)*amx.StepB, min(s, 1)
		if tiles > 0 {
			next = b.Fetch(next, n*b.Panels*tiles, tiles)
			t.block(w, from, s, n, tiles, p.height, 0)
		}
		if rest > 0 {
			next = b.Fetch(next, n*b.Panels, tiles+1)
			t.block(w, from+tiles, s, n, 1, rest, tiles*b.TileC)
		}
	}
}

// block multiplies n steps of row tiles of some height, whose sums are at an offset.
func (t *Task) block(w *workspace, tile, step, n, tiles, height, sums int) {
	p, b := &t.plan, &w.block
	b.SetRows(height)
	b.Tiles = tiles
	b.A = t.rowTile(w, tile, step)
	b.C = unsafe.Pointer(&w.sums[sums])
	p.kern.At(amx.BF16, b, p.offsets[:n])
}

// rowTile is where a step of a row tile of A begins.
func (t *Task) rowTile(w *workspace, tile, step int) unsafe.Pointer {
	p := &t.plan
	if p.stride > 0 {
		return unsafe.Pointer(&t.A16[w.aOff+tile*p.height*p.stride+step*amx.StepBF16])
	}
	return unsafe.Pointer(&t.memory[(w.item*p.tiles+tile)*p.tilePitch+step*p.stepPitch])
}

// setItem sets what is the same for all of a batch item.
func (t *Task) setItem(w *workspace, item int) {
	batch := tiling.Batch(t.Batch)
	w.item = item
	w.aOff, w.cOff, w.resOff = batch.Offset(item, t.A.Steps), batch.Offset(item, t.C.Steps), batch.Offset(item, t.Residual.Steps)
	w.colBias, w.rowBias = batch.Offset(item, t.ColBias.Steps), batch.Offset(item, t.RowBias.Steps)
	f := &w.finish
	f.LDR = 4 * t.Residual.Stride
	f.HalfC, f.HalfR = halfBytes, halfBytes
	f.Alpha, f.Beta = one(t.Alpha), one(t.Beta)
	switch t.Act {
	case gemm.ReLU:
		f.Clip, f.Lo, f.Hi = true, 0, float32(math.Inf(1))
	case gemm.Clip:
		f.Clip, f.Lo, f.Hi = true, t.Lo, t.Hi
	case gemm.LeakyReLU:
		f.Leaky, f.Slope = true, t.Slope
	}
}

func one(x float32) float32 {
	if x == 0 {
		return 1
	}
	return x
}

// panelBytes are packed panels of an item.
func (t *Task) panelBytes(item, from, to int) []byte {
	p := &t.plan
	from, to = from*p.steps*amx.StepB, to*p.steps*amx.StepB
	if t.Weights == nil {
		return t.memory[p.bOff+item*p.itemBytes():][from:to]
	}
	item = tiling.Batch(t.Batch).Offset(item, t.B.Steps)
	return t.Weights.data[item*p.itemBytes():][from:to]
}

// finish brings sums to their place.
func (t *Task) finish(w *workspace, from, to, panel, end int) {
	p, f := &t.plan, &w.finish
	row, rowEnd := p.rows(from, to)
	f.Rows = rowEnd - row
	f.RowBias = at(t.RowBias.Data, w.rowBias+row)
	c, res := w.cOff+row*t.C.Stride, w.resOff+row*t.Residual.Stride
	for j := panel; j < end; j++ {
		col := j * amx.Cols
		f.Mask = columns(t.N - col)
		f.Src = unsafe.Pointer(&w.sums[(j-panel)*f.Rows*rowSums])
		f.Residual, f.ColBias = at(t.Residual.Data, res+col), at(t.ColBias.Data, w.colBias+col)
		if t.Post == nil && !t.HalfC {
			f.Dst, f.LDC = at(t.C.Data, c+col), 4*t.C.Stride
			p.kern.Finish(f)
			continue
		}
		f.Dst, f.LDC = f.Src, rowSums
		p.kern.Finish(f)
		if t.Post != nil {
			t.Post(unsafe.Slice((*float32)(f.Src), f.Rows*amx.Cols))
		}
		t.store(w, c+col)
	}
}

// store brings finished elements to C, from element number to on.
func (t *Task) store(w *workspace, to int) {
	x, f := &w.store, &w.finish
	x.Src, x.LDS, x.Rows, x.Mask = f.Src, rowSums, f.Rows, f.Mask
	x.Lo, x.Hi = float32(math.Inf(-1)), float32(math.Inf(1))
	if x.BF16 = t.HalfC; x.BF16 {
		x.Dst, x.LDC, x.HalfC = unsafe.Pointer(&t.C16[to]), 2*t.C.Stride, halfBytes/2
	} else {
		x.Dst, x.LDC, x.HalfC = unsafe.Pointer(&t.C.Data[to]), 4*t.C.Stride, halfBytes
	}
	t.plan.kern.Pixels(x)
}

// columns has a bit for each of the first n columns of a panel.
func columns(n int) uint64 { return 1<<min(n, amx.Cols) - 1 }

// at is the address of element i of s, nil if s is empty.
func at(s []float32, i int) unsafe.Pointer {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Pointer(&s[i])
}
