package attn

import (
	"sync/atomic"

	"github.com/salver-ml/salver/internal/kernels/reduce"
)

// Keys that no query of a row tile sees are passed over. Their weights would be zeros,
// so that leaving them out changes no bit, provided that the keys that are seen keep
// their places among the lanes of sums and packed panels.

// lanes is the number of keys to which parts of a tile are rounded: the lanes of the
// sum of a tile's exponentials, and a multiple of the widths of panels.
const lanes = 32

// A mask of hidden or less counts as hiding its key: no score comes near it. What it
// hides weighs nothing beside a score above seen.
const (
	hidden = -1e30
	seen   = -1e29
)

// trims reports whether the mask may hide keys from whole row tiles.
func (t *Problem) trims() bool { return t.Mask.Data != nil && t.Mask.Col == 1 && t.Softcap == 0 }

// span gives the keys lo to hi, counted from the tile's first, outside of which no query
// of a row tile sees any of the tile's n keys; with all set, whatever the mask says.
func (t *Task) span(r rowTile, key, n int, all bool) (lo, hi int) {
	lo, hi = 0, n
	if t.Keys.Limited {
		first, _ := t.visible(r.item, r.row)
		_, last := t.visible(r.item, r.end-1)
		lo, hi = max(first-key, 0), min(last-key, n)
	}
	if t.trims() && !all {
		from, to := t.shown(r, key, n)
		lo, hi = max(lo, from), min(hi, to)
	}
	switch {
	case lo >= hi:
		return 0, 0
	case t.BF16: // whose panels are read as they were packed
		return 0, n
	}
	return lo &^ (lanes - 1), min((hi+lanes-1)&^(lanes-1), n)
}

// spans remembers what a mask shows to row tiles, for the heads that share it: scanning
// it for each would cost a third of the time.
type spans struct {
	known  []atomic.Uint32 // 0: not yet; else 1 + lo + hi<<16, per mask, row tile and tile of keys
	tiles  int             // row tiles
	blocks int             // tiles of keys
}

// maxSpans bounds what is remembered.
const maxSpans = 1 << 18

// reset forgets everything, and makes room for a task's masks if any two items share one.
func (s *spans) reset(t *Task) {
	s.tiles, s.blocks = t.plan.tiles, (t.N+TileKeys-1)/TileKeys
	masks := t.masks()
	need := masks * s.tiles * s.blocks
	if !t.trims() || masks == t.items() || need > maxSpans {
		need = 0
	}
	if cap(s.known) < need {
		s.known = make([]atomic.Uint32, need)
	}
	s.known = s.known[:need]
	for i := range s.known {
		s.known[i].Store(0)
	}
}

// masks is the number of different masks of the batch.
func (t *Problem) masks() int {
	n := 1
	for i, step := range t.Mask.Steps {
		if step != 0 {
			n *= t.Batch[i]
		}
	}
	return n
}

// maskOf is the number of an item's mask.
func (t *Problem) maskOf(item int) int {
	at, size := 0, 1
	for i := len(t.Mask.Steps) - 1; i >= 0; i-- {
		if t.Mask.Steps[i] != 0 {
			at += item % t.Batch[i] * size
			size *= t.Batch[i]
		}
		item /= t.Batch[i]
	}
	return at
}

// shown gives the keys of a tile outside of which the mask hides all from a row tile.
func (t *Task) shown(r rowTile, key, n int) (lo, hi int) {
	s := &t.spans
	if len(s.known) == 0 {
		return t.scan(r, key, n)
	}
	at := &s.known[(t.maskOf(r.item)*s.tiles+r.tile)*s.blocks+key/TileKeys]
	if v := at.Load(); v != 0 {
		v--
		return int(v & (1<<16 - 1)), int(v >> 16)
	}
	lo, hi = t.scan(r, key, n)
	at.Store(1 + uint32(lo) + uint32(hi)<<16)
	return lo, hi
}

// scan reads the mask.
func (t *Task) scan(r rowTile, key, n int) (lo, hi int) {
	m := &t.Mask
	at := t.offset(r.item, m.Steps) + r.row*m.Row + key
	rows := r.end - r.row
	if m.Row == 0 {
		rows = 1
	}
	lo = n
	for i := range rows {
		row := m.Data[at+i*m.Row:][:n]
		for j := (n - 1) &^ (lanes - 1); j >= hi; j -= lanes {
			if t.shows(row[j:min(j+lanes, n)]) {
				hi = min(j+lanes, n)
				break
			}
		}
		for j := 0; j < lo; j += lanes {
			if t.shows(row[j:min(j+lanes, n)]) {
				lo = j
				break
			}
		}
	}
	return lo, hi
}

// shows reports whether a mask hides not all of some keys.
func (t *Problem) shows(mask []float32) bool {
	bound := float32(hidden)
	if t.HasFill {
		bound = negInf // which Fill stands for
	}
	return !(reduce.MaxRow(mask) <= bound) // NaN shows
}

// settled reports whether what the mask hid from a row tile has no weight beside what
// each of its queries saw.
func (t *Task) settled(w *workspace, r rowTile) bool {
	bound := float32(seen)
	if t.HasFill {
		bound = t.Fill + 200 // e^-200 is zero
	}
	for _, m := range w.largest[r.state:][:r.end-r.row] {
		if !(m > bound) {
			return false
		}
	}
	return true
}
