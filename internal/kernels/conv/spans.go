package conv

// Where groups fill no whole blocks of 16 channels, a block of outputs may belong to two or
// more groups. It is computed from the blocks of inputs that hold what these need, with
// weights of zero between groups: 24 channels a group multiply 1.4 times as much as they need, but nothing
// is brought out of blocks and back. A network of such groups (regnet_x_1_6gf) takes 7 % less on one thread with AVX-512 than with
// pixels in the lanes; of layers alone, those of few pixels gain (24 channels at 7²: 511 to 327 µs), large planes lose (at 28² 589 to 717).

// leastUse is the part of the products that no zeros take, at least.
const leastUse = 0.65

// spansBlocks reports whether a layer is computed so.
func spansBlocks(p Params, block int) bool {
	g := max(p.Groups, 1)
	size := p.In / g
	if g == 1 || block < 16 || len(p.Kernel) != 2 || p.In != p.Out || size%block == 0 || size < block || product(p.Kernel) == 1 {
		return false
	}
	all := 0
	for o := range blocks(p.Out, block) {
		first, end := inputsOf(p, block, o)
		all += end - first*block
	}
	return float64(size*blocks(p.Out, block)) >= leastUse*float64(all)
}

// inputsOf gives the first block and the end of the channels that a block of outputs needs.
func inputsOf(p Params, block, o int) (first, end int) {
	size := p.In / p.Groups
	return o * block / size * size / block, (min((o+1)*block, p.Out)-1)/size*size + size
}

// mostInputs is the most input blocks that a block of outputs needs.
func mostInputs(p Params, block int) (most int) {
	for o := range blocks(p.Out, block) {
		first, end := inputsOf(p, block, o)
		most = max(most, blocks(end, block)-first)
	}
	return most
}

// inputs gives the first input block of a run of output blocks in its image, their number, and the
// channels of the last where that is not full.
func (pl *Plan) inputs(g blockGroup) (first, n, last int) {
	if !pl.packed.spans {
		return g.group * pl.inBlocks, pl.inBlocks, pl.lastInputs
	}
	first, end := inputsOf(pl.p, pl.block, g.first)
	return first, blocks(end, pl.block) - first, end % pl.block
}

// imageBlocks is the input blocks of an image.
func (pl *Plan) imageBlocks() int {
	if pl.packed.spans {
		return blocks(pl.p.In, pl.block)
	}
	return pl.packed.groups * pl.inBlocks
}
