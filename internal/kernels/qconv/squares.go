package qconv

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/pool"
)

// Winograd's F(4×4, 3×3) computes 4×4 outputs from 6×6 inputs with 36 products instead of 144
// (Lavin and Gray, arXiv 1509.09308), here in integers: the weights' transform is multiplied by
// 24 in both directions, so that it has no fractions, and the result, 576 times the sum, is
// divided exactly. The input's numbers less 128 become at most 100·128 in magnitude, weights
// 49·128: words, which VPMADDWD multiplies. Sums are exact modulo 2³². 576 is 9·64; 9 has an
// inverse there, and 64 is taken by a shift where 64 times the sum is below 2³¹: where the
// magnitudes of a channel's weights add up to less than 2¹⁸. Packing looks at these.
//
// On one core with AVX2 that takes a third of the direct sum's time for 64→64 channels at 56².
// A point's weights are words, so that all of them are eight times the bytes of the kernel.

const (
	squareSide    = 4  // of an output tile
	squarePoints  = 36 // products of one
	squareColumns = 16 // output channels of a panel
	squareCell    = 4 * squareColumns
	squareCells   = 24 * squareCell // bytes of a tile between the transforms of its columns and rows
	squareLeast   = 1 << 18         // what the weights' magnitudes stay below
	squareBlock   = 64              // tiles that are computed together, if a row has no more
)

// squareTile is the argument of a product: lines of so many tiles' numbers at a point, times a
// panel's weights there. The assembly knows the offsets.
type squareTile struct {
	a, b, c unsafe.Pointer
	steps   int // of two channels
	aRow    int // bytes from a tile's numbers to the next
	lines   int
}

// squareKernels transform and multiply; product[n] takes n tiles a line, at most so many,
// output[n] makes n pixels a row.
type squareKernels struct {
	channels int     // of a vector of the input's transform
	direct   float64 // cycles for nine products of 32 pairs of channels otherwise
	most     int
	input    func(dst, src, tmp *byte, point, px, row, vectors int)
	product  [maxPixels + 1]kernel
	columns  func(dst, src *byte, point int)
	output   [squareSide + 1]kernel
}

// squares is how a plan computes by tiles of 4×4 outputs.
type squares struct {
	*squareKernels
	high, wide int // tiles of an image
	rows       int // of tiles that are computed together
	in         int // channels
}

// newSquares gives nil where the layer can't be computed so, or where that doesn't pay:
// where the products, with what transforms cost beside them, or the weights, which come from
// memory, take longer.
func newSquares(p Params, kern *kernels, h, w int) *squares {
	if kern.squares == nil || p.Groups != 1 || p.Parts != 1 || p.In%kern.squares.channels != 0 || p.Out%squareColumns != 0 {
		return nil
	}
	for i := range 2 {
		if p.Kernel[i] != 3 || p.Stride[i] != 1 || p.Dilation[i] != 1 {
			return nil
		}
	}
	s := &squares{squareKernels: kern.squares, high: (h + squareSide - 1) / squareSide, wide: (w + squareSide - 1) / squareSide, in: p.In}
	// Cycles for 32 products of a pair of channels.
	tiles := float64(s.high) * float64(s.wide)
	if s.direct*float64(h)*float64(w) < tiles*(40+172/float64(p.Out)+400/float64(p.In))+384 {
		return nil
	}
	s.rows = min(s.high, max(1, squareBlock/s.wide))
	return s
}

// pointBytes is what a point's numbers of the tiles of a block take, with a line more, so that
// points don't meet in the sets of a cache.
func (s *squares) pointBytes() int { return align(2*s.in*s.rows*s.wide) + 64 }

// panelBytes is a panel: starts and scales as others have them, then for each point and two
// channels words of each column.
func (s *squares) panelBytes() int { return 8*squareColumns + squarePoints*s.in/2*squareCell }

// sumBytes is what the products of a panel with so many tiles take at each point.
func sumBytes(tiles int) int { return tiles*squareCell + 64 }

// squareChunks is how many chunks threads get at most.
func squareChunks(threads int) int {
	if threads == 1 {
		return 1
	}
	return DefaultChunks * threads
}

func (s *squares) chunkBytes() int { return squareCells + squarePoints*sumBytes(s.rows*s.wide) }

// scratch is the working memory beside the copy of an image.
func (s *squares) scratch(threads int) int {
	return squarePoints*s.pointBytes() + squareChunks(threads)*s.chunkBytes()
}

// squareWeights is the transform of three weights, times 24.
func squareWeights(a, b, c int) [6]int {
	return [6]int{a, -a - b - c, b - a - c, a + 2*b + 4*c, a - 2*b + 4*c, c}
}

// pack fills dst, unless sums could be too large.
func (s *squares) pack(dst []byte, w Weights, out int, zero int32) bool {
	for o := range out {
		sum := 0
		for _, v := range w.Data[9*s.in*o:][:9*s.in] {
			sum += max(int(v), -int(v))
		}
		if sum >= squareLeast {
			return false
		}
	}
	dst[0] = packedSquares
	for first := 0; first < out; first += squareColumns {
		s.packPanel(dst[headerBytes+first/squareColumns*s.panelBytes():], w, first, zero)
	}
	return true
}

// packPanel writes the output channels from the first on.
func (s *squares) packPanel(head []byte, w Weights, first int, zero int32) {
	bias, scale := view[int32](unsafe.Pointer(&head[0]), squareColumns), view[float32](unsafe.Pointer(&head[squareCell]), squareColumns)
	for j := range squareColumns {
		scale[j] = w.Scale[(first+j)%len(w.Scale)]
		if w.Bias != nil {
			bias[j] = w.Bias[first+j]
		}
	}
	var cells [squarePoints][2 * squareColumns]int16 // of two channels
	at := 2 * squareCell
	for c := 0; c < s.in; c += 2 {
		for j := range 2 * squareColumns {
			g := (*[9]int8)(w.Data[9*(s.in*(first+j/2)+c+j%2):])
			var rows [3][6]int
			for i := range rows {
				a, b, c := int(g[3*i]), int(g[3*i+1]), int(g[3*i+2])
				bias[j/2] -= (zero - 128) * int32(a+b+c)
				rows[i] = squareWeights(a, b, c)
			}
			for x := range 6 {
				for y, v := range squareWeights(rows[0][x], rows[1][x], rows[2][x]) {
					cells[6*y+x][j] = int16(v)
				}
			}
		}
		for p := range cells {
			copy(view[[2 * squareColumns]int16](unsafe.Pointer(&head[at+p*s.in/2*squareCell]), 1), cells[p:p+1])
		}
		at += squareCell
	}
}

// squareBand is the rows of tiles in progress, and how threads divide them.
type squareBand struct {
	first, rows   int
	copies        int // chunks of rows
	panels, parts int // chunks of panels, and of each one's tiles
}

// bySquares says whether tiles of 4×4 outputs are computed: what the packed weights begin with
// says whether their sums fit.
func (r *Runner) bySquares() bool { return r.op.Packed[0] == packedSquares }

// squares computes an image.
func (r *Runner) squares(p *pool.Pool) {
	s := r.plan.squares
	blocks := (s.high + s.rows - 1) / s.rows
	chunks := squareChunks(p.Threads())
	r.need(chunks)
	for i := range blocks {
		first := i * s.high / blocks
		b := squareBand{first: first, rows: (i+1)*s.high/blocks - first}
		b.copies = min(chunks, b.rows)
		b.panels = min(chunks, r.plan.p.Out/squareColumns)
		b.parts = min(chunks/b.panels, b.rows*s.wide)
		r.band = b
		p.RunFromEnds(b.copies, (*squareInputTask)(r))
		p.RunFromEnds(b.panels*b.parts, (*squareTask)(r))
	}
}

// squareInputTask is a Runner that transforms the input of some rows of tiles.
type squareInputTask Runner

// Do transforms chunk i.
func (c *squareInputTask) Do(i int) {
	r := (*Runner)(c)
	pl, s := r.plan, r.plan.squares
	px := 2 * pl.p.In
	row := pl.cols * px
	lo, hi := i*r.band.rows/r.band.copies, (i+1)*r.band.rows/r.band.copies
	points := r.op.Scratch[pl.copyBytes(2):]
	tmp := &points[squarePoints*s.pointBytes()+i*s.chunkBytes()]
	for y := lo; y < hi; y++ {
		for x := range s.wide {
			src := squareSide * ((r.band.first+y)*row + x*px)
			s.input(&points[(y*s.wide+x)*px], &r.src[src], tmp, s.pointBytes(), px, row, pl.p.In/s.channels)
		}
	}
}

// squareTask is a Runner that multiplies the points of some tiles by some panels' weights.
type squareTask Runner

// Do computes chunk i.
func (c *squareTask) Do(i int) {
	r := (*Runner)(c)
	pl, s, b := r.plan, r.plan.squares, &r.band
	points := r.op.Scratch[pl.copyBytes(2):]
	work := points[squarePoints*s.pointBytes()+i*s.chunkBytes():][:s.chunkBytes()]
	panels, tiles := pl.p.Out/squareColumns, b.rows*s.wide
	part := i % b.parts
	lo, hi := part*tiles/b.parts, (part+1)*tiles/b.parts
	cells, sums := work[:squareCells], work[squareCells:]
	w := &r.work[i]
	pl.setTile(&w.tile, r.bytes)
	for panel := i / b.parts * panels / b.panels; panel < (i/b.parts+1)*panels/b.panels; panel++ {
		head := r.op.Packed[headerBytes+panel*s.panelBytes():][:s.panelBytes()]
		for p := range squarePoints {
			s.multiply(&w.square, points[p*s.pointBytes()+lo*2*s.in:], head[2*squareCell+p*s.in/2*squareCell:], sums[p*sumBytes(hi-lo):], hi-lo)
		}
		t := &w.tile
		t.bias, t.scale, t.in = unsafe.Pointer(&head[0]), unsafe.Pointer(&head[squareCell]), unsafe.Pointer(&cells[0])
		t.inLine, t.outLine, t.mask = 6*squareCell, pl.w.Out*pl.p.Out, 1<<squareColumns-1
		for tile := lo; tile < hi; tile++ {
			s.columns(&cells[0], &sums[(tile-lo)*squareCell], sumBytes(hi-lo))
			y, x := squareSide*(b.first+tile/s.wide), squareSide*(tile%s.wide)
			out := (y*pl.w.Out+x)*pl.p.Out + panel*squareColumns
			t.lines, t.out = min(squareSide, pl.h.Out-y), unsafe.Pointer(&r.out[out])
			if r.resid != nil {
				t.residual = unsafe.Pointer(&r.resid[out])
			}
			s.output[min(squareSide, pl.w.Out-x)](t.arg())
		}
	}
}

// multiply computes n tiles' sums at a point, in lines of about equal length.
func (s *squares) multiply(t *squareTile, a, b, c []byte, n int) {
	most := s.most
	lines := (n + most - 1) / most
	t.b, t.steps, t.aRow = unsafe.Pointer(&b[0]), s.in/2, 2*s.in
	long := n % lines // lines with a tile more
	at := 0
	for i, count := range [2]int{long, lines - long} {
		if count == 0 {
			continue
		}
		each := n/lines + 1 - i
		t.a, t.c, t.lines = unsafe.Pointer(&a[at*t.aRow]), unsafe.Pointer(&c[at*squareCell]), count
		s.product[each]((*byte)(unsafe.Pointer(t)))
		at += count * each
	}
}
