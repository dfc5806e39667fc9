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
	rowTiles := p.items * p.tiles
	for u := i * n / p.rounds; u < (i+1)*n/p.rounds; u++ {
		if u < rowTiles {
			t.roundRows(u/p.tiles, u%p.tiles)
		} else {
			t.packPanel((u-rowTiles)/p.panels, (u-rowTiles)%p.panels, i)
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

// roundRows rounds a tile of rows of A.
func (t *Task) roundRows(item, tile int) {
	p := &t.plan
	if t.K == 0 {
		return
	}
	off := tiling.Batch(t.Batch).Offset(item, t.A.Steps)
	row, end := tiling.Rows(tile, t.M, p.tiles)
	dst := t.numbers((item*t.M+row)*p.rowBytes(), (end-row)*p.rowBytes())
	if t.A.Trans {
		t.roundColumns(dst, t.A.Data[off+row:], end-row)
		return
	}
	for i := range end - row {
		line := dst[i*p.rowBytes()/2:][:p.rowBytes()/2]
		p.kern.Round(line[:t.K], t.A.Data[off+(row+i)*t.A.Stride:][:t.K])
		clear(line[t.K:])
	}
}

// roundColumns rounds rows of A that are columns of what is in memory.
func (t *Task) roundColumns(dst []uint16, src []float32, rows int) {
	var line [amx.Rows]uint16
	stride := t.plan.rowBytes() / 2
	for k := range t.K {
		t.plan.kern.Round(line[:rows], src[k*t.A.Stride:][:rows])
		for i, v := range line[:rows] {
			dst[i*stride+k] = v
		}
	}
	for i := range rows {
		clear(dst[i*stride+t.K : (i+1)*stride])
	}
}

// packPanel packs a panel of B, which changes from run to run, in a chunk.
func (t *Task) packPanel(item, panel, chunk int) {
	p := &t.plan
	dst := panelOf(t.memory[p.bOff:], t.K, t.N, item, panel)
	off := tiling.Batch(t.Batch).Offset(item, t.B.Steps)
	j := panel * amx.Cols
	var column []uint16
	if t.B.Trans {
		column = t.numbers(p.columnOff+chunk*p.rowBytes(), p.rowBytes())
	}
	packPanel(p.kern, dst, &t.B, off, t.K, j, min(amx.Cols, t.N-j), column)
}

// A workspace is what a chunk needs.
type workspace struct {
	block  amx.Block
	finish amx.Finish
	sums   []byte

	item             int
	cOff, resOff     int // where the batch item begins
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
	size := p.group * panelSums
	w.sums = t.memory[p.cOff+slot*size:][:size]
	part := p.grid.Part(i)
	for item := part.Item; item < part.ItemEnd; item++ {
		t.setItem(w, item)
		for j := part.Panel; j < part.PanelEnd; j += p.group {
			next := t.nextPanels(w.item, j, &part)
			for r := part.Tile; r < part.TileEnd; r++ {
				next = w.block.Fetch(next, p.steps*min(p.group, part.PanelEnd-j), part.TileEnd-part.Tile)
				t.multiply(w, r, j, min(j+p.group, part.PanelEnd))
			}
		}
	}
	// Pointers to memory that may be unmapped must not stay where the collector
	// looks.
	w.block, w.finish, w.sums = amx.Block{}, amx.Finish{}, nil
	t.slots.Give(slot)
}

// nextPanels is the memory of the panels that follow a group.
func (t *Task) nextPanels(item, j int, part *tiling.Part) []byte {
	p := &t.plan
	from, to := min(j+p.group, part.PanelEnd), min(j+2*p.group, part.PanelEnd)
	return t.panels(item)[from*p.steps*amx.StepB : to*p.steps*amx.StepB]
}

// setItem sets what is the same for all of a batch item.
func (t *Task) setItem(w *workspace, item int) {
	batch := tiling.Batch(t.Batch)
	w.item = item
	w.cOff, w.resOff = batch.Offset(item, t.C.Steps), batch.Offset(item, t.Residual.Steps)
	w.colBias, w.rowBias = batch.Offset(item, t.ColBias.Steps), batch.Offset(item, t.RowBias.Steps)
	f := &w.finish
	f.LDC, f.LDR = 4*t.C.Stride, 4*t.Residual.Stride
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

// multiply computes a tile of rows of some panels.
func (t *Task) multiply(w *workspace, tile, from, to int) {
	p, b := &t.plan, &w.block
	row, end := tiling.Rows(tile, t.M, p.tiles)
	b.SetRows(end - row)
	if p.steps == 0 {
		clear(w.sums)
	} else {
		b.A, b.LDA = unsafe.Pointer(&t.memory[(w.item*t.M+row)*p.rowBytes()]), p.rowBytes()
		b.B = unsafe.Pointer(&t.panels(w.item)[from*p.steps*amx.StepB])
		b.C, b.LDC, b.PanelC = unsafe.Pointer(&w.sums[0]), 4*amx.Cols, panelSums
		b.Panels = to - from
		p.kern.Contiguous(amx.BF16, b, p.steps)
	}
	t.finish(w, row, end, from, to)
}

// panels are the packed panels of an item.
func (t *Task) panels(item int) []byte {
	size := t.plan.itemBytes()
	if t.Weights == nil {
		return t.memory[t.plan.bOff+item*size:][:size]
	}
	item = tiling.Batch(t.Batch).Offset(item, t.B.Steps)
	return t.Weights.data[item*size:][:size]
}

// finish brings sums to their place.
func (t *Task) finish(w *workspace, row, end, from, to int) {
	f := &w.finish
	f.Rows = end - row
	f.RowBias = at(t.RowBias.Data, w.rowBias+row)
	c, res := w.cOff+row*t.C.Stride, w.resOff+row*t.Residual.Stride
	for j := from; j < to; j++ {
		col := j * amx.Cols
		f.Mask = columns(t.N - col)
		f.Src = unsafe.Pointer(&w.sums[(j-from)*panelSums])
		f.Dst, f.Residual, f.ColBias = at(t.C.Data, c+col), at(t.Residual.Data, res+col), at(t.ColBias.Data, w.colBias+col)
		t.plan.kern.Finish(f)
	}
	if t.Post != nil {
		lo, hi := from*amx.Cols, min(to*amx.Cols, t.N)
		for i := range f.Rows {
			t.Post(t.C.Data[c+i*t.C.Stride+lo : c+i*t.C.Stride+hi])
		}
	}
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
