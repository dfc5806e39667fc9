package conv

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/window"
)

// Of a plane of a few pixels, most are at a border: with 3×3 kernels over 4×4, eight of nine rectangles of outputs that use the
// same taps are of one or two pixels, and each reads its weights anew. [Taps] computes the kernel's taps one after the other
// instead, each as a 1×1 convolution of the outputs that see the input through it. Tiles have whole lines of pixels, and
// weights, which are packed tap by tap, come from memory once and in order.
// 512→512 channels at 4² take 530 µs instead of 800 with AVX-512, 570 instead of 860 with AVX2; where a group's weights of all
// taps don't fit the second-level cache, larger planes gain, too: at 12² 6.0 ms instead of 7.0.

const (
	tapsChannels = 128 // of a group's inputs, at least: sums wait in the output between two taps
	tapsWeights  = 9   // of an output channel for each pixel, at least: many pixels read them often enough
	tapsBorder   = 8   // an eighth of the pixels see padding, at least
)

// tapsPay reports whether a direct convolution is computed tap by tap, which the layer and its size decide.
func tapsPay(p Params, dims []window.Dim, level cpu.Target) bool {
	b, in, taps := Block(level), p.In/p.Groups, product(p.Kernel)
	if taps == 1 || in < tapsChannels || halfFits(p, Direct, level) || spansBlocks(p, b) {
		return false
	}
	outputs, inner := product(window.OutSizes(dims)), 1
	for _, d := range dims {
		seeAll := 0
		for _, s := range d.Spans() {
			if s.Taps() == d.Kernel {
				seeAll += s.Len()
			}
		}
		inner *= seeAll
	}
	return tapsBorder*(outputs-inner) >= outputs && outputs*tapsWeights <= in*taps
}

// tapGrids are views of a plane: one without a tap, and one of each tap that an output sees the input through.
type tapGrids struct {
	none window.Grid
	all  []tapGrid
}

type tapGrid struct {
	window.Grid
	weights int // bytes from the first tap's
}

// setTaps makes them.
func (pl *Plan) setTaps() {
	pl.weightsOut /= pl.packed.plane
	perTap := pl.packed.allOut() * pl.weightsOut
	pl.taps.none = pl.grid
	pl.taps.none.Rows, pl.taps.none.Cols = []window.Span{{Hi: pl.grid.H.Out}}, []window.Span{{Hi: pl.grid.W.Out}}
	for y := range pl.grid.H.Kernel {
		for x := range pl.grid.W.Kernel {
			tap := tapGrid{pl.grid, (y*pl.grid.W.Kernel + x) * perTap}
			tap.H, tap.Rows = oneTap(tap.H, y)
			tap.W, tap.Cols = oneTap(tap.W, x)
			tap.Tap = pl.block * pl.block * 4
			tap.TapRow = tap.Tap
			if tap.Rows[0].Len() > 0 && tap.Cols[0].Len() > 0 {
				pl.taps.all = append(pl.taps.all, tap)
			}
		}
	}
}

// oneTap is a dimension whose kernel is tap k alone, and the outputs that see the input through it.
func oneTap(d window.Dim, k int) (window.Dim, []window.Span) {
	d.Begin -= k * d.Dilation
	d.Kernel, d.Dilation = 1, 1
	s := window.Span{K1: 1}
	for o := range d.Out {
		switch at := d.First(o); {
		case at < 0:
			s.Lo = o + 1
		case at < d.In:
			s.Hi = o + 1
		}
	}
	return d, []window.Span{s}
}

// eachTile visits the tiles of an output plane.
func (pl *Plan) eachTile(most int, visit func(count, pixels, taps int)) {
	if !pl.packed.taps {
		pl.grid.Tiles(most, visit)
	}
	for i := range pl.taps.all {
		pl.taps.all[i].Tiles(most, visit)
	}
}

// sumTaps computes an area tap by tap. The residual comes first, since sums that wait in the output would overwrite one that
// is the same buffer.
func (r *Runner) sumTaps(t *window.Tile, g blockGroup, a window.Area, p window.Planes) {
	pl := r.plan
	clamp, next, nextEnd := t.Clamp, t.Next, t.NextEnd
	t.Clamp, t.Partial = 0, 0
	kernels := pl.set.tiles[g.n]
	pl.taps.none.Sweep(t, kernels, a, p)
	p.Residual = nil
	weights := p.Weights
	for i := range pl.taps.all {
		tap := &pl.taps.all[i]
		if t.Next, t.NextEnd = next, nextEnd; i < len(pl.taps.all)-1 {
			t.Next = uintptr(weights) + uintptr(pl.taps.all[i+1].weights)
			t.NextEnd = t.Next + uintptr(g.n*pl.weightsOut)
		}
		p.Weights = unsafe.Add(weights, tap.weights)
		r.sumBlocks(t, g, &tap.Grid, a, p, 1)
	}
	if clamp != 0 {
		t.Clamp, t.Partial = clamp, 1
		pl.taps.none.Sweep(t, kernels, a, p)
		t.Partial = 0
	}
}
