package conv

import (
	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/pool"
)

// Winograd's F(4×4, 3×3) computes 4×4 outputs from 6×6 inputs with 36 products
// instead of 144 (Lavin and Gray, arXiv 1509.09308). Input tiles are
// transformed, 36 matrix products over the channels are computed by the
// pointwise kernels, and the products are transformed back. On random numbers
// and 128 channels the error is four times that of a direct sum in the mean
// square, 2.3e-6 of the outputs', and 4e-5 at most.

// winogradTile is the side of an output tile, winogradPoints the products of one.
const (
	winogradTile   = 4
	winogradPoints = 36
)

// winogradInputFunc transforms n input tiles along a row. tmp holds 36 vectors;
// strides are in bytes.
type winogradInputFunc func(dst, src, tmp *byte, dstStride, srcRow, n int)

// winogradOutputFunc transforms n tiles of products along a row into outputs
// with bias, residual (or nil) and clamp. tmp holds 24 vectors.
type winogradOutputFunc func(dst, residual, src, bias, tmp *byte, srcStride, dstRow, n int, lo, hi float32, clamp int)

// WinogradFits reports whether a layer can be computed by Winograd's algorithm:
// a kernel of 3×3 with stride 1 and at least a block of channels in and out, in
// float32; of a volume any number of such along the depth. Whether it pays depends on the size and the machine. Measured on one
// core with AVX-512 (AVX2), weights in the cache, the time relative to direct is
// 0.35 (0.30) for 64→64 at 56², 0.45 (0.35) for 128→128 at 28², 0.56 (0.40) for
// 256→256 at 14², 0.63 (0.48) for 512→512 at 7². But a point's weights are four
// times those of the kernel, and where they come from memory at 16 GB/s they
// alone take 95/pixels of the direct time.
func WinogradFits(p Params, level cpu.Target) bool {
	p, err := p.normalize()
	if err != nil {
		return false
	}
	rank := len(p.Kernel)
	if a := Choose(p, level); a != Direct && (a != Plain || rank != 3) {
		return false
	}
	for i := range p.Kernel {
		if p.Dilation[i] != 1 || i >= rank-2 && (p.Kernel[i] != 3 || p.Stride[i] != 1) {
			return false
		}
	}
	return p.Groups == 1 && !p.BF16 && min(p.In, p.Out) >= Block(level)
}

// winograd is the geometry of the tiles.
type winograd struct {
	high, wide int // tiles of a plane
	perPoint   int // floats of one point's weights
}

func (pl *Plan) setWinograd() {
	h, w := pl.grid.H, pl.grid.W
	pl.winograd = winograd{
		high: (h.Out + winogradTile - 1) / winogradTile, wide: (w.Out + winogradTile - 1) / winogradTile,
		perPoint: pl.packed.outBlocks * pl.packed.perOut / winogradPoints,
	}
}

// WinogradPixels are the fewest of an output for which it makes up for reading larger weights.
const WinogradPixels = 28 * 28

// WinogradScratch is the bytes per thread for transformed inputs and products:
// with the weights of one point they stay in a second-level cache.
const WinogradScratch = 1 << 20

// bandRows is the number of tile rows that are in flight on some threads.
func (pl *Plan) bandRows(threads int) int {
	row := pl.winograd.wide * winogradPoints * (pl.inBlocks + pl.outBlocks) * pl.block * 4
	return max(1, threads*WinogradScratch/row)
}

func (pl *Plan) winogradScratchSize(threads int) int {
	return pl.bandRows(threads) * pl.winograd.wide * winogradPoints * (pl.inBlocks + pl.outBlocks) * pl.block
}

// stage is the part of a Winograd convolution that Do computes.
type stage uint8

const (
	stageInput stage = iota
	stageProducts
	stageOutput
	stageVolumeInput  // from plain layout
	stageVolumeOutput // to it
)

// band is a number of tile rows over all images, which go through the stages
// together; or of one volume, at some depths.
type band struct {
	stage         stage
	first, rows   int
	inDepth, ins  int // the first depth of the input, and how many
	outDepth, out int // of the output
}

// blocksPerChunk is the channel blocks that a chunk transforms.
const blocksPerChunk = 4

// runWinograd computes a run band by band.
func (r *Runner) runWinograd(p *pool.Pool) {
	pl := r.plan
	total := r.op.N * pl.winograd.high
	step := min(pl.bandRows(p.Threads()), total)
	inputs, outputs := step*blocks(pl.inBlocks, blocksPerChunk), step*blocks(pl.outBlocks, blocksPerChunk)
	r.grow(max(inputs, outputs, winogradPoints*len(pl.groupsOf)))
	for first := 0; first < total; first += step {
		rows := min(step, total-first)
		r.band = band{first: first, rows: rows, ins: 1, out: 1}
		p.RunFromEnds(rows*blocks(pl.inBlocks, blocksPerChunk), r)
		r.band.stage = stageProducts
		p.RunFromEnds(winogradPoints*len(pl.groupsOf), r)
		r.band.stage = stageOutput
		p.RunFromEnds(rows*blocks(pl.outBlocks, blocksPerChunk), r)
	}
}

// patchFloats is the working memory of a chunk: a transform's, and tiles at the
// edge with their residual.
const patchFloats = (36 + 36 + 16) * maxBlock

// grow makes room for the state of n chunks.
func (r *Runner) grow(n int) {
	if len(r.tiles) < n {
		r.tiles = make([]window.Tile, n)
	}
	if r.plan.algorithm == Winograd && len(r.patches) < n*patchFloats {
		r.patches = make([]float32, n*patchFloats)
	}
}

func (r *Runner) doWinograd(i int) {
	switch r.band.stage {
	case stageInput:
		r.transformInputs(i)
	case stageProducts:
		r.multiplyPoint(i)
	case stageOutput:
		r.transformOutputs(i)
	case stageVolumeInput:
		r.transformDepths(i)
	case stageVolumeOutput:
		r.finishDepths(i)
	}
}

// places of the scratch: inputs [36][depth][block][tile], then products likewise. Blocks count from
// the band's first depth on.
func (r *Runner) transformed(block, tile int) (offset, pointStride int) {
	pl := r.plan
	tiles := r.band.rows * pl.winograd.wide
	return (block*tiles + tile) * pl.block, r.band.ins * pl.inBlocks * tiles * pl.block
}

func (r *Runner) products(block, tile int) (offset, pointStride int) {
	pl := r.plan
	tiles := r.band.rows * pl.winograd.wide
	return ((winogradPoints*r.band.ins*pl.inBlocks+block)*tiles + tile) * pl.block, r.band.out * pl.outBlocks * tiles * pl.block
}

// multiplyPoint sums over the input channels, of all depths of the kernel, for one point and run of output
// blocks.
func (r *Runner) multiplyPoint(i int) {
	pl := r.plan
	point, g := i/len(pl.groupsOf), pl.groupsOf[i%len(pl.groupsOf)]
	t := &r.tiles[i]
	tiles := r.band.rows * pl.winograd.wide
	perDepth := pl.inBlocks * pl.block * pl.block * 4 // bytes of weights
	for d := range r.band.out {
		k0, k1 := pl.depth.Taps(r.band.outDepth + d)
		at := pl.depth.First(r.band.outDepth+d) + k0 - r.band.inDepth
		if k0 == k1 { // wholly in the padding: nothing is read, and nothing may be pointed at
			k0, k1, at = 0, 0, 0
		}
		in, inStride := r.transformed(at*pl.inBlocks, 0)
		out, outStride := r.products(d*pl.outBlocks+g.first, 0)
		*t = window.Tile{
			In: window.At(r.op.Scratch, (in+point*inStride)*4), Out: window.At(r.op.Scratch, (out+point*outStride)*4),
			Weights: window.At(r.op.Weights, (pl.packed.biasFloats+point*pl.winograd.perPoint)*4+g.first*pl.weightsOut+k0*perDepth),
			Bias:    window.At(zeroBias[:], 0),
			Blocks:  (k1 - k0) * pl.inBlocks, KH: 1, KW: 1, CI: pl.block,
			InBlock: tiles * pl.block * 4, OutBlock: tiles * pl.block * 4, WeightsOut: pl.weightsOut,
		}
		window.Row(t, pl.set.tiles[g.n], tiles, pl.block*4, pl.block*4, pl.grid.LinesPerCall)
	}
}
