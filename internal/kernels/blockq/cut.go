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

// cut decides on the parts. Where there is one tile of rows the time is that of reading
// the weights.
func (p *plan) cut(panelBytes int) {
	p.tapered = p.tiles == 1
	if p.tapered {
		p.cuts = taper(p.cuts, p.panels, max(1, leastCut/panelBytes), p.threads)
	}
	p.slots = min(p.threads, p.chunks(), tiling.MaxSlots)
}

func (p *plan) chunks() int {
	if p.prompt {
		return p.parts * p.stacks
	}
	if p.tapered {
		return len(p.cuts) - 1
	}
	return p.grid.Chunks()
}

func (p *plan) part(i int) tiling.Part {
	if p.tapered {
		return tiling.Part{ItemEnd: 1, TileEnd: p.tiles, Panel: p.cuts[i], PanelEnd: p.cuts[i+1]}
	}
	return p.grid.Part(i)
}
