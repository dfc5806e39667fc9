package qconv

import (
	"unsafe"
)

// cut says how an image is divided: parts of its rows (of its pixels, where they
// are one row) times parts of the panels. It depends on the layer and the threads,
// and the result not on it.
type cut struct {
	rows, panels int
	units        int // rows, or tiles of pixels
	tall         int // rows of a unit
	lines        int // most lines of a call
}

func (c cut) chunks() int { return c.rows * c.panels }

// chunkWork is the number of multiply-adds for which a chunk of its own pays.
const chunkWork = 1 << 20

func (pl *Plan) newCut(images, threads, most int) cut {
	c := cut{rows: 1, panels: 1, tall: 1}
	switch {
	case pl.flat:
		c.units = (images*pl.h.Out*pl.w.Out + most - 1) / most
	case pl.packed.tiled:
		c.units = pl.h.Out
	case pl.w.Out == 7 && most == 14 && !pl.p.depthwise():
		c.tall, c.units = 2, (pl.h.Out+1)/2
	default:
		c.units = pl.h.Out
	}
	work := pl.packed.groups * pl.packed.taps * most * 2
	c.lines = max(1, callCycles/max(work, 1))
	if threads == 1 {
		return c
	}
	per := DefaultChunks
	if pl.p.Tuning.Chunks > 0 {
		per = pl.p.Tuning.Chunks
	}
	want := min(per*threads, 1+images*pl.MACs()/chunkWork)
	panels := len(pl.packed.panels)
	if pl.byChannels(images) {
		c.panels = min(want, panels)
		c.rows = min(c.units, (want+c.panels-1)/c.panels)
		return c
	}
	c.rows = min(want, c.units)
	c.panels = min(panels, (want+c.rows-1)/c.rows)
	return c
}

// mostChunks bounds the chunks of a cut, of any number of images.
func (pl *Plan) mostChunks(threads int) int {
	if !pl.flat { // images one after the other
		return pl.newCut(1, threads, pl.kern.tilePixels).chunks()
	}
	if pl.p.Tuning.Chunks > 0 {
		return 2 * pl.p.Tuning.Chunks * threads
	}
	return 2 * DefaultChunks * threads
}

// byChannels says whether threads divide the channels before the rows: where weights are
// by far larger than the input. Until then it pays that a thread reads what it has
// written itself: with eight times instead of once mobilenet_v2 takes 3 % less on two
// threads, resnet50 1 to 2 %.
func (pl *Plan) byChannels(images int) bool {
	if pl.p.depthwise() || pl.p.Tuning.Split == Rows {
		return false
	}
	return pl.p.Tuning.Split == Channels || pl.packed.bytes > 8*images*pl.inBytes()
}

// callCycles bounds one call of a kernel, which can't be preempted: 50 µs.
const callCycles = 150_000

// tileTask is a Runner that computes chunks of the output.
type tileTask Runner

// Do computes chunk i.
func (c *tileTask) Do(i int) {
	r := (*Runner)(c)
	w := &r.work[i]
	pl := r.plan
	pl.setTile(&w.tile, r.bytes)
	part, cols := i/r.cut.panels, i%r.cut.panels
	lo, hi := part*r.cut.units/r.cut.rows, (part+1)*r.cut.units/r.cut.rows
	n := len(pl.packed.panels)
	first, last := cols*n/r.cut.panels, (cols+1)*n/r.cut.panels
	if w.src = r.src; pl.packed.tiled {
		r.tiles(w, first, last, lo, hi)
		return
	}
	if r.clipped() {
		r.clippedPanels(w, i, first, last, lo, hi)
		return
	}
	if r.byInner() {
		r.innerPanels(w, i, first, last, lo, hi)
		return
	}
	if !pl.byBlocks() {
		r.panels(w, first, last, lo, hi)
		return
	}
	size := pl.blockBytes(r.cut)
	w.src = r.op.Scratch[i*size:][:size]
	for rows := pl.blockRows(); lo < hi; lo += rows {
		w.row0 = lo
		r.copyBlock(w.src, lo, min(lo+rows, hi))
		r.panels(w, first, last, lo, min(lo+rows, hi))
	}
	w.row0 = 0
}

// copyBlock copies what rows [lo, hi) of the output read.
func (r *Runner) copyBlock(dst []byte, lo, hi int) {
	pl := r.plan
	row := pl.cols * pl.p.In * r.bytes
	for y := range pl.inputRows(hi - lo) {
		pl.copyRow(dst[y*row:][:row], r.src, lo*pl.p.Stride[0]+y, r.bytes)
	}
}

// panels computes units [lo, hi) of some panels.
func (r *Runner) panels(w *workspace, first, last, lo, hi int) {
	pl := r.plan
	for _, x := range pl.packed.panels[first:last] {
		r.setPanel(&w.tile, x)
		s := sweep{r: r, w: w, panel: x}
		switch {
		case x.channels != nil:
			s.kernels, s.most = x.channels[:], len(x.channels)-1
		case pl.packed.columns():
			s.kernels, s.most = pl.kern.columns[pl.p.Stride[1]-1][:], columnPixels
		case pl.p.depthwise():
			s.kernels, s.most = pl.kern.depthwise[:], pl.kern.depthwisePixels
		case r.pairs():
			s.kernels, s.most = pl.kern.pairs[x.vectors][:], pl.kern.pairsPixels
		default:
			s.kernels, s.most = pl.kern.tile[x.vectors][:], pl.kern.tilePixels
		}
		if pl.flat {
			total := r.images * pl.h.Out * pl.w.Out
			n := r.cut.units
			from, to := lo*total/n, hi*total/n
			s.row(from, to-from, hi-lo)
		} else {
			s.rows(lo*r.cut.tall, min(hi*r.cut.tall, pl.h.Out))
		}
	}
}

// setTile sets what is the same for all tiles.
func (pl *Plan) setTile(t *tile, bytes int) {
	p := &pl.p
	t.kh, t.kw, t.groups = p.Kernel[0], pl.packed.taps/p.Kernel[0], pl.packed.groups
	if p.depthwise() {
		t.kw = p.Kernel[1]
	}
	t.inKH, t.inKW = p.Dilation[0]*pl.cols*p.In*bytes, p.Dilation[1]*p.In*bytes
	if p.adjacent() {
		t.inKW = 0 // parts of weights meet the same input
	}
	t.inPx, t.outPx = p.Stride[1]*p.In*bytes, p.Out
	t.inFar, t.outFar = 7*t.inPx, 7*t.outPx
	t.zero = p.Output.Zero
	t.lo, t.hi = float32(p.Lo-t.zero), float32(p.Hi-t.zero)
	shift := int32(0)
	if p.Output.Signed {
		shift, t.flip = 128, 0x80
	}
	t.zero16, t.lo8, t.hi8 = int16(t.zero+shift), uint8(p.Lo+shift), uint8(p.Hi+shift)
	r := p.Residual
	if r == nil {
		return
	}
	t.midLo, t.midHi, t.midScale = float32(r.MidLo-r.Mid.Zero), float32(r.MidHi-r.Mid.Zero), r.MidScale
	t.resZero, t.resScale = float32(r.Zero), r.Scale
	t.yScale, t.yInverse = r.OutScale, 1/r.OutScale
	t.signed = 0
	if r.Signed {
		t.signed = 1
	}
}

func (r *Runner) setPanel(t *tile, x panel) {
	lanes := x.vectors * r.plan.kern.lanes
	head := r.op.Packed[x.at:]
	t.bias, t.scale, t.weights = unsafe.Pointer(&head[0]), unsafe.Pointer(&head[4*lanes]), unsafe.Pointer(&head[8*lanes])
	t.mask = ^uint64(0) >> (64 - x.n)
}

// sweep computes tiles of a panel.
type sweep struct {
	r       *Runner
	w       *workspace
	kernels []kernel // by pixels
	panel   panel
	most    int // pixels of a tile
}

// row computes n pixels of one row, the first of which is number at, in so many
// tiles of about equal length.
func (s *sweep) row(at, n, tiles int) {
	for k := 0; k < tiles; {
		lo, hi := k*n/tiles, (k+1)*n/tiles
		same := 1 // tiles of the same length that follow
		for k+same < tiles && (k+same+1)*n/tiles-(k+same)*n/tiles == hi-lo {
			same++
		}
		if hi > lo {
			t := &s.w.tile
			t.inLine, t.outLine = (hi-lo)*t.inPx, (hi-lo)*t.outPx
			s.call(hi-lo, (at+lo)*t.inPx, (at+lo)*t.outPx, same)
		}
		k += same
	}
}

// rows computes rows [lo, hi): columns of tiles, one line for each row.
func (s *sweep) rows(lo, hi int) {
	pl, t := s.r.plan, &s.w.tile
	inRow, outRow := pl.p.Stride[0]*pl.cols*pl.p.In*s.r.bytes, pl.w.Out*pl.p.Out
	if s.r.cut.tall == 2 {
		t.inFar, t.outFar = inRow, outRow
		t.inLine, t.outLine = 2*inRow, 2*outRow
		if n := (hi - lo) / 2; n > 0 {
			s.call(14, (lo-s.w.row0)*inRow, lo*outRow, n)
		}
		if (hi-lo)%2 == 1 {
			s.call(7, (hi-1-s.w.row0)*inRow, (hi-1)*outRow, 1)
		}
		return
	}
	t.inLine, t.outLine = inRow, outRow
	tiles := (pl.w.Out + s.most - 1) / s.most
	for k := range tiles {
		from, to := k*pl.w.Out/tiles, (k+1)*pl.w.Out/tiles
		s.call(to-from, (lo-s.w.row0)*inRow+from*t.inPx, lo*outRow+from*t.outPx, hi-lo)
	}
}

// call computes n lines of mr pixels, whose input and output begin in and out
// bytes from the image's.
func (s *sweep) call(mr, in, out, n int) {
	t, pl := &s.w.tile, s.r.plan
	pixel := s.panel.group*s.w.span + out/pl.p.Out - s.w.pixel0
	linePixels := t.outLine / pl.p.Out
	t.sumLine = 0
	if s.w.taken != nil {
		t.sumLine = 4 * linePixels * s.w.perPixel
	}
	in, out = in+s.panel.in*s.r.bytes, out+s.panel.first
	if pl.flat {
		in -= s.w.pixel0 * t.inPx
	}
	partial := !pl.kern.masked && s.panel.n != s.panel.vectors*pl.kern.lanes
	for n > 0 {
		t.lines = min(n, s.r.cut.lines)
		if partial {
			t.lines = 1
		}
		t.in = unsafe.Pointer(&s.w.src[in])
		t.out, t.residual = unsafe.Pointer(&s.r.out[out]), nil
		if s.r.resid != nil {
			t.residual = unsafe.Pointer(&s.r.resid[out])
		}
		if s.w.taken != nil {
			t.sums = unsafe.Pointer(&s.w.taken[pixel*s.w.perPixel])
		}
		if partial {
			s.partial(mr, out)
		} else {
			s.kernels[mr](t.arg())
		}
		in, out, n = in+t.lines*t.inLine, out+t.lines*t.outLine, n-t.lines
		pixel += t.lines * linePixels
	}
}

// partial computes a tile of a panel with fewer channels than its vectors have,
// for kernels that store whole vectors.
func (s *sweep) partial(mr, out int) {
	t, w := &s.w.tile, s.w
	outPx, outFar := t.outPx, t.outFar
	if t.residual != nil {
		for i := range mr {
			copy(w.residual[i*16:][:s.panel.n], s.r.resid[out+i*outPx:])
		}
		t.residual = unsafe.Pointer(&w.residual)
	}
	t.out, t.outPx, t.outFar = unsafe.Pointer(&w.bytes), 16, 7*16
	s.kernels[mr](t.arg())
	t.outPx, t.outFar = outPx, outFar
	for i := range mr {
		copy(s.r.out[out+i*outPx:][:s.panel.n], w.bytes[i*16:])
	}
}
