package conv

import "github.com/salver-ml/salver/internal/kernels/window"

// Near the left and the right border of a plane, neighbouring outputs of a depthwise
// convolution use different taps. Where a kernel is large and its plane is small most
// tiles have a single pixel, and wait for their sums. There rows are copied with
// zeros around, so that all pixels of a row use the same taps. With AVX-512, 768 channels with 7×7 kernels at 7² take
// 57 µs instead of 97, 128 with 31×31 at 14² 243 instead of 393.
type padded struct {
	grid    window.Grid // over copied rows
	outRows int         // of a chunk, at most
	inRows  int         // that are copied for them
}

// paddedBytes is the copied rows of the channel blocks that a chunk computes together,
// paddedPlane those of one block: they stay in a second-level cache.
const (
	paddedBytes = 64 << 10
	paddedPlane = 256 << 10
)

// aliasing is the distance at which addresses compete for the same lines of a first-level cache.
const aliasing = 4096

// padRows sets that for a depthwise plan over a plane if it pays, which the layer and its size decide.
func (pl *Plan) padRows() {
	g := pl.grid
	if len(pl.p.Kernel) == 3 {
		return
	}
	pitch := (g.W.Out-1)*g.W.Stride + (g.W.Kernel-1)*g.W.Dilation + 1
	aliased := g.H.Out > 1 && g.InRow%aliasing == 0 && g.W.Kernel > 8 // columns of pixels push each other out: 1×21 at 64² takes 1.4 times as long
	if aliased && pitch*g.InPx%aliasing == 0 {
		pitch++
	}
	g.W = window.Dim{In: pitch, Out: g.W.Out, Kernel: g.W.Kernel, Stride: g.W.Stride, Dilation: g.W.Dilation}
	g.Cols, g.InRow = g.W.Spans(), pitch*g.InPx
	copying := float64(g.H.In * pitch)
	if !aliased && pl.depthwiseCycles(&g)+copying > 0.85*pl.depthwiseCycles(&pl.grid) {
		return
	}
	halo := (g.H.Kernel - 1) * g.H.Dilation
	outRows := min((max(paddedPlane/g.InRow-halo, 2*halo)+g.H.Stride-1)/g.H.Stride, g.H.Out)
	pl.padded = &padded{grid: g, outRows: max(1, outRows)}
	pl.padded.inRows = min((pl.padded.outRows-1)*g.H.Stride+halo+1, g.H.In)
	pl.channelRun = min(max(1, paddedBytes/(pl.padded.inRows*g.InRow)), pl.packed.outBlocks)
}

// depthwiseCycles is a model of a plane of a block: a tile's sums take four cycles for each
// tap at least, and one for each pixel with AVX-512, half of one with AVX2.
func (pl *Plan) depthwiseCycles(g *window.Grid) (all float64) {
	const perTile = 15
	g.Tiles(len(pl.set.depthwise)-1, func(count, pixels, taps int) {
		perTap := float64(pixels+1) * float64(pl.block) / 16
		all += float64(count) * (float64(taps)*max(4, perTap) + perTile)
	})
	return all
}

// floats is the copied rows of so many channel blocks.
func (d *padded) floats(channels int) int { return channels * d.inRows * d.grid.InRow / 4 }

// copied copies the rows of a chunk, and gives the grid over them.
func (r *Runner) copied(t *window.Tile, a window.Area, in int, scratch []float32) window.Grid {
	pl := r.plan
	g := pl.padded.grid
	h, b := &g.H, pl.block
	first := min(max(h.First(a.R0), 0), h.In)
	last := max(first, min(h.First(a.R1-1)+(h.Kernel-1)*h.Dilation+1, h.In))
	left, width := pl.grid.W.Begin, pl.grid.W.In
	from := max(-left, 0)
	left = min(max(left, 0), g.W.In)
	n := max(0, min(width-from, g.W.In-left))
	rows := last - first
	for c := range t.Channels {
		plane := r.op.In[(in+c*t.InBlock)/4:][:h.In*width*b]
		for y := range rows {
			dst := scratch[(c*rows+y)*g.W.In*b:][:g.W.In*b]
			clear(dst[:left*b])
			copyRow(dst[left*b:(left+n)*b], plane[((first+y)*width+from)*b:])
			clear(dst[(left+n)*b:])
		}
	}
	t.InBlock = rows * g.InRow
	h.Begin += first
	return g
}

// copyRow copies as many numbers as dst has. Long rows go in pieces: longer copies go around the caches on some
// processors. Short ones, of which there are many, need no call.
func copyRow(dst, src []float32) {
	const most, line = 256, 16
	src = src[:len(dst)]
	for len(dst) > most {
		copy(dst[:most], src)
		dst, src = dst[most:], src[most:]
	}
	if len(dst) > 2*line || len(dst) < line {
		copy(dst, src)
		return
	}
	last := len(dst) - line
	for i := 0; i < last; i += line {
		*(*[line]float32)(dst[i:]) = *(*[line]float32)(src[i:])
	}
	*(*[line]float32)(dst[last:]) = *(*[line]float32)(src[last:])
}
