package blockq

import "github.com/salver-ml/salver/internal/kernels/tiling"

// leastCut is how many bytes of weights a part of a product has at least: three
// microseconds' worth, for which a claim costs little.
const leastCut = 32 << 10

// taper cuts n panels into parts for a number of threads, in the order in which they are
// claimed: large ones first, so that each thread reads on where it is, and small ones
// last, so that all end together. It gives where parts begin, and the end, in cuts if
// there is room.
func taper(cuts []int, n, least, threads int) []int {
	cuts = append(cuts[:0], 0)
	if threads < 2 {
		return append(cuts, n)
	}
	for at := 0; at < n; {
		size := max(least, (n-at)/(2*threads))
		if n-at-size < least {
			size = n - at
		}
		at += size
		cuts = append(cuts, at)
	}
	return cuts
}

// cut decides how the parts are cut: by columns, if there are enough of these. So each part
// reads its weights once for all rows.
func (p *plan) cut(panelBytes int) {
	chunks := p.grid.Chunks()
	if p.tapered = p.tiles == 1 || !p.kern.tiled(p.m) && p.panels >= 4*p.threads; p.tapered {
		p.least = max(1, leastCut/(panelBytes*p.tiles))
		if p.kern.sweep != nil && p.m > p.kern.mostAlone() {
			p.least = max(p.least, sweepPanels/2/min(p.tiles, 2))
		}
		chunks = tiling.Ceil(p.panels, p.least)
	}
	p.slots = min(p.threads, chunks, tiling.MaxSlots)
}

// follow makes a plan the task's.
func (t *Task) follow(p plan) {
	if p.tapered && p.planKey != t.plan.planKey {
		t.cuts = taper(t.cuts, p.panels, p.least, p.threads)
	}
	t.plan = p
}

func (t *Task) chunks() int {
	switch p := &t.plan; {
	case p.prompt:
		return p.parts * p.stacks
	case p.tapered:
		return len(t.cuts) - 1
	}
	return t.plan.grid.Chunks()
}

// part is chunk number i of those that are no prompt's.
func (t *Task) part(i int) tiling.Part {
	if t.plan.tapered {
		return tiling.Part{ItemEnd: 1, TileEnd: t.plan.tiles, Panel: t.cuts[i], PanelEnd: t.cuts[i+1]}
	}
	return t.plan.grid.Part(i)
}
