package blockq

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/pool"
)

// inputRows are an X quantized for the kernels of one level.
type inputRows struct {
	kern  *kernels
	m, k  int
	pairs bool // numbers are bfloat16
	last  int  // size of the last tile
	data  []byte

	x      []float32 // while it is quantized
	stride int
	chunks int
	args   []quantizeSpace // of each chunk

	rounding []promptSpace // likewise
}

// quantizeSpace is not on the stack since kernels are called through variables.
type quantizeSpace struct {
	quantizeArgs
	_ [128]byte // no false sharing with the next
}

// A tile of R rows, of G groups each, is
//
//	q  G·R·32 bytes    shift, s, c  4·G·R bytes each    s, c of halves  8·G·R bytes each
//
// where q has twice as many bytes if it is of pairs: each four numbers as bfloat16, in
// the order 0, 2, 1, 3. The shifts are powers of two then, as float32. Behind the tiles
// are the scales of all rows.
func rowGroupBytes(pairs bool) int { return qBytes(pairs) + 3*4 + 2*8 }

// qBytes is what the numbers of a group of a row take.
func qBytes(pairs bool) int {
	if pairs {
		return 2 * groupSize
	}
	return groupSize
}

// pairsOf reports whether m rows are bfloat16 for weights of a layout.
func (kern *kernels) pairsOf(l *layout, m int) bool { return kern.tiled(m) && l.tileKind().pairs() }

// tiled reports whether m rows are for tileKernels.
func (kern *kernels) tiled(m int) bool {
	return kern.tiles != nil && m > kern.mostAlone()
}

// mostAlone is the size of the largest tile that is the only one.
func (kern *kernels) mostAlone() int { return kern.alone[len(kern.alone)-1] }

// rowsSize is the number of bytes that m rows of k elements need, with room for alignment.
func rowsSize(kern *kernels, m, k int, pairs bool) int {
	return kern.rowsWithTiles(m)*(k/groupSize*rowGroupBytes(pairs)+4) + vector
}

// rowsWithTiles is m, and what fills up the last tile.
func (kern *kernels) rowsWithTiles(m int) int {
	full := m / kern.mr
	return full*kern.mr + kern.tileSize(m, full)
}

// scale is where a row's scale is.
func (r *inputRows) scale(row int) unsafe.Pointer {
	at := r.kern.rowsWithTiles(r.m) * (r.k / groupSize) * rowGroupBytes(r.pairs)
	return unsafe.Pointer(&r.data[at+4*row])
}

// tileSize is the size of tile i of m rows: at least those that it has.
func (kern *kernels) tileSize(m, i int) int {
	rows := min(kern.mr, m-i*kern.mr)
	if rows == 0 {
		return 0
	}
	for _, size := range kern.alone {
		if m <= size {
			return size
		}
	}
	for _, size := range kern.sizes {
		if rows <= size {
			return size
		}
	}
	return kern.mr
}

// quantize makes r the m rows of k elements of x, at the given distance, in dst,
// which is retained and has rowsSize bytes, for weights of a layout.
func (r *inputRows) quantize(dst []byte, l *layout, x []float32, m, k, stride int, p *pool.Pool) {
	kern := currentFor(l)
	pairs := kern.pairsOf(l, m)
	r.kern, r.m, r.k, r.pairs, r.data = kern, m, k, pairs, aligned(dst)
	r.last = kern.tileSize(m, tiling.Ceil(m, kern.mr)-1)
	var last rowTile
	if r.tile((m-1)/kern.mr, &last); last.rows < last.size {
		clear(r.data[(m-1)/kern.mr*kern.mr*(k/groupSize)*rowGroupBytes(pairs):]) // rows that only fill up
	}
	r.x, r.stride = x, stride
	const work = 1 << 14 // elements that are worth a chunk
	r.chunks = max(1, min(r.units(), m*k/work, 4*p.Threads()))
	if len(r.args) < r.chunks {
		r.args = make([]quantizeSpace, r.chunks)
	}
	p.Run(r.chunks, (*quantizeTask)(r))
	r.x = nil
}

// aligned skips to the start of a cache line.
func aligned(b []byte) []byte {
	return b[int(-uintptr(unsafe.Pointer(unsafe.SliceData(b)))&(vector-1)):]
}

type quantizeTask inputRows

// wholeTiles says that rows are quantized a tile at a time where there is a whole one.
func (r *inputRows) wholeTiles() bool { return r.kern.tiled(r.m) && r.m >= r.kern.mr }

// atOnce is how many rows are quantized at once, where there are so many.
func (r *inputRows) atOnce() int {
	switch {
	case r.wholeTiles(), r.kern.quantizeAlone[0] != nil && !r.kern.tiled(r.m):
		return r.kern.mr
	case r.kern.quantizeFour != nil && !r.pairs:
		return 4
	}
	return 1
}

// units is how many parts the rows can be cut into.
func (r *inputRows) units() int { return tiling.Ceil(r.m, r.atOnce()) }

// Do quantizes chunk i of the rows.
func (t *quantizeTask) Do(i int) {
	r := (*inputRows)(t)
	a := &r.args[i].quantizeArgs
	n := r.atOnce()
	from, to := n*(r.units()*i/r.chunks), min(n*(r.units()*(i+1)/r.chunks), r.m)
	for row := from; row < to; {
		r.place(a, row)
		kern, rows := r.quantizer(row, to-row)
		kern(a.arg())
		row += rows
	}
	*a = quantizeArgs{}
}

// quantizer is the kernel for a row and some of those that follow in its tile, of which
// there are some left to do.
func (r *inputRows) quantizer(row, left int) (kern kernel, rows int) {
	kerns, size := r.kern, r.last
	if row/kerns.mr < (r.m-1)/kerns.mr {
		size = kerns.mr
	}
	if row%kerns.mr == 0 && left >= size {
		switch {
		case r.wholeTiles() && size == kerns.mr && r.pairs:
			return kerns.tiles.quantizePairs, size
		case r.wholeTiles() && size == kerns.mr:
			return kerns.tiles.quantizeRows, size
		case !r.pairs && size <= 8 && kerns.quantizeAlone[log2(size)] != nil && r.k/groupSize%(8/size) == 0:
			return kerns.quantizeAlone[log2(size)], size
		}
	}
	switch {
	case r.pairs:
		return kerns.tiles.quantizePair, 1
	case kerns.quantizeFour != nil && left >= 4:
		return kerns.quantizeFour, 4
	}
	return kerns.quantize, 1
}

// place points the arguments at a row of X and of its tile.
func (r *inputRows) place(a *quantizeArgs, row int) {
	var t rowTile
	i := row % r.kern.mr
	r.tile(row/r.kern.mr, &t)
	*a = quantizeArgs{
		x: unsafe.Pointer(&r.x[row*r.stride]),
		q: unsafe.Add(t.q, qBytes(r.pairs)*i), shift: unsafe.Add(t.shift, 4*i), s: unsafe.Add(t.s, 4*i), c: unsafe.Add(t.c, 4*i),
		sHalf: unsafe.Add(t.sHalf, 4*i), cHalf: unsafe.Add(t.cHalf, 4*i),
		groups: r.k / groupSize, rows: t.size, ldx: 4 * r.stride, scale: r.scale(row),
	}
}

// rowTile is where a tile's parts are.
type rowTile struct {
	q, shift, s, c, sHalf, cHalf unsafe.Pointer
	rows, size                   int // those that exist, and of the tile
}

// tile says where tile i is. Its caller has it in memory, since a copy of what was just
// written would wait until results before it are in the cache.
func (r *inputRows) tile(i int, t *rowTile) {
	groups, first := r.k/groupSize, i*r.kern.mr
	t.rows, t.size = r.m-first, r.last
	if t.rows > r.kern.mr {
		t.rows, t.size = r.kern.mr, r.kern.mr
	}
	each := groups * t.size // numbers of a kind
	t.q = unsafe.Pointer(&r.data[first*groups*rowGroupBytes(r.pairs)])
	t.shift = unsafe.Add(t.q, each*qBytes(r.pairs))
	t.s, t.c = unsafe.Add(t.shift, 4*each), unsafe.Add(t.shift, 8*each)
	t.sHalf, t.cHalf = unsafe.Add(t.shift, 12*each), unsafe.Add(t.shift, 20*each)
}
