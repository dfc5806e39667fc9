package paged

import (
	"slices"
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// A list has the addresses of blocks that are read, and of those that are fetched meanwhile,
// as they are read later. They are numbers, since the collector must not see pointers to
// memory that may be unmapped.
type list struct{ read, fetch []uintptr }

// from is the list of the blocks from number n on.
func (l list) from(n int) list { return list{l.read[n:], l.fetch[n:]} }

const (
	// fetchAhead is how many blocks are fetched before they are read.
	fetchAhead = 16
	// readAhead is how many blocks a kernel may read, or have fetched, beyond those that it
	// is given.
	readAhead = 8
	// strip is how many keys are taken of each head in turn, where there are several: so
	// memory is read about in order.
	strip = 32
)

// enlist lists what a unit reads, so many heads at once. Within a strip a head's blocks are
// read together, and all heads' are fetched as they lie in memory.
func (t *Task) enlist(w *workspace, u *unit, heads int) list {
	n := 2 * u.heads * tiling.Ceil(u.end-u.begin, BlockTokens)
	room := n + fetchAhead + readAhead
	w.reads = slices.Grow(w.reads[:0], room)[:room]
	size := uintptr(t.K.DType.Bytes(t.blockLen()))
	stride, to := uintptr(t.KVHeads)*size, w.reads
	step := strip
	if heads == 1 {
		step = TileTokens
	}
	t.strips(u, heads, step, func(c *Cache, head int, blocks []int32) {
		first := uintptr(unsafe.Pointer(unsafe.SliceData(c.Data))) + uintptr(head)*size
		for range heads {
			for i, b := range blocks {
				to[i] = first + uintptr(b)*stride
			}
			to, first = to[len(blocks):], first+size
		}
	})
	last := w.reads[n-1]
	for i := range to {
		to[i] = last
	}
	if heads == 1 {
		return list{w.reads, w.reads[fetchAhead:]}
	}
	ahead := fetchAhead + heads*strip/BlockTokens
	room = max(n, ahead) + ahead + readAhead
	w.fetches = slices.Grow(w.fetches[:0], room)[:room]
	to = w.fetches
	t.strips(u, heads, step, func(c *Cache, head int, blocks []int32) {
		first := uintptr(unsafe.Pointer(unsafe.SliceData(c.Data))) + uintptr(head)*size
		for _, b := range blocks {
			from := first + uintptr(b)*stride
			for h := range to[:heads] {
				to[h] = from
				from += size
			}
			to = to[heads:]
		}
	})
	for i := range to {
		to[i] = last
	}
	return list{w.reads, w.fetches[ahead:]}
}

// strips visits the blocks of so many keys that a unit reads after each other, in that
// order.
func (t *Task) strips(u *unit, heads, step int, visit func(c *Cache, head int, blocks []int32)) {
	for head := u.head; head < u.head+u.heads; head += heads {
		for tile := u.begin; tile < u.end; tile += TileTokens {
			end := min(tile+TileTokens, u.end)
			for _, c := range [...]*Cache{&t.K, &t.V} {
				for k := tile; k < end; k += step {
					visit(c, head, u.seq.Blocks[k/BlockTokens:tiling.Ceil(min(k+step, end), BlockTokens)])
				}
			}
		}
	}
}
