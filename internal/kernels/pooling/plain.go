package pooling

import (
	"math"

	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/window"
)

// plain pools an area of one plane (of one depth of a volume).
func (r *Runner) plain(c window.Chunk, plane int) {
	pl, g := r.plan, &r.plan.grid
	inPlane, outPlane := g.H.In*g.W.In, g.H.Out*g.W.Out
	in := r.in[plane*pl.depth.In*inPlane:][:pl.depth.In*inPlane]
	out := r.out[(plane*pl.depth.Out+c.Depth)*outPlane:][:outPlane]
	k0, k1 := pl.depth.Taps(c.Depth)
	depthTaps := k1 - k0
	if g.CountPadding {
		depthTaps = pl.depth.Padded(c.Depth)
	}
	for y := c.Area.R0; y < c.Area.R1; y++ {
		row := out[y*g.W.Out:][:g.W.Out]
		pl.start(row[c.Area.C0:c.Area.C1])
		for k := k0; k < k1; k++ {
			slice := in[(pl.depth.First(c.Depth)+k*pl.depth.Dilation)*inPlane:][:inPlane]
			y0, y1 := g.H.Taps(y)
			for ky := y0; ky < y1; ky++ {
				pl.addRow(row, slice[(g.H.First(y)+ky*g.H.Dilation)*g.W.In:][:g.W.In], c.Area)
			}
		}
		if pl.kind == Average {
			pl.divide(row, y, depthTaps, c.Area, nil)
		}
	}
}

func (pl *Plan) start(row []float32) {
	v := float32(0)
	if pl.kind == Max {
		v = float32(math.Inf(-1))
	}
	for i := range row {
		row[i] = v
	}
}

// addRow takes one input row into an output row.
func (pl *Plan) addRow(row, in []float32, a window.Area) {
	w := &pl.grid.W
	for _, s := range pl.grid.Cols {
		lo, hi := max(s.Lo, a.C0), min(s.Hi, a.C1)
		first := w.First(lo) + s.K0*w.Dilation
		switch {
		case lo >= hi || s.Taps() == 0:
		case hi-lo == 1:
			row[lo] = pl.fold(row[lo], in[first:], s.Taps(), w.Dilation)
		default:
			for k := range s.Taps() {
				pl.addStrided(row[lo:hi], in[first+k*w.Dilation:], w.Stride)
			}
		}
	}
}

// fold takes n inputs into one output.
func (pl *Plan) fold(v float32, in []float32, n, step int) float32 {
	if pl.kind == Average {
		for i := 0; i < n*step; i += step {
			v += in[i]
		}
		return v
	}
	for i := 0; i < n*step; i += step {
		v = max(v, in[i])
	}
	return v
}

// addStrided takes one tap into a run of outputs.
func (pl *Plan) addStrided(row, in []float32, stride int) {
	if pl.kind == Average {
		for i := range row {
			row[i] += in[i*stride]
		}
		return
	}
	for i, v := range row {
		row[i] = max(v, in[i*stride]) // a branch would be hard to predict
	}
}

// divide turns the sums of a row into averages; one, if not nil, is room for a divisor.
func (pl *Plan) divide(row []float32, y, depthTaps int, a window.Area, one []float32) {
	g := &pl.grid
	y0, y1 := g.H.Taps(y)
	rowTaps := y1 - y0
	if g.CountPadding {
		rowTaps = g.H.Padded(y)
	}
	for _, s := range g.Cols {
		n := s.Taps()
		if g.CountPadding {
			n = s.Padded
		}
		divisor := float32(max(n*rowTaps*depthTaps, 1))
		if lo, hi := max(s.Lo, a.C0), min(s.Hi, a.C1); one != nil && hi-lo >= 16 {
			one[0] = divisor
			elemwise.Row(elemwise.Div)(row[lo:hi], row[lo:hi], one, 1, 0)
		} else {
			for x := lo; x < hi; x++ {
				row[x] /= divisor
			}
		}
	}
}
