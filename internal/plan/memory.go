// Package plan places the intermediate buffers of a graph in one arena.
//
// Each buffer lives from the step that writes it to the last step that reads
// it. Two buffers may share bytes if their lives do not overlap. The least
// arena that any placement could reach is the largest sum of sizes that live at
// one step: Bound. Placement is greedy by size (Pisarchyk and Lee, "Efficient
// Memory Management for Deep Neural Net Inference", arXiv 2001.03288), then by
// other orders, and then by a search over orders; it ends where the bound is
// reached, and keeps the best result. The search is seeded and bounded by the
// work it does, so that a graph has the same plan on every machine.
package plan

import (
	"cmp"
	"slices"
	"sort"
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
	Total   int   // size of the arena
	Bound   int   // no placement can be smaller
	Order   []int // in which buffers were placed; nil where it is that of execution
}

// Place finds offsets for the buffers. The Order of a layout of the same graph
// for other sizes may be given as a hint, nil otherwise: mostly it is as good
// again, and the search is shorter.
func Place(bufs []Buffer, hint []int) Layout {
	sized := slices.Clone(bufs)
	for i := range sized {
		sized[i].Size = (sized[i].Size + Align - 1) &^ (Align - 1)
	}
	bound := Bound(sized)
	p, ok := newPlacer(sized, bound)
	if !ok {
		offsets, total := placeInOrder(sized)
		return Layout{offsets, total, bound, nil}
	}
	budget := maxWork
	if p.isOrder(hint) {
		p.try(hint)
		budget /= 16
	}
	for _, order := range orders {
		if p.best == bound {
			break
		}
		p.try(p.sorted(order))
	}
	p.search(budget)
	return Layout{p.bestOffsets, p.best, bound, p.bestOrder}
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

// Bound is the largest sum of live sizes over the steps.
func Bound(bufs []Buffer) int {
	type event struct{ step, delta int }
	events := make([]event, 0, 2*len(bufs))
	for _, b := range bufs {
		events = append(events, event{b.First, b.Size}, event{b.Last + 1, -b.Size})
	}
	sort.Slice(events, func(i, j int) bool {
		a, b := events[i], events[j]
		return cmp.Or(cmp.Compare(a.step, b.step), cmp.Compare(a.delta, b.delta)) < 0
	})
	live, most := 0, 0
	for _, e := range events {
		live += e.delta
		most = max(most, live)
	}
	return most
}
