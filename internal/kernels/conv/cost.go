package conv

import "github.com/salver-ml/salver/internal/cpu"

// groupBlocks cuts the output blocks of each group into runs for the kernels, the longest first.
func (pl *Plan) groupBlocks() []blockGroup {
	var groups []blockGroup
	runs := pl.cheapestRuns()
	for g := range pl.packed.groups {
		at := g * pl.outBlocks
		for n := len(runs) - 1; n > 0; n-- {
			for range runs[n] {
				groups = append(groups, blockGroup{g, at, n})
				at += n
			}
		}
	}
	return groups
}

// mixedBlocks is the output blocks for which all ways to divide them are compared; of more,
// what is beyond goes in runs of the kind that costs the least for a block.
const mixedBlocks = 24

// cheapestRuns gives how many runs of how many output blocks the cost model likes best
// for a group.
func (pl *Plan) cheapestRuns() []int {
	kinds := len(pl.set.tiles)
	cost := make([]float64, kinds) // of a run of so many
	cheapest := 1
	for n := 1; n < kinds; n++ {
		switch most := pl.p.Tuning.Blocks; {
		case pl.set.tiles[n] == nil || most > 0 && n > most:
			continue
		case most > 0:
			cost[n] = 1 // as few as possible
		default:
			cost[n] = pl.planeCost(n) + 1 // more than none
		}
		if cost[n]/float64(n) < cost[cheapest]/float64(cheapest) {
			cheapest = n
		}
	}
	runs := make([]int, kinds)
	runs[cheapest] = max(0, pl.outBlocks-mixedBlocks) / cheapest
	rest := pl.outBlocks - runs[cheapest]*cheapest
	best, last := make([]float64, rest+1), make([]int, rest+1) // of so many: the cost, and a run
	for all := 1; all <= rest; all++ {
		for n := 1; n < kinds && n <= all; n++ {
			if c := best[all-n] + cost[n]; cost[n] > 0 && (last[all] == 0 || c < best[all]) {
				best[all], last[all] = c, n
			}
		}
	}
	for ; rest > 0; rest -= last[rest] {
		runs[last[rest]]++
	}
	return runs
}

// planeCost estimates the cycles of nb output planes. Beside the sums it counts the
// writing to several planes at once, which shows where sums are short.
func (pl *Plan) planeCost(nb int) float64 {
	channels := float64(pl.inBlocks * max(pl.grid.CI, 1))
	total, most := 0.0, len(pl.set.tiles[nb])-1
	pl.eachTile(most, func(count, pixels, taps int) {
		total += float64(count) * (pl.tileCycles(nb, pixels)*float64(taps)*channels + pl.set.planeSwitch*float64(nb-1))
	})
	return total
}

// tileCycles is a model of one step of a tile: two multiply-adds of four
// cycles' latency and two loads begin per cycle. With AVX2, where inputs are no operands of
// multiply-adds, loads cost something beside them too: 12 pixels of a block take 15 to 18 %
// longer than 6 of two blocks, and these up to 5 % longer than 3 of four. Weights that
// don't stay in the first-level cache come at some 24 bytes a cycle.
func (pl *Plan) tileCycles(nb, pixels int) float64 {
	m, n := float64(pixels), float64(nb)
	cycles := max(m*n/2, 4, (m+n)/2)
	if pl.block == 8 {
		if pl.cachedWeights() == 0 {
			cycles = max(cycles, n*32/24)
		}
		cycles += (m + n) * 0.12
	}
	return cycles + 0.25
}

// callCycles bounds one call of a kernel, which can't be preempted: 50 µs.
const callCycles = 150_000

// setCalls bounds the lines of a call and the channel blocks of a chunk.
func (pl *Plan) setCalls() {
	taps := float64(product(pl.p.Kernel))
	switch {
	case pl.packed.taps:
		taps = 1
	case pl.packed.winograd:
		taps = float64(pl.depth.Kernel) // a product has one of each depth
	}
	tile := pl.tileCycles(1, pl.longestTile()) * taps
	if pl.algorithm != Depthwise {
		g := pl.groupsOf[0]
		tile = pl.tileCycles(g.n, pl.longestTile()) * taps * float64(pl.inBlocks*max(pl.grid.CI, 1))
		pl.grid.LinesPerCall = max(1, int(callCycles/tile))
		for i := range pl.taps.all {
			pl.taps.all[i].LinesPerCall = pl.grid.LinesPerCall
		}
		pl.blockRun = max(1, int(callCycles/tile*float64(pl.inBlocks)))
		if cached := pl.cachedWeights(); cached > 0 {
			pl.blockRun = min(pl.blockRun, max(1, cached*pl.inBlocks/(g.n*pl.weightsOut)))
		}
		return
	}
	plane := pl.grid.H.In * pl.grid.InRow
	pl.channelRun = min(max(1, depthwiseBytes/plane), pl.packed.outBlocks)
	pl.grid.LinesPerCall = max(1, int(callCycles/tile)/pl.channelRun)
}

// cachedWeights is the weights that a call goes through, in bytes, so that the
// following tiles find them in the first-level cache; 0: all of them. With AVX2 3×3 kernels
// of 128 channels at 28² and 256 at 14² take 5 % less so, but those of 512 at 7² 5 % more: there
// each call has few pixels. The inputs of a 1×1 kernel come from as many planes as a call goes
// through, more than a processor fetches ahead, and each call reads and writes its sums: with 16 planes ResNet-50 and
// MobileNet-v2 take less than with 8 (by 3 to 6 % in layers of 256 to 2048 channels) or with 21 to 40. AVX-512's tiles have more than twice the pixels, and nothing to gain
// but where the second-level cache doesn't hold the weights: on a Zen 5, whose has 1 MiB, 2048→512 at 32² takes 19 to 25 % less, 512→512 at 32² with a
// dilation 8 to 11 %, 512→512 of stride 2 from 40² 18 %. Borders of a small plane read them again: 512→512 at 7² takes 7 to 10 % less, at 4² 8 to 20 %.
func (pl *Plan) cachedWeights() int {
	small := product(pl.p.Kernel) > 1 && pl.outputs < fewOutputs
	switch l2 := cpu.Cache().L2; {
	case pl.packed.taps: // a call goes through those of a tap alone
		return 0
	case pl.block == 8 && product(pl.p.Kernel) == 1:
		return cpu.Cache().L1d / 2
	case pl.block == 8 && !small:
		return cpu.Cache().L1d * 2 / 3
	case pl.block == 16 && product(pl.p.Kernel) > 1 && pl.groupsOf[0].n*pl.weightsOut > l2/2:
		return l2 / 4
	}
	return 0
}

// fewOutputs is the size of a plane below which larger kernels go through all of their
// weights at once with AVX2.
const fewOutputs = 100

// depthwiseBytes is the input of the channel blocks that a chunk computes
// together: they stay in a second-level cache.
const depthwiseBytes = 128 << 10

// longestTile is the most pixels of the kernels in use.
func (pl *Plan) longestTile() int {
	if pl.algorithm == Depthwise {
		return len(pl.set.depthwise) - 1
	}
	return len(pl.set.tiles[pl.groupsOf[0].n]) - 1
}
