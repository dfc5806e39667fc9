package guard

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Choice is one way to store a layer: what it takes and what it costs in accuracy.
// Errors of layers add up: squared errors of the model's answers, say, not decibels.
type Choice struct {
	Bytes int64
	Error float64
}

// Budget bounds the size of a model: by bits for each weight of its layers on
// average, or else by the bytes of all weights as a share of the original's.
type Budget struct {
	Bits  float64
	Share float64
}

// Bytes is what layers of so many weights may take, where the model takes all and
// weights that stay as they are take rest.
func (b Budget) Bytes(weights, all, rest int64) int64 {
	if b.Bits > 0 {
		return int64(b.Bits * float64(weights) / 8)
	}
	return int64(b.Share*float64(all)) - rest
}

// Allot picks one choice for each layer such that all fit into the budget in bytes and
// the errors add up to the least. It gives the index of each layer's choice, the
// same for the same arguments, and fails where even the smallest choices do not fit.
//
// This is the multiple-choice knapsack problem. What no budget would want (choices that
// another one beats in size and error) is dropped; the rest goes by dynamic
// programming over the bytes beyond the smallest choices, counted in their greatest
// common divisor, or in 1/16384 of the budget, rounded up, where that is more: then
// what rounding left over goes to the upgrades that win the most for a byte.
func Allot(layers [][]Choice, budget int64) ([]int, error) {
	indices, useful := make([][]int, len(layers)), make([][]Choice, len(layers))
	least := int64(0)
	for i, choices := range layers {
		var err error
		if indices[i], err = efficient(choices); err != nil {
			return nil, fmt.Errorf("layer %d: %w", i, err)
		}
		for _, k := range indices[i] {
			useful[i] = append(useful[i], choices[k])
		}
		least += useful[i][0].Bytes
	}
	if least > budget {
		return nil, fmt.Errorf("the budget is %d bytes, the smallest choices take %d", budget, least)
	}
	best := newAllotment(useful, byTable(useful, budget-least), budget)
	greedy := newAllotment(useful, make([]int, len(layers)), budget)
	for _, a := range []*allotment{best, greedy} {
		a.spend()
		a.swap()
	}
	if greedy.error() < best.error() {
		best = greedy
	}
	for i := range best.picked {
		best.picked[i] = indices[i][best.picked[i]]
	}
	return best.picked, nil
}

// efficient gives the choices that are worth their bytes: in order of size, each with
// a smaller error than all before.
func efficient(choices []Choice) ([]int, error) {
	if len(choices) == 0 {
		return nil, fmt.Errorf("there are no choices")
	}
	order := make([]int, len(choices))
	for i, c := range choices {
		order[i] = i
		if c.Bytes < 0 || !(c.Error >= 0) || math.IsInf(c.Error, 0) {
			return nil, fmt.Errorf("choice %d has %d bytes and an error of %g: expected finite numbers from 0 on", i, c.Bytes, c.Error)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(choices[a].Bytes, choices[b].Bytes), cmp.Compare(choices[a].Error, choices[b].Error))
	})
	kept := order[:1]
	for _, i := range order[1:] {
		if choices[i].Error < choices[kept[len(kept)-1]].Error {
			kept = append(kept, i)
		}
	}
	return kept, nil
}

// maxSteps is how finely the budget is divided.
const maxSteps = 1 << 14

// byTable picks what a table over the spare bytes finds best.
func byTable(layers [][]Choice, spare int64) []int {
	unit := stepOf(layers, spare)
	steps := int(spare / unit)
	best := make([]float64, steps+1) // least error of the layers so far with so many steps
	next := make([]float64, steps+1)
	taken := make([][]uint16, len(layers))
	for i, choices := range layers {
		taken[i] = make([]uint16, steps+1)
		small := choices[0]
		for s := range next {
			next[s] = best[s] + small.Error
		}
		for k, c := range choices[1:] {
			extra := (c.Bytes - small.Bytes + unit - 1) / unit
			for s := int(min(extra, int64(steps)+1)); s <= steps; s++ {
				if e := best[s-int(extra)] + c.Error; e < next[s] {
					next[s], taken[i][s] = e, uint16(k+1)
				}
			}
		}
		best, next = next, best
	}
	picked := make([]int, len(layers))
	for i, s := len(layers)-1, steps; i >= 0; i-- {
		picked[i] = int(taken[i][s])
		extra := layers[i][picked[i]].Bytes - layers[i][0].Bytes
		s -= int((extra + unit - 1) / unit)
	}
	return picked
}

// stepOf is what bytes are counted in: what divides all differences of size, unless
// that makes too many steps.
func stepOf(layers [][]Choice, spare int64) int64 {
	unit := int64(0)
	for _, choices := range layers {
		for _, c := range choices[1:] {
			for a := c.Bytes - choices[0].Bytes; a != 0; {
				unit, a = a, unit%a
			}
		}
	}
	return max(unit, (spare+maxSteps-1)/maxSteps, 1)
}

// allotment is a choice for each layer under a budget.
type allotment struct {
	layers [][]Choice // the efficient ones, the smallest first
	picked []int
	left   int64 // bytes of the budget
}

func newAllotment(layers [][]Choice, picked []int, budget int64) *allotment {
	a := &allotment{layers, picked, budget}
	for i, k := range picked {
		a.left -= layers[i][k].Bytes
	}
	return a
}

// change is what choice k instead of the present one takes and wins.
func (a *allotment) change(i, k int) (bytes int64, gain float64) {
	now, then := a.layers[i][a.picked[i]], a.layers[i][k]
	return then.Bytes - now.Bytes, now.Error - then.Error
}

func (a *allotment) take(i, k int) {
	bytes, _ := a.change(i, k)
	a.left -= bytes
	a.picked[i] = k
}

func (a *allotment) error() (sum float64) {
	for i, k := range a.picked {
		sum += a.layers[i][k].Error
	}
	return sum
}

// spend uses what is left for the upgrades that win the most for a byte.
func (a *allotment) spend() {
	for {
		layer, to, most := -1, 0, 0.
		for i, k := range a.picked {
			for k++; k < len(a.layers[i]); k++ {
				if bytes, gain := a.change(i, k); bytes <= a.left && gain/float64(bytes) > most {
					layer, to, most = i, k, gain/float64(bytes)
				}
			}
		}
		if layer < 0 {
			return
		}
		a.take(layer, to)
	}
}

// maxSwaps bounds how often two layers change their choices together.
const maxSwaps = 100

// swap pays for an upgrade by the downgrade of another layer as long as that wins anything.
func (a *allotment) swap() {
	for range maxSwaps {
		up, upTo, down, downTo, most := -1, 0, 0, 0, 0.
		for i := range a.picked {
			for k := a.picked[i] + 1; k < len(a.layers[i]); k++ {
				bytes, gain := a.change(i, k)
				if gain <= most {
					continue
				}
				if j, l, loss := a.cheapest(i, bytes-a.left); j >= 0 && gain-loss > most {
					up, upTo, down, downTo, most = i, k, j, l, gain-loss
				}
			}
		}
		if up < 0 || most <= 1e-9*a.error() {
			return
		}
		a.take(down, downTo)
		a.take(up, upTo)
	}
}

// cheapest is the downgrade of another layer than i that frees so many bytes at the
// least loss; -1 if there is none.
func (a *allotment) cheapest(i int, need int64) (layer, to int, loss float64) {
	layer, loss = -1, math.Inf(1)
	for j, k := range a.picked {
		if j == i {
			continue
		}
		for l := range k {
			if bytes, gain := a.change(j, l); -bytes >= need && -gain < loss {
				layer, to, loss = j, l, -gain
			}
		}
	}
	return layer, to, loss
}
