package bconv

import (
	"math"

	"github.com/salver-ml/salver/internal/kernels/mma"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// A cut says how a run is divided. None of it shows in the result.
type cut struct {
	images, threads int

	band     band // of most rows
	bands    int  // of an image
	shared   bool // an image is rounded by all threads and then computed by all
	group    int  // panels of a call
	tall     int  // row tiles of a call
	slots    int
	rounds   int  // shared: chunks of the rounding
	rows     int  // shared: parts of the tiles
	cols     int  // shared: parts of the panels
	byPanels bool // shared: a thread's chunks are of the same panels, rather than of the same tiles
	byTiles  bool // a tile meets all panels before the next tile does

	sumsOff, slotBytes, bytes int // of scratch
}

const (
	bandBytes  = 640 << 10    // of rounded input: with weights and outputs it stays in the second-level cache
	fewWeights = 256 << 10    // bytes that stay there too
	onceSteps  = 256          // about how many steps a call should have that also brings sums to their pixels
	callSteps  = 128          // and one that doesn't
	maxSums    = 8            // panels times row tiles of a call: their sums stay near the first-level cache
	aheadSums  = 4            // the same where outputs are fetched into it
	tileRows   = mma.Rows / 2 // of a single tile
	chunkCost  = 1 << 21      // for which a chunk of its own pays: 3 µs or so
	roundWork  = 1 << 15      // numbers for which one of the rounding does
)

// newCut divides a run of so many images.
func (pl *Plan) newCut(images, threads int) cut {
	c := cut{images: images, threads: threads}
	c.bands = tiling.Ceil(pl.H.Out, pl.bandRows())
	if threads > 1 {
		c.divide(pl)
	}
	c.band = pl.newBand(tiling.Ceil(pl.H.Out, c.bands))
	c.byTiles = pl.panels*pl.panelBytes() <= fewWeights
	c.calls(pl)
	c.slots = min(threads, tiling.MaxSlots)
	if c.shared {
		c.share(pl)
	}
	c.place(pl)
	return c
}

// calls says how much a call computes. Panels of a call have the same input.
func (c *cut) calls(pl *Plan) {
	c.band.tabulate(pl)
	panels := pl.panels
	if pl.span < pl.pairs {
		panels = 1
	}
	if pl.atOnce() {
		most := max(1, onceSteps/pl.steps)
		if c.byTiles {
			c.group = min(most, panels)
			c.tall = max(1, most/c.group)
		} else {
			c.tall = min(most, c.band.tiles)
			c.group = min(max(1, most/c.tall), panels)
		}
		return
	}
	sums := maxSums
	if pl.fetches {
		sums = aheadSums
	}
	most := min(max(1, callSteps/pl.steps), sums)
	c.group = min(most, panels)
	c.tall = max(1, most/c.group)
}

// bandRows is how many rows of outputs have about bandBytes of input.
func (pl *Plan) bandRows() int {
	one, two := pl.newBand(1), pl.newBand(2)
	perRow := max(two.bytes-one.bytes, 1)
	return min(pl.H.Out, max(1, 1+(bandBytes-one.bytes)/perRow))
}

// chunksThatPay is the number of chunks for which images have enough work, at most four
// a thread.
func (c *cut) chunksThatPay(cost int) int { return max(1, min(4*c.threads, cost/chunkCost)) }

// divide cuts images into bands for all threads, or has these share each image: where
// its weights are more than what all read and write otherwise, or bands would not give
// threads equally much.
func (c *cut) divide(pl *Plan) {
	least := 1 // rows of a band: what its kernels reach over is rounded twice
	if pl.H.Kernel > 1 {
		least = 8
	}
	chunks := c.chunksThatPay(pl.cost * c.images)
	best, all := math.MaxInt, tiling.Ceil(pl.H.Out*pl.W.Out, tileRows)*c.images
	fewest := c.bands
	for n := fewest; n == fewest || n*c.images <= chunks && pl.H.Out/n >= least; n++ {
		rows := tiling.Ceil(pl.H.Out, n)
		bands := tiling.Ceil(pl.H.Out, rows)
		load := tiling.Ceil(bands*c.images, c.threads) * tiling.Ceil(rows*pl.W.Out, tileRows)
		if load <= best {
			best, c.bands = load, bands
		}
	}
	heavy := pl.panels*pl.panelBytes() > pl.InSize(1)+pl.OutSize(1)
	uneven := best*c.threads*8 > all*10
	c.shared = c.images < c.threads && c.chunksThatPay(pl.cost) >= c.threads && (heavy || uneven)
	if c.shared {
		c.bands = 1
	}
}

// share cuts an image for all threads, into chunks of equal size.
func (c *cut) share(pl *Plan) {
	c.rounds = max(1, min(4*c.threads, pl.units(&c.band), c.band.bytes/2/roundWork))
	chunks := c.chunksThatPay(pl.cost)
	tiles, panels := c.band.tiles, pl.panels
	c.byPanels = c.band.bytes < panels*pl.panelBytes()
	best := math.MaxInt
	for n := 1; n <= chunks; n++ { // parts along the dimension of which each is read by few
		for m := 1; m <= chunks/n; m++ {
			rows, cols := min(n, tiles), min(m, panels)
			if c.byPanels {
				rows, cols = min(m, tiles), min(n, panels)
			}
			load := tiling.Ceil(rows*cols, c.threads) * tiling.Ceil(tiles, rows) * tiling.Ceil(panels, cols)
			if load < best || load == best && m == 1 {
				best, c.rows, c.cols = load, rows, cols
			}
		}
	}
}

// place divides the scratch memory: rounded input, and sums of panels, of each
// slot, or of one image for all slots.
func (c *cut) place(pl *Plan) {
	input := tiling.Align(c.band.bytes, lineBytes)
	sums := c.group * c.tall * panelSums
	if pl.atOnce() {
		sums = mma.StripSums
	}
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
	if c.byPanels {
		r, p = i%c.rows, i/c.rows
	}
	return area{r * tiles / c.rows, (r + 1) * tiles / c.rows, p * pl.panels / c.cols, (p + 1) * pl.panels / c.cols}
}
