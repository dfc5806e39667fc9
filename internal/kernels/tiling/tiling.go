// Package tiling cuts batches of matrix products into chunks for the threads of
// a pool. Cuts are along rows and columns only, never along K.
package tiling

// A Shape is a batch of products in units of kernel tiles.
type Shape struct {
	Items   int // products
	M, N, K int
	MR, NR  int // rows and columns of a kernel tile
	// ChunkWork is the number of multiply-adds that a chunk should have at least:
	// some microseconds' worth.
	ChunkWork int
	// CopiesB says that each chunk copies its part of B first.
	CopiesB bool
	Along   Along
	// StripWork is the number of multiply-adds that a strip of a taper should have at least;
	// 0: none are tapered.
	StripWork int
}

// Along is the cuts that are allowed.
type Along uint8

const (
	Both Along = iota
	ByRows
	ByColumns
)

// Switch is a decision that may be left open.
type Switch uint8

const (
	Open Switch = iota
	On
	Off
)

// Or gives the decision, or otherwise where it is open.
func (s Switch) Or(otherwise bool) bool { return s == On || s == Open && otherwise }

// Tiles is the number of row tiles of a product.
func (s *Shape) Tiles() int { return Ceil(s.M, s.MR) }

// Panels is the number of panels of NR columns.
func (s *Shape) Panels() int { return Ceil(s.N, s.NR) }

// A Grid says what each chunk computes. With groups a chunk is some whole
// products; otherwise each product is cut in rows × cols.
type Grid struct {
	items, tiles, panels int
	groups, rows, cols   int
	tall, wide           taper // of the row tiles, and of the panels, which may have more rounds
}

// perThread lets threads that are late be helped.
const perThread = 4

// Split chooses a grid for a number of threads.
func Split(s Shape, threads int) Grid {
	g := Grid{items: s.Items, tiles: s.Tiles(), panels: s.Panels(), rows: 1, cols: 1}
	if s.Items == 0 {
		return g
	}
	chunks := 1
	if threads > 1 {
		// With few rows the time is that of reading B; columns are computed in whole panels;
		// with few k it is that of storing C.
		const leastRows, leastDepth = 8, 16
		work := float64(s.Items) * float64(max(s.M, leastRows)) * float64(s.Panels()*s.NR) * float64(max(s.K, leastDepth))
		chunks = max(1, int(min(float64(perThread*threads), work/float64(s.ChunkWork))))
	}
	if s.Items >= chunks {
		g.groups = chunks
		return g
	}
	g.cut(&s, chunks, threads)
	g.taper(&s, threads)
	return g
}

// taper makes more of the cuts if there is one chunk for each thread. Those of B's columns
// stay where there are cuts of rows too.
func (g *Grid) taper(s *Shape, threads int) {
	g.tall, g.wide = taper{g.rows, 0, 1}, taper{g.cols, 0, 1}
	switch byRows, ok := s.tapers(g.rows, g.cols, threads); {
	case ok && byRows:
		g.tall = newTaper(g.tiles, g.rows, Ceil(s.StripWork*g.cols, s.MR*s.N*max(s.K, 1)))
	case ok:
		g.wide = newTaper(g.panels, g.cols, Ceil(s.StripWork, s.M*s.NR*max(s.K, 1)))
	}
	g.rows, g.cols = g.tall.strips(), g.wide.strips()
}

// tapers reports whether a cut is made a taper, and of what.
func (s *Shape) tapers(r, c, threads int) (byRows, ok bool) {
	ok = s.StripWork > 0 && s.Items == 1 && r*c == threads
	return r > 1, ok && (r == 1 || !s.CopiesB)
}

// cut chooses rows and cols so that the threads finish together, and among such
// cuts the one that reads A and B the fewest times.
func (g *Grid) cut(s *Shape, chunks, threads int) {
	best := 0.0
	for want := 1; want <= Ceil(chunks, s.Items); want++ {
		for c := 1; c <= min(want, g.panels); c++ {
			r := min(want/c, g.tiles)
			if s.Along == ByRows && c > 1 || s.Along == ByColumns && r > 1 {
				continue
			}
			if cost := s.cost(r, c, threads); best == 0 || cost < best {
				best, g.rows, g.cols = cost, r, c
			}
		}
	}
}

// Costs in multiply-adds, as measured for float32 on AVX-512.
const (
	perRead  = 4     // an element of A or B that a chunk reads
	perCopy  = 16    // an element of B that it copies
	perChunk = 40000 // taking it on
	perWait  = 0.03  // of all, for threads of different speed
)

// cost estimates the time that a cut takes.
func (s *Shape) cost(r, c, threads int) float64 {
	rounds := Ceil(r*c*s.Items, threads)
	rows := float64(min(s.M, Ceil(s.Tiles(), r)*s.MR))
	cols := float64(Ceil(s.Panels(), c) * s.NR)
	k := float64(s.K)
	cost := rows*cols*k + (rows+cols)*k*perRead + perChunk
	if s.CopiesB {
		cost += cols * k * perCopy
	}
	cost *= float64(rounds)
	if s.StripWork == 0 {
		return cost
	}
	idle := cost * perWait
	if byRows, ok := s.tapers(r, c, threads); ok && byRows {
		idle = min(idle, float64(s.MR)*cols*k/2)
	} else if ok {
		idle = min(idle, rows*float64(s.NR)*k/2)
	}
	return cost + idle
}

// Chunks is the number of chunks.
func (g *Grid) Chunks() int {
	if g.groups > 0 {
		return g.groups
	}
	return g.items * g.rows * g.cols
}

// MostTiles is the most row tiles of a product that a chunk has.
func (g *Grid) MostTiles() int {
	if g.tall.rounds < 2 {
		return Ceil(g.tiles, g.rows)
	}
	return Ceil(g.tiles, 2*(g.tall.first+g.tall.last)) + 1
}

// A Part is what a chunk computes: the same row tiles and panels of each of
// some batch items.
type Part struct {
	Item, ItemEnd   int
	Tile, TileEnd   int
	Panel, PanelEnd int
}

// Part is the work of chunk i.
func (g *Grid) Part(i int) Part {
	if g.groups > 0 {
		return Part{
			Item: i * g.items / g.groups, ItemEnd: (i + 1) * g.items / g.groups,
			TileEnd: g.tiles, PanelEnd: g.panels,
		}
	}
	item, r, c := i/(g.rows*g.cols), i/g.cols%g.rows, i%g.cols
	return Part{
		Item: item, ItemEnd: item + 1,
		Tile: g.tall.begin(r, g.tiles), TileEnd: g.tall.begin(r+1, g.tiles),
		Panel: g.wide.begin(c, g.panels), PanelEnd: g.wide.begin(c+1, g.panels),
	}
}

// Rows is the first row of tile i of a product with m rows in so many tiles,
// and of the next. Tiles are of even height: 128 rows are 8 tiles of 13 and 2
// of 12, not 9 of 14 and one of 2.
func Rows(i, m, tiles int) (row, end int) { return i * m / tiles, (i + 1) * m / tiles }

// Ceil is a/b rounded up.
func Ceil(a, b int) int { return (a + b - 1) / b }

// Align rounds n up to a multiple of unit.
func Align(n, unit int) int { return Ceil(n, unit) * unit }
