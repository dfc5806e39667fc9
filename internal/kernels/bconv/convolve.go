package bconv

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/mma"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// atOnce reports whether one kernel multiplies and brings sums to their pixels: where
// the activation is no function that sums must wait for.
func (pl *Plan) atOnce() bool { return pl.After == nil && pl.steps <= mma.MaxSteps }

// tabulate finds row tiles of equal height, the last of which begins where it ends with
// the run, and the pieces of them that are outputs. Those without any are left out.
func (b *band) tabulate(pl *Plan) {
	if !pl.atOnce() {
		return
	}
	ph, pw := &pl.Places[0], &pl.Places[1]
	b.height = tiling.Ceil(b.run, tiling.Ceil(b.run, mma.Rows))
	for row := 0; row < b.run; row += b.height {
		start, end := min(row, b.run-b.height), min(row+b.height, b.run)
		tile := mma.ConvTile{A: start * b.rowStep, Pieces: len(b.pieces) * mma.PieceBytes}
		for at := row; at < end; {
			y, x := at/b.width, at%b.width
			n := min(end-at, b.width-x)
			if outputs := min(n, b.outputs-x); outputs > 0 {
				place := (y*ph.Step*pw.Size + x*pw.Step) * Block
				b.pieces = append(b.pieces, mma.Piece{Skip: (at - start) * 4 * mma.Cols, Rows: outputs, C: place * pl.outSize, R: place * pl.residualSize})
				tile.Count++
			}
			at += n
		}
		if tile.Count > 0 {
			b.table = append(b.table, tile)
		}
	}
	b.tiles = len(b.table)
}

// convolve computes an area of a band whose first row of outputs is row.
func (r *Runner) convolve(w *workspace, b *band, image, row int, a area) {
	pl, x := r.plan, &w.conv
	pw := &pl.Places[1]
	plane := pl.Places[0].Size * pw.Size
	*x = mma.Conv{LDA: b.rowStep, Offsets: unsafe.Pointer(&b.offsets[0]), Steps: pl.steps, Pieces: &b.pieces[0],
		Sums: unsafe.Pointer(&w.sums[0]), Lo: pl.Lo, Hi: pl.Hi, Silu: pl.Silu, Ahead: pl.fetches,
		BF16: pl.OutBF16, ResidualBF16: pl.ResidualBF16, ResidualLast: pl.ResidualLast}
	x.Configure(pl.configs, b.height)
	x.LDC, x.HalfC, x.PanelC = pw.Step*Block*pl.outSize, plane*Block*pl.outSize, 2*plane*Block*pl.outSize
	x.LDR, x.HalfR, x.PanelR = pw.Step*Block*pl.residualSize, plane*Block*pl.residualSize, 2*plane*Block*pl.residualSize
	place := (image*pl.outBlocks*plane + r.pixel(row, 0)) * Block
	call := func(t, tiles, p, panels int) {
		x.A = unsafe.Pointer(&w.input[pl.input(b, p)])
		at := place + 2*p*plane*Block
		x.Dst = unsafe.Pointer(&r.op.Out[at*pl.outSize])
		if pl.Residual {
			x.Residual = unsafe.Pointer(&r.op.Residual[at*pl.residualSize])
		}
		x.Bias, x.B = unsafe.Pointer(&r.op.Packed[p*4*mma.Cols]), unsafe.Pointer(&r.op.Packed[pl.biasBytes()+p*pl.panelBytes()])
		x.Narrow = 0
		if p+panels == pl.panels {
			x.Narrow = pl.outBlocks % 2
		}
		x.Tiles, x.Count, x.Panels = &b.table[t], tiles, panels
		pl.kern.Conv(x)
	}
	c := &r.cut
	if c.byTiles {
		for t := a.tile; t < a.tileEnd; t += c.tall {
			for p := a.panel; p < a.panelEnd; p += c.group {
				call(t, min(c.tall, a.tileEnd-t), p, min(c.group, a.panelEnd-p))
			}
		}
		return
	}
	for p := a.panel; p < a.panelEnd; p += c.group {
		end := min(p+c.group, a.panelEnd)
		next := r.panels(end, min(end+c.group, a.panelEnd))
		for t := a.tile; t < a.tileEnd; t += c.tall {
			x.Count, x.Panels = min(c.tall, a.tileEnd-t), end-p
			next = x.Fetch(next)
			call(t, x.Count, p, end-p)
		}
	}
}
