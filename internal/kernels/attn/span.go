package attn

import "github.com/salver-ml/salver/internal/kernels/reduce"

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
		lo, hi = t.unmasked(r, key, lo, hi)
	}
	switch {
	case lo >= hi:
		return 0, 0
	case t.BF16: // whose panels are read as they were packed
		return 0, n
	}
	return lo &^ (lanes - 1), min((hi+lanes-1)&^(lanes-1), n)
}

// unmasked narrows a span to what the mask shows to any query of a row tile.
func (t *Task) unmasked(r rowTile, key, from, to int) (lo, hi int) {
	m := &t.Mask
	at := t.offset(r.item, m.Steps) + r.row*m.Row + key
	rows := r.end - r.row
	if m.Row == 0 {
		rows = 1
	}
	from &^= lanes - 1
	lo, hi = to, from
	for i := range rows {
		row := m.Data[at+i*m.Row:][:to]
		for j := (to - 1) &^ (lanes - 1); j >= hi; j -= lanes {
			if t.shows(row[j:min(j+lanes, to)]) {
				hi = min(j+lanes, to)
				break
			}
		}
		for j := from; j < lo; j += lanes {
			if t.shows(row[j:min(j+lanes, to)]) {
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
