package plan

import (
	"cmp"
	"slices"
)

// placer places buffers in one order after another and keeps the best result.
type placer struct {
	bufs        []Buffer
	bound       int
	ids         []int   // of the buffers that have a size
	rivals      [][]int // by buffer: those that live at one of its steps too
	offsets     []int   // of the order in progress; -1 where not placed yet
	taken       []span  // scratch
	work        int     // rivals looked at so far
	best        int     // arena of the best order so far, -1 before the first
	bestOffsets []int
	bestOrder   []int
}

// span is a range of bytes of the arena.
type span struct{ from, to int }

// maxRivals bounds the pairs of buffers that live at the same time: beyond it
// (thousands of buffers that all live at once) only one pass is affordable.
const maxRivals = 1 << 23

// newPlacer finds which buffers live at the same time; ok is false where these
// are too many.
func newPlacer(bufs []Buffer, bound int) (p *placer, ok bool) {
	p = &placer{bufs: bufs, bound: bound, rivals: make([][]int, len(bufs)), offsets: make([]int, len(bufs)), best: -1, bestOffsets: make([]int, len(bufs))}
	for id, b := range bufs {
		if b.Size > 0 {
			p.ids = append(p.ids, id)
		}
	}
	byFirst := slices.Clone(p.ids)
	slices.SortStableFunc(byFirst, func(a, b int) int { return cmp.Compare(bufs[a].First, bufs[b].First) })
	var live []int
	pairs := 0
	for _, id := range byFirst {
		live = slices.DeleteFunc(live, func(l int) bool { return bufs[l].Last < bufs[id].First })
		if pairs += len(live); pairs > maxRivals {
			return nil, false
		}
		for _, l := range live {
			p.rivals[id] = append(p.rivals[id], l)
			p.rivals[l] = append(p.rivals[l], id)
		}
		live = append(live, id)
	}
	return p, true
}

// sorted gives the buffers in an order.
func (p *placer) sorted(order func(a, b Buffer) int) []int {
	ids := slices.Clone(p.ids)
	slices.SortStableFunc(ids, func(a, b int) int { return order(p.bufs[a], p.bufs[b]) })
	return ids
}

// isOrder reports whether a hint names every buffer that has a size once.
func (p *placer) isOrder(hint []int) bool {
	if len(hint) != len(p.ids) {
		return false
	}
	seen := make([]bool, len(p.bufs))
	for _, id := range hint {
		if id < 0 || id >= len(p.bufs) || p.bufs[id].Size == 0 || seen[id] {
			return false
		}
		seen[id] = true
	}
	return true
}

// try places the buffers in the given order, each in the smallest gap that fits
// and in the lowest one.
func (p *placer) try(order []int) {
	for _, f := range fits {
		if p.place(order, f); p.best == p.bound {
			return
		}
	}
}

// fit chooses an offset for size bytes beside the spans in use, sorted by from.
type fit func(taken []span, size int) int

var fits = []fit{bestFit, firstFit}

// place places the buffers in the given order and keeps the result if none was
// better.
func (p *placer) place(order []int, choose fit) {
	for i := range p.offsets {
		p.offsets[i] = -1
	}
	total := 0
	for _, id := range order {
		p.taken = p.taken[:0]
		for _, r := range p.rivals[id] {
			if at := p.offsets[r]; at >= 0 {
				p.taken = append(p.taken, span{at, at + p.bufs[r].Size})
			}
		}
		p.work += len(p.rivals[id]) + 1
		slices.SortFunc(p.taken, func(a, b span) int { return cmp.Compare(a.from, b.from) })
		at := choose(p.taken, p.bufs[id].Size)
		p.offsets[id] = at
		total = max(total, at+p.bufs[id].Size)
	}
	if p.best < 0 || total <= p.best {
		p.best, p.bestOrder = total, order
		for i, at := range p.offsets {
			p.bestOffsets[i] = max(at, 0)
		}
	}
}

// bestFit takes the smallest gap that is large enough.
func bestFit(taken []span, size int) int {
	best, least, end := -1, 0, 0
	for _, t := range taken {
		if gap := t.from - end; gap >= size && (best < 0 || gap < least) {
			best, least = end, gap
		}
		end = max(end, t.to)
	}
	if best >= 0 {
		return best
	}
	return end
}

// firstFit takes the lowest gap that is large enough.
func firstFit(taken []span, size int) int {
	end := 0
	for _, t := range taken {
		if t.from-end >= size {
			return end
		}
		end = max(end, t.to)
	}
	return end
}

// placeInOrder places buffers as an allocator would while the graph runs: each
// in the smallest free range when its life begins. It looks at the free ranges
// alone, which are few even where thousands of buffers live.
func placeInOrder(bufs []Buffer) (offsets []int, total int) {
	offsets = make([]int, len(bufs))
	begins := make([]int, len(bufs))
	for i := range begins {
		begins[i] = i
	}
	ends := slices.Clone(begins)
	slices.SortStableFunc(begins, func(a, b int) int {
		return cmp.Or(cmp.Compare(bufs[a].First, bufs[b].First), cmp.Compare(bufs[b].Size, bufs[a].Size))
	})
	slices.SortStableFunc(ends, func(a, b int) int { return cmp.Compare(bufs[a].Last, bufs[b].Last) })
	var free []span // sorted, no two adjacent
	for _, id := range begins {
		b := bufs[id]
		for len(ends) > 0 && bufs[ends[0]].Last < b.First {
			e := ends[0]
			ends = ends[1:]
			free = give(free, span{offsets[e], offsets[e] + bufs[e].Size})
		}
		offsets[id], free = take(free, b.Size, &total)
	}
	return offsets, total
}

// give returns a range to the free ones.
func give(free []span, s span) []span {
	if s.from == s.to {
		return free
	}
	i, _ := slices.BinarySearchFunc(free, s.from, func(f span, from int) int { return cmp.Compare(f.from, from) })
	if i < len(free) && free[i].from == s.to {
		s.to = free[i].to
		free = slices.Delete(free, i, i+1)
	}
	if i > 0 && free[i-1].to == s.from {
		free[i-1].to = s.to
		return free
	}
	return slices.Insert(free, i, s)
}

// take cuts size bytes out of the smallest range that fits, or grows the arena.
func take(free []span, size int, total *int) (int, []span) {
	best := -1
	for i, f := range free {
		if n := f.to - f.from; n >= size && (best < 0 || n < free[best].to-free[best].from) {
			best = i
		}
	}
	if best >= 0 {
		at := free[best].from
		if free[best].from += size; free[best].from == free[best].to {
			free = slices.Delete(free, best, best+1)
		}
		return at, free
	}
	at := *total
	if n := len(free); n > 0 && free[n-1].to == *total {
		at = free[n-1].from
		free = free[:n-1]
	}
	*total = at + size
	return at, free
}
