package conv

import (
	"fmt"

	"github.com/salver-ml/salver/internal/pool"
)

// packing describes packed weights: the bias of all output blocks, then for
// each output block [depth][input block][kernel row][kernel column][input
// channel][output channel]. With a plain input the block is one channel. The
// channels beyond the layer's are zeros.
type packing struct {
	p          Params
	block      int
	inBlock    int // input channels per block
	groups     int // that the kernels see
	inBlocks   int // per group
	outBlocks  int // per group
	depth      int // kernel size along the first of three dimensions
	plane      int // taps per kernel plane
	perOut     int // floats per output block
	biasFloats int
	depthwise  bool
	shared     bool // several groups in a block, see sharesBlocks
	spans      bool // several groups in a block, and several blocks in a group, see spansBlocks
	winograd   bool // [36 points][output block][depth][input block][input channel][output channel]
	taps       bool // [tap][output block][input block][input channel][output channel]
}

func newPacking(p Params, a Algorithm, block int) packing {
	k := packing{p: p, block: block, inBlock: block, depth: 1, plane: product(p.Kernel)}
	if len(p.Kernel) == 3 {
		k.depth = p.Kernel[0]
		k.plane /= k.depth
	}
	if !blockedSum(p, a, block) {
		k.inBlock = 1
	}
	k.inBlocks = blocks(p.In/p.Groups, k.inBlock)
	k.outBlocks = blocks(p.Out/p.Groups, block)
	k.groups = p.Groups
	if a == Depthwise {
		k.depthwise, k.inBlock, k.inBlocks = true, 1, 1
		k.outBlocks, k.groups = blocks(p.Out, block), 1
	} else if a.InBlocked() && sharesBlocks(p, block) {
		k.shared, k.groups = true, blocks(p.Out, block)
	} else if a == Direct && spansBlocks(p, block) {
		k.spans, k.groups, k.outBlocks, k.inBlocks = true, blocks(p.Out, block), 1, mostInputs(p, block)
	}
	if a == Winograd || a == WinogradVolume {
		k.winograd, k.plane = true, winogradPoints
	}
	k.taps = a == Taps
	k.perOut = k.depth * k.inBlocks * k.plane * k.inBlock * block
	k.biasFloats = (k.allOut()*block + 15) &^ 15 // the weights begin on a cache line
	return k
}

func (k packing) size() int {
	return k.biasFloats + k.allOut()*k.perOut
}

// allOut is the number of output blocks over all groups.
func (k packing) allOut() int { return k.groups * k.outBlocks }

// check refuses buffers of other sizes than the layer's.
func (k packing) check(size int, dst, w, bias []float32) error {
	if len(dst) != size {
		return fmt.Errorf("conv: packed weights need %d floats, the buffer has %d", size, len(dst))
	}
	if len(w) != k.p.WeightCount() {
		return fmt.Errorf("conv: expected %d weights for %d→%d channels, groups %d, kernel %v, found %d",
			k.p.WeightCount(), k.p.In, k.p.Out, k.p.Groups, k.p.Kernel, len(w))
	}
	if bias != nil && len(bias) != k.p.Out {
		return fmt.Errorf("conv: expected a bias of %d numbers, found %d", k.p.Out, len(bias))
	}
	return nil
}

func (k packing) pack(dst, w, bias []float32) error {
	if err := k.check(k.size(), dst, w, bias); err != nil {
		return err
	}
	clear(dst[:k.biasFloats])
	job := packJob{k, dst, w, bias}
	for i := range k.allOut() {
		job.Do(i)
	}
	return nil
}

// Pack is the plan's on the threads of a pool, for weights that a run computes.
func (r *Runner) Pack(p *pool.Pool, dst, w, bias []float32) error {
	pl := r.plan
	if pl.half != nil || pl.planar != nil {
		return pl.Pack(dst, w, bias)
	}
	k := pl.packed
	if err := k.check(k.size(), dst, w, bias); err != nil {
		return err
	}
	clear(dst[:k.biasFloats])
	r.packs = packJob{k, dst, w, bias}
	p.Run(k.allOut(), &r.packs)
	r.packs = packJob{}
	return nil
}

// packJob is the packing of some weights, an output block at a time.
type packJob struct {
	packing
	dst, w, bias []float32
}

// Do packs one output block.
func (j *packJob) Do(ob int) {
	k, o, lanes := &j.packing, ob*j.block, j.block
	if og := k.p.Out / k.p.Groups; !k.depthwise && !k.shared && !k.spans {
		first := ob % k.outBlocks * k.block
		o, lanes = ob/k.outBlocks*og+first, min(lanes, og-first)
	} else {
		lanes = min(lanes, k.p.Out-o)
	}
	if j.bias != nil {
		copy(j.dst[ob*k.block:], j.bias[o:][:lanes])
	}
	dst := j.dst[k.biasFloats:]
	if !k.full() {
		parts := 1
		if k.taps || k.winograd {
			parts = k.plane
		}
		for part, n := 0, k.perOut/parts; part < parts; part++ {
			clear(dst[(part*k.allOut()+ob)*n:][:n])
		}
	}
	switch {
	case k.winograd:
		k.packPoints(dst, j.w, o, lanes)
	case k.shared || k.spans:
		for lane := range lanes {
			k.packChannel(dst[ob*k.perOut:][:k.perOut], j.w, o+lane, lane)
		}
	default:
		k.packBlock(dst, j.w, o, lanes)
	}
}

// full says whether packed weights have no place that nothing is written to.
func (k packing) full() bool {
	if k.depthwise {
		return k.p.Out%k.block == 0
	}
	return !k.shared && !k.spans && k.p.In/k.p.Groups%k.inBlock == 0 && k.p.Out/k.p.Groups%k.block == 0
}

// place gives the output block and the lane of an output channel.
func (k packing) place(o int) (block, lane int) {
	if k.depthwise || k.shared || k.spans {
		return o / k.block, o % k.block
	}
	og := k.p.Out / k.p.Groups
	return o/og*k.outBlocks + o%og/k.block, o % og % k.block
}

// packBlock writes the weights of a block's output channels, which makes whole lines: one channel
// after the other goes through all of the packed weights for each, at distances that are often
// powers of two. 256→256 channels of 3×3, packed tap by tap, take a tenth of the time.
func (k packing) packBlock(dst, w []float32, o, lanes int) {
	ob, _ := k.place(o)
	cg := k.p.In / k.p.Groups
	taps := k.depth * k.plane
	of := cg * taps // weights of an output channel
	w = w[o*of:][:lanes*of]
	for c := range cg {
		ib, ic := c/k.inBlock, c%k.inBlock
		for t := range taps {
			at := ob*k.perOut + (((t/k.plane*k.inBlocks+ib)*k.plane+t%k.plane)*k.inBlock+ic)*k.block
			if k.taps {
				at = ((t*k.allOut()+ob)*k.inBlocks*k.block + c) * k.block
			}
			line := dst[at:][:lanes]
			for lane, from := 0, c*taps+t; lane < len(line); lane, from = lane+1, from+of {
				line[lane] = w[from]
			}
		}
	}
}

// packChannel writes one output channel's weights into its lane, where groups share blocks.
func (k packing) packChannel(dst, w []float32, o, lane int) {
	cg := k.p.In / k.p.Groups
	lead := 0 // channels of other groups before this one's in the blocks
	if k.shared {
		lead = lane / cg * cg
	} else {
		first, _ := inputsOf(k.p, k.block, o/k.block)
		lead = o/cg*cg - first*k.block
	}
	for c := range cg {
		src := w[(o*cg+c)*k.depth*k.plane:]
		ib, ic := (lead+c)/k.inBlock, (lead+c)%k.inBlock
		for d := range k.depth {
			for t := range k.plane {
				at := (((d*k.inBlocks+ib)*k.plane+t)*k.inBlock + ic) * k.block
				dst[at+lane] = src[d*k.plane+t]
			}
		}
	}
}

// packPoints writes the transformed weights of a block's output channels.
func (k packing) packPoints(dst, w []float32, o, lanes int) {
	ob, _ := k.place(o)
	of := k.p.In * k.depth // kernels of an output channel
	var points [16][winogradPoints]float32
	for i := range of {
		c, d := i/k.depth, i%k.depth
		for lane := range lanes {
			points[lane] = weightPoints(w[((o+lane)*of+i)*9:][:9])
		}
		for point := range winogradPoints {
			block := ((point*k.outBlocks+ob)*k.depth+d)*k.inBlocks + c/k.block
			line := dst[(block*k.block+c%k.block)*k.block:][:lanes]
			for lane := range line {
				line[lane] = points[lane][point]
			}
		}
	}
}
