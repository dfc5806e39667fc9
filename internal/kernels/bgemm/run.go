package bgemm

import (
	"math"
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/kernels/mma"
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
	row := p.start(tile)
	end := row + p.height
	dst := t.numbers((item*p.tiles+tile)*p.tilePitch, p.tilePitch)
	for k := 0; k < t.K; k += mma.StepBF16 {
		step, n := dst[:p.stepPitch/2], min(mma.StepBF16, t.K-k)
		dst = dst[len(step):]
		at := off + row*t.A.Stride + k
		switch {
		case t.HalfA:
			t.copyStep(step, t.A16[at:], end-row, n)
		case t.A.Trans:
			t.roundColumns(step, t.A.Data[off+k*t.A.Stride+row:], end-row, n, turned)
		case n == mma.StepBF16:
			p.kern.Blocks(step, t.A.Data[at:], t.A.Data[at+mma.StepBF16/2:], end-row, t.A.Stride)
		default:
			t.roundStep(step, t.A.Data[at:], end-row, n)
		}
	}
}

// roundStep rounds the n numbers of a step that a's rows have.
func (t *Task) roundStep(step []uint16, a []float32, rows, n int) {
	clear(step)
	for i := range rows {
		t.plan.kern.Round(step[i*mma.StepBF16:][:n], a[i*t.A.Stride:][:n])
	}
}

// copyStep is roundStep for an A that is rounded.
func (t *Task) copyStep(step, a []uint16, rows, n int) {
	clear(step)
	for i := range rows {
		copy(step[i*mma.StepBF16:], a[i*t.A.Stride:][:n])
	}
}

// roundColumns rounds a step of rows that are columns of a, of which n exist.
func (t *Task) roundColumns(step []uint16, a []float32, rows, n int, turned []uint16) {
	clear(step)
	turned = turned[:rows]
	for k := range n {
		t.plan.kern.Round(turned, a[k*t.A.Stride:][:rows])
		for i, x := range turned {
			step[i*mma.StepBF16+k] = x
		}
	}
}

// packPanel packs a panel of B, which changes from run to run.
func (t *Task) packPanel(item, panel int, turned []uint16) {
	dst := panelOf(t.memory[t.plan.bOff:], t.K, t.N, item, panel)
	off := tiling.Batch(t.Batch).Offset(item, t.B.Steps)
	j := panel * mma.Cols
	packPanel(t.plan.kern, dst, &t.B, off, t.K, j, min(mma.Cols, t.N-j), turned)
}

// A workspace is what a chunk needs.
type workspace struct {
	strip    mma.Strip
	rowTiles [maxStack]mma.RowTile
	store    mma.Pixels
	sums     []byte
	next     []byte // of B, to be fetched

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
		var after []byte
		if item+1 == part.ItemEnd {
			after = t.firstPanel(i + p.slots)
		}
		for r := range stacks {
			from, to := tiling.Rows(r, part.TileEnd-part.Tile, stacks)
			t.stack(w, &part, part.Tile+from, part.Tile+to, after)
		}
	}
	// Pointers to memory that may be unmapped must not stay where the collector
	// looks.
	w.strip, w.store, w.sums, w.next = mma.Strip{}, mma.Pixels{}, nil, nil
	t.slots.Give(slot)
}

// firstPanel is where chunk number i begins, which this thread is likely to take next.
func (t *Task) firstPanel(i int) []byte {
	if i >= t.plan.grid.Chunks() {
		return nil
	}
	part := t.plan.grid.Part(i)
	return t.panelBytes(part.Item, part.Panel, part.Panel+1)
}

// stack computes row tiles of a part's panels. While the last one is computed, what
// comes after the part is fetched.
func (t *Task) stack(w *workspace, part *tiling.Part, from, to int, after []byte) {
	p := &t.plan
	t.setRowTiles(w, from, to)
	w.next = t.panelBytes(w.item, part.Panel+1, part.PanelEnd)
	for j := part.Panel; j < part.PanelEnd; {
		end := min(j+p.group, part.PanelEnd)
		if end == part.PanelEnd && end > j+1 && after != nil {
			end--
		}
		if j == part.PanelEnd-1 {
			w.next = after
		}
		t.panels(w, from, to, j, end)
		j = end
	}
}

// setRowTiles says where row tiles lie.
func (t *Task) setRowTiles(w *workspace, from, to int) {
	p, s := &t.plan, &w.strip
	s.SetRows(p.height)
	s.LDA, s.StepA, s.Tiles, s.RowTiles = p.rowPitch, p.stepPitch, to-from, &w.rowTiles[0]
	s.LDC, s.PanelC, s.LDR = 4*t.C.Stride, rowSums, 4*t.Residual.Stride
	switch {
	case t.Post != nil:
		s.LDC = rowSums
	case t.HalfC:
		s.LDC, s.PanelC, s.Half = 2*t.C.Stride, rowSums/2, true
	}
	first := p.row(from)
	for i := range s.Tiles {
		row, start := p.row(from+i), p.start(from+i)
		x := &w.rowTiles[i]
		*x = mma.RowTile{A: (from + i) * p.tilePitch, Rows: p.row(from+i+1) - row, Skip: (row - start) * rowSums, C: (row - first) * s.LDC, R: (row - first) * s.LDR, Row: 4 * (row - first)}
		if p.stride > 0 {
			x.A = start * p.rowPitch
		}
	}
}

// noSteps stands for operands without any k.
var noSteps [mma.StepB]byte

// panels computes row tiles from and to of some panels.
func (t *Task) panels(w *workspace, from, to, panel, end int) {
	p, s := &t.plan, &w.strip
	row, col := p.row(from), panel*mma.Cols
	c := w.cOff + row*t.C.Stride + col
	s.Panels, s.Columns, s.Sums = end-panel, t.N-col, unsafe.Pointer(&w.sums[0])
	s.Residual = at(t.Residual.Data, w.resOff+row*t.Residual.Stride+col)
	s.ColBias, s.RowBias = at(t.ColBias.Data, w.colBias+col), at(t.RowBias.Data, w.rowBias+row)
	switch {
	case t.Post != nil:
		s.Dst = unsafe.Pointer(&w.sums[mma.StripSums])
	case t.HalfC:
		s.Dst = unsafe.Pointer(&t.C16[c])
	default:
		s.Dst = unsafe.Pointer(&t.C.Data[c])
	}
	if p.steps == 0 {
		s.A, s.B, s.LDA, s.Steps = unsafe.Pointer(&noSteps), unsafe.Pointer(&noSteps), 0, 1
		w.rowTiles[0].A = 0
		p.kern.Strip(s)
	}
	data := t.panelBytes(w.item, panel, end)
	for k := 0; k < p.steps; k += p.depth {
		s.Steps = min(p.depth, p.steps-k)
		s.A, s.B = t.rowsFrom(w, k), unsafe.Pointer(&data[k*mma.StepB])
		s.Resume, s.Hold = k > 0, k+s.Steps < p.steps
		s.Fetch(w.next)
		p.kern.Strip(s)
		w.next = s.Fetched(w.next)
	}
	if t.Post != nil {
		rows := p.row(to) - row
		t.Post(unsafe.Slice((*float32)(s.Dst), rows*mma.Cols))
		t.store(w, c, rows)
	}
}

// rowsFrom is where a step of the first row of A begins.
func (t *Task) rowsFrom(w *workspace, step int) unsafe.Pointer {
	p := &t.plan
	if p.stride > 0 {
		return unsafe.Pointer(&t.A16[w.aOff+step*mma.StepBF16])
	}
	return unsafe.Pointer(&t.memory[w.item*p.tiles*p.tilePitch+step*p.stepPitch])
}

// setItem sets what is the same for all of a batch item.
func (t *Task) setItem(w *workspace, item int) {
	batch := tiling.Batch(t.Batch)
	w.item = item
	w.aOff, w.cOff, w.resOff = batch.Offset(item, t.A.Steps), batch.Offset(item, t.C.Steps), batch.Offset(item, t.Residual.Steps)
	w.colBias, w.rowBias = batch.Offset(item, t.ColBias.Steps), batch.Offset(item, t.RowBias.Steps)
	f := &w.strip
	f.Alpha, f.Beta, f.Gelu = one(t.Alpha), one(t.Beta), t.Gelu
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
	from, to = from*p.steps*mma.StepB, to*p.steps*mma.StepB
	if t.Weights == nil {
		return t.memory[p.bOff+item*p.itemBytes():][from:to]
	}
	item = tiling.Batch(t.Batch).Offset(item, t.B.Steps)
	return t.Weights.data[item*p.itemBytes():][from:to]
}

// store brings finished rows of a panel to C, from element number to on.
func (t *Task) store(w *workspace, to, rows int) {
	x, s := &w.store, &w.strip
	x.Src, x.LDS, x.Rows, x.Mask = s.Dst, rowSums, rows, columns(s.Columns)
	x.Lo, x.Hi = float32(math.Inf(-1)), float32(math.Inf(1))
	if x.BF16 = t.HalfC; x.BF16 {
		x.Dst, x.LDC, x.HalfC = unsafe.Pointer(&t.C16[to]), 2*t.C.Stride, halfBytes/2
	} else {
		x.Dst, x.LDC, x.HalfC = unsafe.Pointer(&t.C.Data[to]), 4*t.C.Stride, halfBytes
	}
	t.plan.kern.Pixels(x)
}

// columns has a bit for each of the first n columns of a panel.
func columns(n int) uint64 { return 1<<min(n, mma.Cols) - 1 }

// at is the address of element i of s, nil if s is empty.
func at(s []float32, i int) unsafe.Pointer {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Pointer(&s[i])
}
