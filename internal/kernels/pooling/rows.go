package pooling

import (
	"math"
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/window"
)

// A rowFunc pools n windows of a row in plain layout: their taps lie at offsets, in bytes,
// from where the first window begins, which is start bytes after src and may be outside the
// input, though no tap is.
type rowFunc func(dst, src *float32, start int, offsets *int, taps, n int, divisor float32)

const (
	mostRowStride = 2       // for which there are kernels
	doublingTaps  = 12      // from which maxima are faster in bands
	callInputs    = 1 << 20 // that a call reads; it can't be preempted
)

// setRows lists the taps of windows, if there is a kernel for them.
func (pl *Plan) setRows(kernels [mostRowStride]rowFunc) {
	w, h, d := &pl.grid.W, &pl.grid.H, &pl.depth
	if w.Stride > mostRowStride || w.Out == 1 || kernels[0] == nil ||
		pl.kind == Max && pl.bandRows > 0 && h.Kernel*w.Kernel > doublingTaps {
		return
	}
	pl.row = kernels[w.Stride-1]
	for _, s := range pl.grid.Rows {
		var list []int
		for kd := range d.Kernel {
			for ky := s.K0; ky < s.K1; ky++ {
				for kx := range w.Kernel {
					list = append(list, 4*((kd*d.Dilation*h.In+ky*h.Dilation)*w.In+kx*w.Dilation))
				}
			}
		}
		pl.offsets = append(pl.offsets, list)
	}
	pl.bandRows = 0
}

// rows pools an area of one plane, of one depth of a volume.
func (r *Runner) rows(c window.Chunk, plane int) {
	pl, g := r.plan, &r.plan.grid
	inPlane, outPlane := g.H.In*g.W.In, g.H.Out*g.W.Out
	in := r.in[plane*pl.depth.In*inPlane:][:pl.depth.In*inPlane]
	out := r.out[(plane*pl.depth.Out+c.Depth)*outPlane:][:outPlane]
	k0, k1 := pl.depth.Taps(c.Depth)
	depthTaps := k1 - k0
	if g.CountPadding {
		depthTaps = pl.depth.Padded(c.Depth)
	}
	for i, s := range g.Rows {
		each := s.Taps() * g.W.Kernel // taps of a depth
		taps := pl.offsets[i][k0*each : k1*each]
		rowTaps := s.Taps()
		if g.CountPadding {
			rowTaps = s.Padded
		}
		for y := max(s.Lo, c.Area.R0); y < min(s.Hi, c.Area.R1); y++ {
			first := pl.depth.First(c.Depth)*inPlane + g.H.First(y)*g.W.In
			pl.pooledRow(out[y*g.W.Out:][:g.W.Out], in, first, taps, rowTaps*depthTaps, c.Area)
		}
	}
}

// pooledRow computes one row, whose first window begins at element first.
func (pl *Plan) pooledRow(row, in []float32, first int, taps []int, count int, a window.Area) {
	w := &pl.grid.W
	for _, s := range pl.grid.Cols {
		lo, hi := max(s.Lo, a.C0), min(s.Hi, a.C1)
		n := s.Taps()
		if pl.grid.CountPadding {
			n = s.Padded
		}
		divisor := float32(max(n*count, 1))
		if s.Taps() < w.Kernel || len(taps) == 0 {
			for x := lo; x < hi; x++ {
				row[x] = pl.window(in, first+w.First(x), taps, s.K0, s.K1, divisor)
			}
			continue
		}
		most := max(callInputs/len(taps), 1)
		for ; lo < hi; lo += most {
			pl.row(&row[lo], unsafe.SliceData(in), 4*(first+w.First(lo)), &taps[0], len(taps), min(most, hi-lo), divisor)
		}
	}
}

// window pools one window at the edge: columns k0 to k1 of each row of its taps.
func (pl *Plan) window(in []float32, first int, taps []int, k0, k1 int, divisor float32) float32 {
	v := float32(0)
	if pl.kind == Max {
		v = float32(math.Inf(-1))
	}
	for i := 0; i < len(taps); i += pl.grid.W.Kernel {
		for _, off := range taps[i+k0 : i+k1] {
			x := in[first+off/4]
			if pl.kind == Max {
				v = max(v, x)
			} else {
				v += x
			}
		}
	}
	if pl.kind == Average {
		v /= divisor
	}
	return v
}
