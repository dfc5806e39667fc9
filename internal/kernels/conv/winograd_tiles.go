package conv

import "github.com/salver-ml/salver/internal/kernels/window"

// tileRow is what a chunk of a transform works on: one row of tiles of one
// image, or of one depth of a volume, for some channel blocks.
type tileRow struct {
	image, row  int // row of tiles in the image
	depth       int // of the band
	first       int // tile of the band
	block0      int
	blocks      int
	patch, tmp  []float32
	residualPad []float32
}

func (r *Runner) tileRow(i, slot, allBlocks int) tileRow {
	pl := r.plan
	per := blocks(allBlocks, blocksPerChunk)
	local, part := i/per%r.band.rows, i%per
	global := r.band.first + local
	p := r.patches[slot*patchFloats : (slot+1)*patchFloats]
	return tileRow{
		image: global / pl.winograd.high, row: global % pl.winograd.high, depth: i / per / r.band.rows, first: local * pl.winograd.wide,
		block0: part * blocksPerChunk, blocks: min(blocksPerChunk, allBlocks-part*blocksPerChunk),
		tmp: p[:36*maxBlock], patch: p[36*maxBlock : 72*maxBlock], residualPad: p[72*maxBlock:],
	}
}

func bytesAt(s []float32, i int) *byte { return (*byte)(window.At(s, i*4)) }

// transformInputs transforms a row of tiles.
func (r *Runner) transformInputs(i int) {
	pl := r.plan
	t := r.tileRow(i, i, pl.inBlocks)
	h, w, b := pl.grid.H, pl.grid.W, pl.block
	for k := t.block0; k < t.block0+t.blocks; k++ {
		plane := r.op.In[(t.image*pl.inBlocks+k)*h.In*w.In*b:][:h.In*w.In*b]
		r.transformInput(&t, k, plane, h.First(t.row*winogradTile), h.In)
	}
}

// transformInput transforms a row of tiles of a block, from row y of a plane so high on: those inside the plane in one
// call, those at the edge through a patch with zeros around.
func (r *Runner) transformInput(t *tileRow, block int, plane []float32, y, high int) {
	pl := r.plan
	w, b := pl.grid.W, pl.block
	lo, hi := wholeTiles(w.First(0), w.In, 6, pl.winograd.wide)
	if y < 0 || y+6 > high {
		lo, hi = 0, 0
	}
	if lo < hi {
		dst, stride := r.transformed(block, t.first+lo)
		pl.set.winogradInput(bytesAt(r.op.Scratch, dst), bytesAt(plane, (y*w.In+w.First(lo*winogradTile))*b), bytesAt(t.tmp, 0), stride*4, w.In*b*4, hi-lo)
	}
	for x := range pl.winograd.wide {
		if x >= lo && x < hi {
			continue
		}
		gatherPatch(t.patch, plane, y, w.First(x*winogradTile), high, w.In, b)
		dst, stride := r.transformed(block, t.first+x)
		pl.set.winogradInput(bytesAt(r.op.Scratch, dst), bytesAt(t.patch, 0), bytesAt(t.tmp, 0), stride*4, 6*b*4, 1)
	}
}

// wholeTiles gives the tiles [lo,hi) of a row of n whose size inputs, or
// outputs, from first on are all within [0,in).
func wholeTiles(first, in, size, n int) (lo, hi int) {
	for lo < n && first+lo*winogradTile < 0 {
		lo++
	}
	hi = lo
	for hi < n && first+hi*winogradTile+size <= in {
		hi++
	}
	return lo, hi
}

// gatherPatch copies the 6×6 inputs at y, x, with zeros outside.
func gatherPatch(patch, plane []float32, y, x, high, wide, b int) {
	x0, x1 := max(x, 0), min(x+6, wide)
	if x0 > x || x1 < x+6 || y < 0 || y+6 > high {
		clear(patch[:36*b])
	}
	if x0 >= x1 {
		return
	}
	for i := max(-y, 0); i < min(6, high-y); i++ {
		copy(patch[(6*i+x0-x)*b:], plane[((y+i)*wide+x0)*b:((y+i)*wide+x1)*b])
	}
}

// transformOutputs finishes a row of tiles.
func (r *Runner) transformOutputs(i int) {
	pl := r.plan
	t := r.tileRow(i, i, pl.outBlocks)
	high, wide, b := pl.grid.H.Out, pl.grid.W.Out, pl.block
	y := t.row * winogradTile
	rows := min(winogradTile, high-y)
	for k := t.block0; k < t.block0+t.blocks; k++ {
		begin := ((t.image*pl.outBlocks+k)*high + y) * wide * b
		var residual []float32
		if pl.p.Residual {
			residual = r.op.Residual[begin:]
		}
		r.transformOutput(&t, k, k, r.op.Out[begin:], residual, rows)
		if pl.p.Act.after() {
			pl.set.activate(pl.p.Act.Kind, pl.p.Act.Alpha, r.op.Out[begin:][:rows*wide*b])
		}
	}
}

// transformOutput transforms a row of tiles of the band's block from into rows of outputs of one block: whole ones in one call, those that
// reach beyond the output through a patch.
func (r *Runner) transformOutput(t *tileRow, from, block int, out, residual []float32, rows int) {
	pl := r.plan
	wide, b := pl.grid.W.Out, pl.block
	whole := wide / winogradTile
	if rows < winogradTile {
		whole = 0
	}
	lo, hi, on := pl.p.Act.clamp()
	clamp := 0
	if on && (residual != nil || !pl.p.Residual) {
		clamp = 1
	}
	bias := bytesAt(r.op.Weights, block*b)
	if whole > 0 {
		var add *byte
		if residual != nil {
			add = bytesAt(residual, 0)
		}
		src, stride := r.products(from, t.first)
		pl.set.winogradOutput(bytesAt(out, 0), add, bytesAt(r.op.Scratch, src), bias, bytesAt(t.tmp, 0), stride*4, wide*b*4, whole, lo, hi, clamp)
	}
	for x := whole; x < pl.winograd.wide; x++ {
		at, cols := x*winogradTile*b, min(winogradTile, wide-x*winogradTile)
		var add *byte
		if residual != nil {
			copyTile(t.residualPad, residual[at:], rows, cols*b, winogradTile*b, wide*b)
			add = bytesAt(t.residualPad, 0)
		}
		src, stride := r.products(from, t.first+x)
		pl.set.winogradOutput(bytesAt(t.patch, 0), add, bytesAt(r.op.Scratch, src), bias, bytesAt(t.tmp, 0), stride*4, winogradTile*b*4, 1, lo, hi, clamp)
		copyTile(out[at:], t.patch, rows, cols*b, wide*b, winogradTile*b)
	}
}

// copyTile copies rows of n floats between buffers with different row strides.
func copyTile(dst, src []float32, rows, n, dstRow, srcRow int) {
	for i := range rows {
		copy(dst[i*dstRow:][:n], src[i*srcRow:][:n])
	}
}
