package plan

import (
	"math/rand/v2"
	"slices"
)

// maxWork bounds the search for a new graph, in pairs of buffers looked at: about 50 ms.
const maxWork = 4 << 20

// search moves buffers that reach beyond the bound forward in the best order so
// far, so that they are placed while there is room lower down, and keeps what
// does not make the arena larger.
func (p *placer) search(budget int) {
	if p.best <= p.bound || len(p.ids) < 2 {
		return
	}
	r := rand.New(rand.NewPCG(1, uint64(len(p.ids))))
	p.work = 0
	for turn := 0; p.work < budget && p.best > p.bound; turn++ {
		p.place(p.neighbour(r), fits[turn%len(fits)])
	}
}

// neighbour gives the best order with some changes.
func (p *placer) neighbour(r *rand.Rand) []int {
	order := slices.Clone(p.bestOrder)
	var high []int // positions of the buffers that reach beyond the bound
	for i, id := range order {
		if p.bestOffsets[id]+p.bufs[id].Size > p.bound {
			high = append(high, i)
		}
	}
	moves := 1 + r.IntN(3)
	for range moves {
		from := r.IntN(len(order))
		if len(high) > 0 && r.IntN(4) > 0 {
			from = high[r.IntN(len(high))]
		}
		to := r.IntN(len(order))
		if r.IntN(3) > 0 {
			to = r.IntN(from + 1)
		}
		id := order[from]
		order = slices.Insert(slices.Delete(order, from, from+1), to, id)
	}
	return order
}
