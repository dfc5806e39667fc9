package bconv

import (
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// A cut says how a run is divided. None of it shows in the result.
type cut struct {
	images, threads int

	band    band // of most rows
	bands   int  // of an image
	shared  bool // an image is rounded by all threads and then computed by all
	group   int  // panels of a call
	tall    int  // row tiles of a call
	slots   int
	rounds  int  // shared: chunks of the rounding
	rows    int  // shared: parts of the tiles
	cols    int  // shared: parts of the panels
	byTiles bool // a tile meets all panels before the next tile does

	sumsOff, slotBytes, bytes int // of scratch
}

const (
	bandBytes  = 640 << 10 // of rounded input: with weights and outputs it stays in the second-level cache
	fewWeights = 256 << 10 // bytes that stay there too
	callSteps  = 128       // about how many steps a call should have
	maxSums    = 8         // panels times row tiles of a call: their sums stay near the first-level cache
	aheadSums  = 4         // the same where outputs are fetched into it
	chunkWork  = 1 << 22   // multiply-adds for which a chunk of its own pays
	roundWork  = 1 << 15   // numbers for which one of the rounding does
)

// newCut divides a run of so many images.
func (pl *Plan) newCut(images, threads int) cut {
	c := cut{images: images, threads: threads}
	rows := pl.bandRows()
	if threads > 1 { // enough bands for all threads, if bands are worth it
		most := max(1, pl.work*images/chunkWork)
		want := min(4*threads, most)
		if tiling.Ceil(pl.H.Out, rows)*images < want && pl.H.Out/max(1, tiling.Ceil(want, images)) >= 8 {
			rows = tiling.Ceil(pl.H.Out, tiling.Ceil(want, images))
		}
	}
	c.bands = tiling.Ceil(pl.H.Out, rows)
	c.shared = threads > 1 && c.bands*images < 2*threads && pl.work > chunkWork
	if c.shared {
		c.bands, rows = 1, pl.H.Out
	}
	c.band = pl.newBand(tiling.Ceil(pl.H.Out, c.bands))
	sums := maxSums
	if pl.fetches {
		sums = aheadSums
	}
	most := min(max(1, callSteps/pl.steps), sums)
	c.group = min(most, pl.panels)
	c.tall = max(1, most/c.group)
	c.byTiles = pl.panels*pl.panelBytes() <= fewWeights
	c.slots = min(threads, tiling.MaxSlots)
	if c.shared {
		c.share(pl)
	}
	c.place(pl)
	return c
}

// bandRows is how many rows of outputs have about bandBytes of input.
func (pl *Plan) bandRows() int {
	one, two := pl.newBand(1), pl.newBand(2)
	perRow := max(two.bytes-one.bytes, 1)
	return min(pl.H.Out, max(1, 1+(bandBytes-one.bytes)/perRow))
}

// share cuts an image for all threads.
func (c *cut) share(pl *Plan) {
	c.rounds = max(1, min(4*c.threads, pl.units(&c.band), c.band.bytes/2/roundWork))
	chunks := max(1, min(4*c.threads, pl.work/chunkWork))
	tiles := c.band.tiles
	if c.byTiles || c.band.bytes > pl.panels*pl.panelBytes() {
		c.rows = min(chunks, tiles)
		c.cols = min(tiling.Ceil(chunks, c.rows), pl.panels)
		return
	}
	c.cols = min(chunks, pl.panels)
	c.rows = min(tiling.Ceil(chunks, c.cols), tiles)
}

// place divides the scratch memory: rounded input, and sums of panels, of each
// slot, or of one image for all slots.
func (c *cut) place(pl *Plan) {
	input := tiling.Align(c.band.bytes, lineBytes)
	sums := c.group * c.tall * panelSums
	if c.shared {
		c.sumsOff, c.slotBytes = input, sums
		c.bytes = input + c.slots*sums + lineBytes
		return
	}
	c.sumsOff, c.slotBytes = input, input+sums
	c.bytes = c.slots*c.slotBytes + lineBytes
}

// chunks is the number of chunks of a run, or of an image that is shared.
func (c *cut) chunks() int {
	if c.shared {
		return c.rows * c.cols
	}
	return c.images * c.bands
}

// area is what a chunk computes of a band.
type area struct{ tile, tileEnd, panel, panelEnd int }

// whole is all of a band of so many rows.
func (pl *Plan) whole(b *band) area { return area{0, b.tiles, 0, pl.panels} }

// part is the area of chunk i of a shared image.
func (c *cut) part(pl *Plan, i int) area {
	tiles := c.band.tiles
	r, p := i/c.cols, i%c.cols
	return area{r * tiles / c.rows, (r + 1) * tiles / c.rows, p * pl.panels / c.cols, (p + 1) * pl.panels / c.cols}
}
