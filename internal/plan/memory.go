// Package plan places the intermediate buffers of a graph in one arena.
//
// Each buffer lives from the step that writes it to the last step that reads
// it. Two buffers may share bytes if their lives do not overlap. The least
// arena that any placement could reach is the largest sum of sizes that live at
// one step: Bound. Placement is greedy by size (Pisarchyk and Lee, "Efficient
// Memory Management for Deep Neural Net Inference", arXiv 2001.03288), and by
// other orders where that misses the bound; the best result is kept.
package plan

import (
	"cmp"
	"slices"
)

// Align is the alignment of every buffer in the arena, in bytes.
const Align = 64

// Buffer is one buffer to place. Steps First to Last use it, both included.
type Buffer struct {
	Size        int
	First, Last int
}

// Layout is a placement.
type Layout struct {
	Offsets []int
	Total   int // size of the arena
	Bound   int // no placement can be smaller
}

// Place finds offsets for the buffers.
func Place(bufs []Buffer) Layout {
	sized := slices.Clone(bufs)
	for i := range sized {
		sized[i].Size = (sized[i].Size + Align - 1) &^ (Align - 1)
	}
	best := Layout{Bound: bound(sized), Total: -1}
	for _, order := range orders {
		offsets, total := place(sized, order)
		if best.Total < 0 || total < best.Total {
			best.Offsets, best.Total = offsets, total
		}
		if best.Total == best.Bound {
			break
		}
	}
	return best
}

// orders are the sequences in which buffers are placed, each tried in turn.
var orders = []func(a, b Buffer) int{
	func(a, b Buffer) int { // greedy by size
		return cmp.Or(cmp.Compare(b.Size, a.Size), cmp.Compare(b.Last-b.First, a.Last-a.First), cmp.Compare(a.First, b.First))
	},
	func(a, b Buffer) int { // long lives first
		return cmp.Or(cmp.Compare(b.Last-b.First, a.Last-a.First), cmp.Compare(b.Size, a.Size), cmp.Compare(a.First, b.First))
	},
	func(a, b Buffer) int { // area
		return cmp.Or(cmp.Compare(b.Size*(b.Last-b.First+1), a.Size*(a.Last-a.First+1)), cmp.Compare(a.First, b.First))
	},
	func(a, b Buffer) int { // in order of execution
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(b.Size, a.Size))
	},
}

// bound is the largest sum of live sizes over the steps.
func bound(bufs []Buffer) int {
	type event struct{ step, delta int }
	events := make([]event, 0, 2*len(bufs))
	for _, b := range bufs {
		events = append(events, event{b.First, b.Size}, event{b.Last + 1, -b.Size})
	}
	slices.SortFunc(events, func(a, b event) int { return cmp.Or(cmp.Compare(a.step, b.step), cmp.Compare(a.delta, b.delta)) })
	live, most := 0, 0
	for _, e := range events {
		live += e.delta
		most = max(most, live)
	}
	return most
}

// place puts each buffer, in the given order, into the smallest gap that fits
// among the buffers that live at the same time.
func place(bufs []Buffer, order func(a, b Buffer) int) (offsets []int, total int) {
	ids := make([]int, len(bufs))
	for i := range ids {
		ids[i] = i
	}
	slices.SortStableFunc(ids, func(a, b int) int { return order(bufs[a], bufs[b]) })
	offsets = make([]int, len(bufs))
	var placed []int // by offset
	for _, id := range ids {
		b := bufs[id]
		if b.Size == 0 {
			continue
		}
		offsets[id] = bestGap(bufs, offsets, placed, b)
		total = max(total, offsets[id]+b.Size)
		at, _ := slices.BinarySearchFunc(placed, offsets[id], func(p, off int) int { return cmp.Compare(offsets[p], off) })
		placed = slices.Insert(placed, at, id)
	}
	return offsets, total
}

func bestGap(bufs []Buffer, offsets, placed []int, b Buffer) int {
	best, bestSize := -1, 0
	end := 0 // of the bytes in use so far
	for _, p := range placed {
		q := bufs[p]
		if q.Last < b.First || q.First > b.Last {
			continue
		}
		if gap := offsets[p] - end; gap >= b.Size && (best < 0 || gap < bestSize) {
			best, bestSize = end, gap
		}
		end = max(end, offsets[p]+q.Size)
	}
	if best >= 0 {
		return best
	}
	return end
}
