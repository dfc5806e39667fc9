package attn

import (
	"unsafe"
)

// A settling is what divides the sums of weighted values by the sums of weights.
type settling struct {
	o           []float32 // the former, ldo elements from row to row
	ldo         int
	l           []float32 // the latter, streamLanes of each row
	sums        []float32 // room for one of each row
	failed      []float32 // set to 1 for rows whose sum does not count
	least, most float32   // that counts
}

// settle writes what a row tile has seen to O, and notes rows whose sum does not count.
func (t *Task) settle(w *workspace, r rowTile, s *settling) (missed bool) {
	rows := r.end - r.row
	w.settle = settleArgs{
		o: unsafe.Pointer(&s.o[0]), l: unsafe.Pointer(&s.l[0]), dst: unsafe.Pointer(&t.O.Data[r.out]), sums: unsafe.Pointer(&s.sums[0]),
		ldo: 4 * s.ldo, ldd: 4 * t.O.Stride, rows: rows, n: t.DV,
	}
	current().settle(&w.settle)
	w.settle = settleArgs{} // memory that may be unmapped must not stay referenced
	for i, sum := range s.sums[:rows] {
		if !(sum >= s.least && sum <= s.most) {
			s.failed[i] = 1
			missed = true
		}
	}
	return missed
}

// again computes the rows that failed relative to their largest scores.
func (t *Task) again(w *workspace, unit, first, end int, failed []float32) {
	f := failures{unit: unit, first: first, end: end, failed: failed}
	trimmed := t.trims() && !t.BF16
	t.relative(w, f, !trimmed)
	left := false
	for g := f.begin(); g.next(t); {
		if trimmed && !t.settled(w, g.r) {
			left = true
			continue
		}
		t.finish(w, g.r)
		clear(failed[g.r.state:][:g.r.end-g.r.row])
	}
	if left {
		t.relative(w, f, true)
		for g := f.begin(); g.next(t); {
			t.finish(w, g.r)
		}
	}
}

// relative lets rows see the keys, those that the mask hides too if all is set.
func (t *Task) relative(w *workspace, f failures, all bool) {
	for g := f.begin(); g.next(t); {
		t.begin(w, g.r)
	}
	for key := 0; key < t.N; key += TileKeys {
		n := min(TileKeys, t.N-key)
		packed := false
		for g := f.begin(); g.next(t); {
			lo, hi := t.span(g.r, key, n, all)
			if lo >= hi {
				continue
			}
			if !packed {
				t.pack(w, g.r.item, key, n)
				packed = true
			}
			if t.BF16 {
				t.halfTile(w, g.r, part{key, n, lo, hi})
			} else {
				t.tile(w, g.r, part{key, n, lo, hi})
			}
		}
	}
}

// failures walks the rows of row tiles for which failed is not zero, as many of a tile at
// once as follow each other.
type failures struct {
	unit, first, end int
	failed           []float32
	at, lo           int // row tile, and the row of it
	r                rowTile
}

func (f failures) begin() failures {
	f.at, f.lo = f.first, 0
	return f
}

// next sets r, and reports whether there were more.
func (f *failures) next(t *Task) bool {
	for ; f.at < f.end; f.at, f.lo = f.at+1, 0 {
		tile := t.rowTile(f.unit, f.at, f.first)
		failed := f.failed[tile.state:][:tile.end-tile.row]
		for f.lo < len(failed) && failed[f.lo] == 0 {
			f.lo++
		}
		if f.lo == len(failed) {
			continue
		}
		lo := f.lo
		for f.lo < len(failed) && failed[f.lo] != 0 {
			f.lo++
		}
		f.r = tile
		f.r.row, f.r.end, f.r.state, f.r.out = tile.row+lo, tile.row+f.lo, tile.state+lo, tile.out+lo*t.O.Stride
		return true
	}
	return false
}
