package provider

import (
	"math"

	"github.com/salver-ml/salver/internal/ir"
)

// Item is a node to be given to a provider.
type Item struct {
	Node *ir.Node
	Free bool // it only renames bytes, wherever they are
	// Seconds is what a run takes on each provider, +Inf where it can't.
	Seconds []float64
	In      []Operand
	Output  bool // the host reads a result: it is an output of the graph
	Bytes   int  // of its results
}

// Operand is a value that a node reads.
type Operand struct {
	From  int // item that makes it; -1: it comes from the host
	Bytes int // constants have none: they are copied once
}

// maxSweeps bounds the improvement of a partition; mostly two suffice.
const maxSweeps = 8

// Partition chooses a provider for each item so that computing and copying take
// little time together: each starts where it costs least, and then single nodes
// and connected regions of one provider move to another while that pays. The
// last provider must support everything and work in host memory.
func Partition(items []Item, providers []Provider) []int {
	p := &partition{items: items, providers: providers, of: make([]int, len(items)), readers: make([][]int, len(items))}
	for i, it := range items {
		p.of[i] = p.cheapest(it)
		for _, o := range it.In {
			if o.From >= 0 {
				p.readers[o.From] = append(p.readers[o.From], i)
			}
		}
	}
	if len(providers) < 2 {
		return p.of
	}
	for range maxSweeps {
		if !p.sweep() {
			break
		}
	}
	return p.of
}

type partition struct {
	items     []Item
	providers []Provider
	of        []int
	readers   [][]int
}

// cheapest is where an item alone would run. What costs nothing stays with
// what it reads.
func (p *partition) cheapest(it Item) int {
	if it.Free && len(it.In) > 0 && it.In[0].From >= 0 {
		return p.of[it.In[0].From]
	}
	best := len(p.providers) - 1
	for i, s := range it.Seconds {
		if s < it.Seconds[best] || s == it.Seconds[best] && i < best && !math.IsInf(s, 1) {
			best = i
		}
	}
	return best
}

func (p *partition) sweep() (changed bool) {
	region := make([]int, len(p.items))
	for i := range region {
		region[i] = -1
	}
	for i := range p.items {
		if region[i] < 0 {
			changed = p.improve(p.grow(i, region)) || changed
		}
		changed = p.improve([]int{i}) || changed
	}
	return changed
}

// grow collects the items around i that are connected to it and have its provider.
func (p *partition) grow(i int, region []int) []int {
	members := []int{i}
	region[i] = i
	visit := func(j int) {
		if j >= 0 && region[j] < 0 && p.of[j] == p.of[i] {
			region[j] = i
			members = append(members, j)
		}
	}
	for k := 0; k < len(members); k++ {
		m := members[k]
		for _, o := range p.items[m].In {
			visit(o.From)
		}
		for _, r := range p.readers[m] {
			visit(r)
		}
	}
	return members
}

// improve moves items that have one provider to the one where they and the
// copies around them cost least.
func (p *partition) improve(members []int) bool {
	now := p.of[members[0]]
	best, least := now, p.cost(members)
	for to := range p.providers {
		if to == now {
			continue
		}
		p.move(members, to)
		if c := p.cost(members); c < least {
			best, least = to, c
		}
	}
	p.move(members, best)
	return best != now
}

func (p *partition) move(members []int, to int) {
	for _, m := range members {
		p.of[m] = to
	}
}

// cost is what the members and the copies at them take.
func (p *partition) cost(members []int) float64 {
	total := 0.0
	for _, m := range members {
		it := &p.items[m]
		total += it.Seconds[p.of[m]]
		for _, o := range it.In {
			from := len(p.providers) - 1
			if o.From >= 0 {
				from = p.of[o.From]
			}
			total += p.copyCost(from, p.of[m], o.Bytes)
		}
		for _, r := range p.readers[m] {
			if p.of[r] != p.of[m] {
				total += p.copyCost(p.of[m], p.of[r], it.Bytes)
			}
		}
		if it.Output {
			total += p.copyCost(p.of[m], len(p.providers)-1, it.Bytes)
		}
	}
	return total
}

// copyCost is what a copy from one provider's memory to another's takes.
func (p *partition) copyCost(from, to, bytes int) float64 {
	a, b := p.providers[from].Memory(), p.providers[to].Memory()
	if a == b || bytes == 0 {
		return 0
	}
	total := 0.0
	for _, m := range []Memory{a, b} {
		if m != nil {
			total += m.CopyCost(bytes)
		}
	}
	return total
}
