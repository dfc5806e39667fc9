package pooling

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/window"
)

// together is how many planes a planesFunc pools.
const together = 4

// A planesFunc pools the same rows of four planes in plain layout, with what a rowFunc
// takes for each row: it gets a planeRows, counts its rows down and moves to and start on.
type planesFunc func(p *byte)

// planeRows is what a planesFunc gets. Places and steps are in bytes: start is where the first
// window begins, and may be outside src.
type planeRows struct {
	dst, src           *float32
	to, start          int
	taps               *planeTap
	count              int
	first              int // column, in bytes from the row's begin
	columns, rows      int
	dstPlane, srcPlane int
	dstRow, srcRow     int
	divisors           *float32 // of the row
}

// planeTap is a tap's offset from its window, in bytes, and a word for each column of a row, 0 where
// the tap lies beside the input.
type planeTap struct {
	offset int
	inside *int32
}

// planesPlan is how four planes are pooled together, where they have neighbours: taps beside the
// input are read, and left out.
type planesPlan struct {
	kernel planesFunc   // nil: they are not
	taps   [][]planeTap // for each of grid.Rows
	room   int          // of floats, for a row's divisors
}

// longestVector is the number of floats in the largest register.
const longestVector = 16

// setPlanes plans it, for windows that rows are pooled of.
func (pl *Plan) setPlanes(kernels [mostRowStride]planesFunc) {
	w, h, d := &pl.grid.W, &pl.grid.H, &pl.depth
	// A tap beside the input is read from the planes before and after: no further away.
	before, after := -w.First(0), w.First(w.Out-1)+(w.Kernel-1)*w.Dilation+1-w.In
	if pl.channels < together || kernels[0] == nil || max(before, after) > product(pl.in) {
		return
	}
	p := planesPlan{kernel: kernels[w.Stride-1]}
	inside := make([][]int32, w.Kernel)
	for kx := range inside {
		words := make([]int32, w.Out+longestVector)
		for x := range w.Out {
			if at := w.First(x) + kx*w.Dilation; at >= 0 && at < w.In {
				words[x] = -1
			}
		}
		inside[kx] = words
	}
	for _, s := range pl.grid.Rows {
		var list []planeTap
		for kd := range d.Kernel {
			for ky := s.K0; ky < s.K1; ky++ {
				for kx := range w.Kernel {
					at := (kd*d.Dilation*h.In+ky*h.Dilation)*w.In + kx*w.Dilation
					list = append(list, planeTap{4 * at, &inside[kx][0]})
				}
			}
		}
		p.taps = append(p.taps, list)
	}
	if pl.kind == Average {
		p.room = w.Out
	}
	pl.byPlanes = p
	pl.run = min(max(pl.run, 2*together), pl.planes(1))
}

// planesOf pools an area of n planes, of one depth of volumes; room holds divisors behind
// what rows need, and p is for the calls.
func (r *Runner) planesOf(p *planeRows, c window.Chunk, first, n int, room []float32) {
	pl := r.plan
	lo, hi := first, first+n
	if pl.byPlanes.kernel != nil {
		// What is read beside the input has to be in the tensor.
		if pl.byRow.copies && lo == 0 {
			r.rows(c, lo, room)
			lo++
		}
		end := hi
		if pl.byRow.copies && hi*product(pl.in) == len(r.in) {
			end--
		}
		least := lo
		for ; end-lo >= together; lo += together {
			r.four(p, c, lo, room)
		}
		if lo < end && end-together >= least {
			r.four(p, c, end-together, room) // some once more
			lo = end
		}
	}
	for ; lo < hi; lo++ {
		r.rows(c, lo, room)
	}
}

// four pools an area of four planes.
func (r *Runner) four(p *planeRows, c window.Chunk, first int, room []float32) {
	pl, g, a := r.plan, &r.plan.grid, c.Area
	inPlane, outPlane := g.H.In*g.W.In, g.H.Out*g.W.Out
	in := r.in[first*pl.depth.In*inPlane:][:together*pl.depth.In*inPlane]
	out := r.out[first*pl.depth.Out*outPlane:][:together*pl.depth.Out*outPlane]
	k0, k1 := pl.depth.Taps(c.Depth)
	*p = planeRows{
		dst: &out[0], src: &in[0], first: 4 * a.C0, columns: a.C1 - a.C0,
		dstPlane: 4 * pl.depth.Out * outPlane, srcPlane: 4 * pl.depth.In * inPlane, dstRow: 4 * g.W.Out, srcRow: 4 * g.H.Stride * g.W.In,
	}
	divisors := room[len(room)-pl.byPlanes.room:]
	for i, s := range g.Rows {
		lo, hi := max(s.Lo, a.R0), min(s.Hi, a.R1)
		if lo >= hi {
			continue
		}
		each := s.Taps() * g.W.Kernel // taps of a depth
		taps := pl.byPlanes.taps[i][k0*each : k1*each]
		if len(taps) == 0 {
			for q := range together {
				for y := lo; y < hi; y++ {
					pl.start(out[(q*pl.depth.Out+c.Depth)*outPlane+y*g.W.Out:][a.C0:a.C1])
				}
			}
			continue
		}
		if pl.kind == Average {
			pl.setDivisors(divisors, pl.byRow.counts, s, c.Depth)
			p.divisors = &divisors[0]
		}
		p.taps, p.count = &taps[0], len(taps)
		for y := lo; y < hi; y += p.rows {
			p.rows = min(hi-y, max(callInputs/(together*len(taps)*p.columns), 1))
			p.to = 4 * (c.Depth*outPlane + y*g.W.Out + a.C0)
			p.start = 4 * (pl.depth.First(c.Depth)*inPlane + g.H.First(y)*g.W.In + g.W.First(a.C0))
			rows := p.rows
			pl.byPlanes.kernel((*byte)(unsafe.Pointer(p)))
			p.rows = rows
		}
	}
}

// setDivisors finds those of columns in rows of a span.
func (pl *Plan) setDivisors(divisors, counts []float32, s window.Span, depth int) {
	k0, k1 := pl.depth.Taps(depth)
	depthTaps, rowTaps := k1-k0, s.Taps()
	if pl.grid.CountPadding {
		depthTaps, rowTaps = pl.depth.Padded(depth), s.Padded
	}
	for j, n := range counts {
		divisors[j] = max(n*float32(rowTaps*depthTaps), 1)
	}
}
