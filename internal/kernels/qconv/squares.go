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
// On one core that takes 0.31 of the direct sum's time for 64→64 channels at 56², 0.30 for
// 128→128 at 28² and 0.37 for 256→256 at 14² with AVX2, and 0.69 and 0.60 for the first two with
// VNNI, which multiplies twice as many bytes as words. Weights become eight times their bytes.

const (
	squareSide    = 4  // of an output tile
	squarePoints  = 36 // products of one
	squareColumns = 16 // output channels of a panel
	squareCell    = 4 * squareColumns
	squareCells   = 24 * squareCell // bytes of a tile between the transforms of its columns and rows
	squareLeast   = 1 << 18         // what the weights' magnitudes stay below
	squareBlock   = 64              // the most tiles that are computed together
	squareOwn     = 24              // tiles of a thread from which on threads divide them
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
	in, out    int // channels
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
	s := &squares{squareKernels: kern.squares, high: (h + squareSide - 1) / squareSide, wide: (w + squareSide - 1) / squareSide, in: p.In, out: p.Out}
	// In cycles for 32 pairs of channels; weights are read from memory once.
	tiles := float64(s.high) * float64(s.wide)
	if s.direct*float64(h)*float64(w) < tiles*(40+172/float64(p.Out)+400/float64(p.In))+384 {
		return nil
	}
	return s
}

// pointBytes is what a point's numbers of so many tiles take, with a line more, so that
// points don't meet in the sets of a cache.
func (s *squares) pointBytes(tiles int) int { return align(2*s.in*tiles) + 64 }

// panelBytes is a panel: starts and scales as others have them, then for each point and two
// channels words of each column.
func (s *squares) panelBytes() int { return 8*squareColumns + squarePoints*s.in/2*squareCell }

// sumBytes is what the products of a panel with so many tiles take at each point.
func sumBytes(tiles int) int { return tiles*squareCell + 64 }

// squareCut says how an image is divided. Either each chunk transforms its own tiles and
// multiplies them by all weights, or, of few tiles, all are transformed first and chunks
// multiply them by some panels' weights, or parts of them where there are fewer panels than
// threads.
type squareCut struct {
	own    bool
	chunks int // of tiles, or of panels times parts
	parts  int // of tiles, unless chunks have their own
	slots  int // chunks at a time, each with working memory
	most   int // tiles whose points are together
	sums   int // tiles whose sums are
}

func (s *squares) cut(threads int) squareCut {
	tiles := s.high * s.wide
	if threads > 1 && tiles < squareOwn*threads {
		c := squareCut{chunks: min(DefaultChunks*threads, s.out/squareColumns), most: tiles}
		c.parts = min(tiles, (threads+c.chunks-1)/c.chunks)
		c.chunks *= c.parts
		c.slots, c.sums = c.chunks, min(squareBlock, (tiles+c.parts-1)/c.parts)
		return c
	}
	c := squareCut{own: true, slots: 1}
	n := (tiles + squareBlock - 1) / squareBlock
	c.chunks = (n + threads - 1) / threads * threads
	if threads > 1 {
		c.slots = min(c.chunks, DefaultChunks*threads)
	}
	c.most = (tiles + c.chunks - 1) / c.chunks
	c.sums = c.most
	return c
}

// slotBytes is a chunk's working memory beside points: the sums, and what lies between the
// two transforms of one tile.
func (c squareCut) slotBytes() int { return squareCells + squarePoints*sumBytes(c.sums) }

// pointSets is how many chunks at a time have points of their own.
func (c squareCut) pointSets() int {
	if c.own {
		return c.slots
	}
	return 1
}

// scratch is the working memory beside the copy of an image.
func (s *squares) scratch(threads int) int {
	c := s.cut(threads)
	return c.pointSets()*squarePoints*s.pointBytes(c.most) + c.slots*c.slotBytes()
}

// squareWeights is the transform of three weights, times 24.
func squareWeights(a, b, c int) [6]int {
	return [6]int{a, -a - b - c, b - a - c, a + 2*b + 4*c, a - 2*b + 4*c, c}
}

// pack fills dst, unless sums could be too large.
func (s *squares) pack(dst []byte, w Weights, zero int32) bool {
	for o := range s.out {
		sum := 0
		for _, v := range w.Data[9*s.in*o:][:9*s.in] {
			sum += max(int(v), -int(v))
		}
		if sum >= squareLeast {
			return false
		}
	}
	dst[0] = packedSquares
	for first := 0; first < s.out; first += squareColumns {
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

// bySquares says whether tiles of 4×4 outputs are computed: what the packed weights begin with
// says whether their sums fit.
func (r *Runner) bySquares() bool { return r.op.Packed[0] == packedSquares }

// squares computes an image.
func (r *Runner) squares(p *pool.Pool) {
	c := r.plan.squares.cut(p.Threads())
	r.squareCut, r.squareFirst = c, 0
	r.need(c.slots)
	if !c.own {
		p.RunFromEnds(min(c.slots, c.most), (*squareInputTask)(r))
		p.RunFromEnds(c.chunks, (*squareTask)(r))
		return
	}
	for ; r.squareFirst < c.chunks; r.squareFirst += c.slots {
		p.RunFromEnds(min(c.slots, c.chunks-r.squareFirst), (*squareTask)(r))
	}
}

// slot gives the points that chunk i at a time has to do with, and its working memory.
func (r *Runner) slot(i int) (points, work []byte) {
	pl, c := r.plan, r.squareCut
	rest := r.op.Scratch[pl.copyBytes(2):]
	set := squarePoints * pl.squares.pointBytes(c.most)
	work = rest[c.pointSets()*set+i*c.slotBytes():][:c.slotBytes()]
	return rest[i%c.pointSets()*set:][:set], work
}

// squareInputTask is a Runner that transforms the input of some tiles.
type squareInputTask Runner

// Do transforms chunk i.
func (t *squareInputTask) Do(i int) {
	r := (*Runner)(t)
	n, chunks := r.squareCut.most, min(r.squareCut.slots, r.squareCut.most)
	points, work := r.slot(i)
	lo, hi := i*n/chunks, (i+1)*n/chunks
	r.squareInput(points[lo*2*r.plan.p.In:], work, lo, hi)
}

// squareInput transforms tiles [lo, hi).
func (r *Runner) squareInput(points, tmp []byte, lo, hi int) {
	pl, s := r.plan, r.plan.squares
	px := 2 * pl.p.In
	row := pl.cols * px
	for tile := lo; tile < hi; tile++ {
		src := squareSide * (tile/s.wide*row + tile%s.wide*px)
		s.input(&points[(tile-lo)*px], &r.src[src], &tmp[0], s.pointBytes(r.squareCut.most), px, row, pl.p.In/s.channels)
	}
}

// squareTask is a Runner that multiplies the points of some tiles by some panels' weights.
type squareTask Runner

// Do computes chunk i.
func (t *squareTask) Do(i int) {
	r := (*Runner)(t)
	pl, s, c := r.plan, r.plan.squares, r.squareCut
	points, work := r.slot(i)
	w := &r.work[i]
	pl.setTile(&w.tile, r.bytes)
	tiles, panels := s.high*s.wide, pl.p.Out/squareColumns
	if !c.own {
		part := i % c.parts
		lo, hi := part*tiles/c.parts, (part+1)*tiles/c.parts
		i, n := i/c.parts, c.chunks/c.parts
		for blocks := (hi - lo + c.sums - 1) / c.sums; blocks > 0; blocks-- {
			end := lo + (hi-lo+blocks-1)/blocks
			r.squareSums(w, points[lo*2*pl.p.In:], work, lo, end, i*panels/n, (i+1)*panels/n)
			lo = end
		}
		return
	}
	i += r.squareFirst
	lo, hi := i*tiles/c.chunks, (i+1)*tiles/c.chunks
	r.squareInput(points, work, lo, hi)
	r.squareSums(w, points, work, lo, hi, 0, panels)
}

// squareSums computes tiles [lo, hi), of which points are, of some panels.
func (r *Runner) squareSums(w *workspace, points, work []byte, lo, hi, first, last int) {
	pl, s := r.plan, r.plan.squares
	cells, sums := work[:squareCells], work[squareCells:]
	point := s.pointBytes(r.squareCut.most)
	t := &w.tile
	for panel := first; panel < last; panel++ {
		head := r.op.Packed[headerBytes+panel*s.panelBytes():][:s.panelBytes()]
		for p := range squarePoints {
			s.multiply(&w.square, points[p*point:], head[2*squareCell+p*s.in/2*squareCell:], sums[p*sumBytes(hi-lo):], hi-lo)
		}
		t.bias, t.scale, t.in = unsafe.Pointer(&head[0]), unsafe.Pointer(&head[squareCell]), unsafe.Pointer(&cells[0])
		t.inLine, t.outLine, t.mask = 6*squareCell, pl.w.Out*pl.p.Out, 1<<squareColumns-1
		for tile := lo; tile < hi; tile++ {
			s.columns(&cells[0], &sums[(tile-lo)*squareCell], sumBytes(hi-lo))
			y, x := squareSide*(tile/s.wide), squareSide*(tile%s.wide)
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
