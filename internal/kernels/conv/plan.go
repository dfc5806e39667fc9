package conv

import (
	"fmt"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/bconv"
	"github.com/salver-ml/salver/internal/kernels/window"
)

// Plan is a convolution prepared for one input size and instruction-set level.
type Plan struct {
	p         Params
	algorithm Algorithm
	set       *kernels
	block     int
	in, out   []int // spatial sizes
	depth     window.Dim
	grid      window.Grid
	places    [3]place // of the outputs along depth, height and width
	outputs   int      // of a channel
	outPlane  int      // bytes from one blocked output plane to the next
	origin    int      // bytes from a blocked output plane to its first output

	inBlocks   int // per group (plain input: channels)
	lastInputs int // channels of the last input block, where that is not full; else 0
	outBlocks  int // per group
	groupsOf   []blockGroup
	weightsOut int // bytes of an output block's weights
	channelRun int // depthwise: channel blocks per chunk, at most
	blockRun   int // input blocks that one call can sum
	packed     packing
	winograd   winograd
	taps       tapGrids
	gather     *Reorder    // Plain: how an image's input becomes blocked first; nil: is read as it is
	half       *bconv.Plan // computes in bfloat16, or nil
	thin       *Plan       // computes on copied pixels, or nil
	planar     *planar     // Plain: with pixels in the lanes, or nil
	padded     *padded     // Depthwise: over rows that are copied with their padding, or nil
}

// blockGroup is a run of output blocks that one kernel call computes.
type blockGroup struct {
	group    int // of the convolution
	first, n int // output blocks over all groups
}

// New prepares a convolution of an input with the given spatial sizes.
func New(p Params, spatial []int, level cpu.Target) (*Plan, error) {
	p, err := p.normalize()
	if err != nil {
		return nil, err
	}
	dims, err := p.dims(spatial)
	if err != nil {
		return nil, err
	}
	if err := p.checkTuning(level); err != nil {
		return nil, err
	}
	a := Choose(p, level)
	if a == Pointwise && p.Tuning.Rows {
		a = Direct
	}
	if p.Winograd && WinogradFits(p, level) {
		a = Winograd
		if len(p.Kernel) == 3 {
			a = WinogradVolume
		}
	}
	if a == Direct && tapsPay(p, dims, level) {
		a = Taps
	}
	pl, err := newPlan(p, a, dims, level, nil)
	if err == nil {
		pl.thin, err = pl.thinned(level)
	}
	if err == nil && a == Plain && planarFits(p, level) {
		pl.planar = newPlanar(p, dims, level)
	}
	return pl, err
}

// place says where the outputs along a dimension are in the output tensor.
type place struct{ size, first, step int }

// newPlan prepares an algorithm. Without places the outputs fill the tensor.
func newPlan(p Params, a Algorithm, dims []window.Dim, level cpu.Target, places []place) (*Plan, error) {
	if len(dims) > 3 {
		return nil, fmt.Errorf("conv: %d spatial dimensions, at most 3 are supported", len(dims))
	}
	pl := &Plan{p: p, algorithm: a, set: forLevel(level), block: Block(level)}
	pl.outputs = 1
	for i, d := range dims {
		pl.outputs *= d.Out
		if len(places) < len(dims) {
			places = append(places, place{d.Out, 0, 1})
		}
		pl.in, pl.out = append(pl.in, d.In), append(pl.out, places[i].size)
	}
	if pl.half = newHalf(p, a, dims, level, places); pl.half != nil {
		return pl, nil
	}
	if p.Stored != (Stored{}) || p.ResidualLast {
		return nil, fmt.Errorf("conv: the %s algorithm at level %v takes no tensors of bfloat16 and no residual after the activation", a, level)
	}
	pl.setGrid(dims, places)
	if a == Plain && blockedSum(p, a, pl.block) {
		pl.gather = NewToBlocked(p.In/p.Groups, product(pl.in), level)
	}
	if pl.packed = newPacking(p, pl.algorithm, pl.block); pl.packed.spans {
		pl.inBlocks, pl.outBlocks = pl.packed.inBlocks, pl.packed.outBlocks
	}
	pl.weightsOut = pl.packed.perOut * 4
	if pl.packed.taps {
		pl.setTaps()
	}
	if pl.packed.winograd {
		pl.weightsOut /= winogradPoints // of one point
	}
	if pl.algorithm != Depthwise {
		pl.groupsOf = pl.groupBlocks()
	}
	pl.setCalls()
	if pl.algorithm == Direct && pl.weightsFar() && pl.grid.H.In*pl.grid.InRow >= cpu.Cache().L1d { // planes push each other out otherwise
		pl.grid.AlongLines = true
	}
	if pl.algorithm == Depthwise {
		pl.padRows()
	}
	if pl.packed.winograd {
		pl.setWinograd()
	}
	return pl, nil
}

// setGrid lays the planes out. Missing dimensions are in front, of size 1.
func (pl *Plan) setGrid(d []window.Dim, places []place) {
	one := window.Dim{In: 1, Out: 1, Kernel: 1, Stride: 1, Dilation: 1}
	for len(d) < 3 {
		d, places = append([]window.Dim{one}, d...), append([]place{{1, 0, 1}}, places...)
	}
	pl.places = [3]place(places)
	h, w := d[1], d[2]
	if pl.algorithm == Pointwise { // one long row
		w.In *= h.In
		w.Out = w.In
		h = one
		pl.places[1], pl.places[2] = place{1, 0, 1}, place{w.In, 0, 1}
	}
	pl.depth = d[0]
	g := window.NewGrid(h, w)
	g.InPx = pl.block * 4
	g.CI = pl.block
	pl.inBlocks = blocks(pl.p.In/pl.p.Groups, pl.block)
	if !blockedSum(pl.p, pl.algorithm, pl.block) {
		g.InPx = 4
		g.CI = min(w.Dilation-1, 1) // 1 where the taps of a row are apart
		pl.inBlocks = pl.p.In / pl.p.Groups
	}
	if pl.algorithm == Depthwise {
		g.CI = 1
	}
	if blockedSum(pl.p, pl.algorithm, pl.block) && pl.algorithm != Depthwise && !(pl.algorithm.InBlocked() && sharesBlocks(pl.p, pl.block)) {
		pl.lastInputs = pl.p.In / pl.p.Groups % pl.block
	}
	pl.outBlocks = blocks(pl.p.Out/pl.p.Groups, pl.block)
	g.InRow = w.In * g.InPx
	row := pl.places[2].size * pl.block * 4
	g.OutPx, g.OutRow = pl.places[2].step*pl.block*4, pl.places[1].step*row
	pl.outPlane = pl.places[1].size * row
	// What is written would be far apart otherwise. A network's input is not in the caches, and fetched ahead only along
	// rows: with AVX2 mobilenet_v2's first layer takes 0.49 ms so, not 0.94, with AVX-512 0.26 and 0.62.
	g.AlongLines = pl.outPlane > cpu.Cache().L2 || pl.algorithm == PlainInput && pl.inBlocks*g.H.In*g.InRow > cpu.Cache().L1d
	pl.origin = pl.places[1].first*row + pl.places[2].first*pl.block*4
	g.Tap = max(g.CI, 1) * pl.block * 4
	g.TapRow = w.Kernel * g.Tap
	pl.grid = g
}

// weightsFar reports whether the weights of a run of output blocks don't stay in a second-level cache. Calls go through them piece
// by piece, each for all of a part, so that parts should be large: where each row read them, 3×3 2048→512 at 32² took 1.8 times as long with AVX2.
func (pl *Plan) weightsFar() bool {
	return pl.algorithm != Depthwise && pl.cachedWeights() > 0 && pl.groupsOf[0].n*pl.weightsOut > window.DefaultPart
}

// work describes a run of n images.
func (pl *Plan) work(n, threads int) window.Work {
	g := &pl.grid
	images := pl.chunkImages(n)
	w := window.Work{
		Images: blocks(n, images), Depths: pl.depth.Out, Groups: len(pl.groupsOf), Rows: g.H.Out, Cols: g.W.Out,
		Least: 4 * pl.longestTile(), Threads: threads, WeightBytes: pl.packed.size() * 4,
		Order: pl.p.Tuning.Order, PartBytes: pl.partBytes(),
	}
	if pl.p.Act.after() && pl.algorithm != Depthwise {
		w.MostRows = pl.rowsToActivate()
	}
	w.Anew = pl.weightsFar()
	planes := pl.inBlocks
	if pl.algorithm == Depthwise {
		planes = pl.chunkChannels(n, threads)
		w.Groups = blocks(pl.packed.outBlocks, planes)
	}
	if pl.padded != nil {
		w.MostRows = pl.padded.outRows
	}
	w.LineBytes = images * planes * g.InRow * g.H.Stride
	if w.Rows == 1 {
		w.LineBytes = images * planes * g.InPx * g.W.Stride
	}
	return w
}

// pointwisePart is the most input of a part of a 1×1 convolution with AVX2, in bytes. Its calls go through
// some planes each and find little of a part in the second-level cache whatever its size; what a longer part saves is
// reading weights: layers of ResNet-50 take 3 to 8 % less than in parts of [window.DefaultPart].
const pointwisePart = 4 << 20

// partBytes is the most input of a part; 0: the default.
func (pl *Plan) partBytes() int {
	if pl.p.Tuning.PartBytes == 0 && pl.algorithm == Pointwise && pl.block == 8 {
		return pointwisePart
	}
	return pl.p.Tuning.PartBytes
}

// mostImages is the images that a tile runs along, at most: their pixels compete for the same lines of a first-level
// cache where they are a power of two apart.
const mostImages = 8

// chunkImages is the images of a chunk. Planes so small that tiles have but a few pixels go together, and
// tiles run along them instead: weights are read once for several images.
func (pl *Plan) chunkImages(n int) int {
	if pl.algorithm != Direct && pl.algorithm != Pointwise && pl.algorithm != Taps || n < 2 {
		return 1
	}
	longest := 0 // line of pixels with the same taps
	if pl.packed.taps {
		longest = max(pl.grid.H.Out, pl.grid.W.Out)
	}
	for _, spans := range [][]window.Span{pl.grid.Rows, pl.grid.Cols} {
		for _, s := range spans {
			longest = max(longest, s.Len())
		}
	}
	most := min(pl.longestTile(), mostImages)
	if images := blocks(n, blocks(n, most)); images >= 2*longest || images > longest && longest < 3 {
		return images
	}
	return 1
}

// chunksPerThread is how many chunks of channels each thread has at least.
const chunksPerThread = 4

// chunkChannels is the channel blocks of a depthwise chunk: few enough for all threads to
// have whole planes, as they have of the 1×1 convolutions before, and the same number.
func (pl *Plan) chunkChannels(n, threads int) int {
	if threads == 1 {
		return pl.channelRun
	}
	all := pl.packed.outBlocks
	most := min(pl.channelRun, max(1, n*all/(threads*chunksPerThread)))
	for run := most; run > 0; run-- {
		if n*blocks(all, run)%threads == 0 {
			return run
		}
	}
	return most
}

// rowsToActivate is the rows of a part whose outputs stay in the first-level cache
// until the activation reads them, or more where that would read the weights too
// often: 3→16 channels with SiLU at 640² take half the time.
func (pl *Plan) rowsToActivate() int {
	g := pl.groupsOf[0]
	bytes := max(cpu.Cache().L1d, 2*g.n*pl.weightsOut)
	return max(1, bytes/(g.n*pl.grid.W.Out*pl.block*4))
}

// Algorithm says how the plan computes.
func (pl *Plan) Algorithm() Algorithm { return pl.algorithm }

// Block is the number of channels per block where a side is blocked.
func (pl *Plan) Block() int { return pl.block }

// OutSpatial is the spatial size of the output.
func (pl *Plan) OutSpatial() []int { return pl.out }

// PackedSize is the number of floats that Pack writes.
func (pl *Plan) PackedSize() int {
	if pl.half != nil {
		return pl.half.PackedSize() / 4
	}
	if n := pl.planar; n != nil {
		return n.biasFloats + pl.p.WeightCount()
	}
	return pl.packed.size()
}

// Pack writes weights [Out, In/Groups, kernel…] and bias [Out] (or nil) into
// dst in the order in which the kernels read them.
func (pl *Plan) Pack(dst, weights, bias []float32) error {
	if pl.half != nil {
		return pl.half.Pack(bytesOf(dst), weights, bias)
	}
	if pl.planar != nil {
		if err := pl.packed.check(pl.PackedSize(), dst, weights, bias); err != nil {
			return err
		}
		pl.planar.pack(dst, weights, bias)
		return nil
	}
	return pl.packed.pack(dst, weights, bias)
}

// InSize is the number of floats of an input of n images, in the algorithm's
// layout.
func (pl *Plan) InSize(n int) int {
	if pl.algorithm.InBlocked() {
		return BlockedLen(n, pl.p.In, product(pl.in), pl.block)
	}
	return n * pl.p.In * product(pl.in)
}

// OutSize is the number of floats of the output and the residual.
func (pl *Plan) OutSize(n int) int {
	if pl.algorithm.OutBlocked() {
		return BlockedLen(n, pl.p.Out, product(pl.out), pl.block)
	}
	return n * pl.p.Out * product(pl.out)
}

// FLOPs counts a multiplication and an addition for every tap, those in the
// padding included, as benchmarks do.
func (pl *Plan) FLOPs(n int) int {
	outputs := pl.outputs
	return 2 * n * pl.p.Out * outputs * (pl.p.In / pl.p.Groups) * product(pl.p.Kernel)
}
