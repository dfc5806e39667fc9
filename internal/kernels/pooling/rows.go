package pooling

import (
	"math"
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/window"
)

// A rowFunc pools n windows of a row in plain layout: their taps lie at offsets, in bytes,
// from where the first window begins, which is start bytes after src and may be outside it,
// though no tap is. Averages are sums divided by their columns' divisors.
type rowFunc func(dst, src *float32, start int, offsets *int, taps, n int, divisors *float32)

const (
	mostRowStride = 2       // for which there are kernels
	doublingTaps  = 12      // above which maxima are faster in bands of their own kind,
	planesTaps    = 32      // and above which with planes together
	callInputs    = 1 << 20 // that a call reads; it can't be preempted
	bandFloats    = 4 << 10 // of a copied band, about: it stays in the first cache
)

// rowPlan is how rows are pooled by kernels. Where windows begin or end beside the input,
// bands of it are copied with padding at their sides, so that all windows of a row have
// the same taps. Rows of the padding above and below are left out.
type rowPlan struct {
	kernel  rowFunc // nil: rows are pooled otherwise
	taps    [][]int // offsets, for each of grid.Rows
	counts  []float32
	copies  bool
	rows    int // of outputs in a band
	columns int
	pitch   int // floats from row to row of a copied band
	slice   int // floats from depth to depth
	room    int // floats that a thread needs
}

// setRows plans it, if there is a kernel for these windows.
func (pl *Plan) setRows(kernels [mostRowStride]rowFunc) {
	w, h, d := &pl.grid.W, &pl.grid.H, &pl.depth
	most := doublingTaps
	if pl.channels >= 2*together {
		most = planesTaps
	}
	if w.Stride > mostRowStride || w.Out == 1 || kernels[0] == nil ||
		pl.kind == Max && pl.bandRows > 0 && h.Kernel*w.Kernel > most {
		return
	}
	r := rowPlan{kernel: kernels[w.Stride-1], rows: h.Out, columns: w.Out, pitch: w.In, slice: h.In * w.In}
	for _, s := range pl.grid.Cols {
		r.copies = r.copies || s.Taps() < w.Kernel
	}
	if r.copies {
		for pl.columns(r.columns) > bandFloats && r.columns > 1 {
			r.columns = (r.columns + 1) / 2
		}
		r.pitch = pl.columns(r.columns)
		r.rows = min(max((bandFloats/(r.pitch*d.Kernel)-(h.Kernel-1)*h.Dilation-1)/h.Stride+1, 1), h.Out)
		r.slice = ((r.rows-1)*h.Stride + (h.Kernel-1)*h.Dilation + 1) * r.pitch
		r.room = d.Kernel * r.slice
	}
	for _, s := range pl.grid.Rows {
		var list []int
		for kd := range d.Kernel {
			for ky := s.K0; ky < s.K1; ky++ {
				for kx := range w.Kernel {
					depth := kd * r.slice
					if !r.copies {
						depth *= d.Dilation
					}
					list = append(list, 4*(depth+ky*h.Dilation*r.pitch+kx*w.Dilation))
				}
			}
		}
		r.taps = append(r.taps, list)
	}
	if pl.kind == Average {
		for _, s := range pl.grid.Cols {
			n := s.Taps()
			if pl.grid.CountPadding {
				n = s.Padded
			}
			for range s.Len() {
				r.counts = append(r.counts, float32(n))
			}
		}
		r.room += r.columns
	}
	pl.byRow, pl.bandRows = r, 0
}

// rows pools an area of one plane, of one depth of a volume.
func (r *Runner) rows(c window.Chunk, plane int, room []float32) {
	pl, g, by := r.plan, &r.plan.grid, &r.plan.byRow
	inPlane, outPlane := g.H.In*g.W.In, g.H.Out*g.W.Out
	in := r.in[plane*pl.depth.In*inPlane:][:pl.depth.In*inPlane]
	out := r.out[(plane*pl.depth.Out+c.Depth)*outPlane:][:outPlane]
	a := c.Area
	if !by.copies {
		b := rowBand{plan: pl, src: in, start: pl.depth.First(c.Depth)*inPlane + g.H.First(a.R0)*g.W.In, area: a, divisors: room}
		b.pool(out, c.Depth)
		return
	}
	for y := a.R0; y < a.R1; y += by.rows {
		for x := a.C0; x < a.C1; x += by.columns {
			part := window.Area{R0: y, R1: min(y+by.rows, a.R1), C0: x, C1: min(x+by.columns, a.C1)}
			b := rowBand{plan: pl, src: room[:pl.depth.Kernel*by.slice], area: part, divisors: room[pl.depth.Kernel*by.slice:]}
			b.fill(in, c.Depth)
			b.pool(out, c.Depth)
		}
	}
}

// A rowBand is outputs and where their windows are: the first begins at element start of src.
type rowBand struct {
	plan     *Plan
	src      []float32
	start    int
	area     window.Area
	divisors []float32 // room for them
}

// fill copies the rows of the input that the band needs. Sums begin at +0, which +0 as
// padding leaves as they are.
func (b *rowBand) fill(in []float32, depth int) {
	pl, h, w := b.plan, &b.plan.grid.H, &b.plan.grid.W
	pad := float32(0)
	if pl.kind == Max {
		pad = float32(math.Inf(-1))
	}
	x := w.First(b.area.C0)
	pitch := pl.byRow.pitch
	lo := min(max(-x, 0), pitch)
	hi := max(min(w.In-x, pitch), lo)
	y := h.First(b.area.R0)
	rows := (b.area.R1-b.area.R0-1)*h.Stride + (h.Kernel-1)*h.Dilation + 1
	k0, k1 := pl.depth.Taps(depth)
	for k := k0; k < k1; k++ {
		slice := in[(pl.depth.First(depth)+k*pl.depth.Dilation)*h.In*w.In:][:h.In*w.In]
		for v := max(0, -y); v < min(rows, h.In-y); v++ {
			row := b.src[k*pl.byRow.slice+v*pitch:][:pitch]
			set(row[:lo], pad)
			set(row[hi:], pad)
			if lo < hi {
				copy(row[lo:hi], slice[(y+v)*w.In+x+lo:])
			}
		}
	}
}

// pool computes the band's outputs.
func (b *rowBand) pool(out []float32, depth int) {
	pl, g, by, a := b.plan, &b.plan.grid, &b.plan.byRow, b.area
	k0, k1 := pl.depth.Taps(depth)
	depthTaps := k1 - k0
	if g.CountPadding {
		depthTaps = pl.depth.Padded(depth)
	}
	for i, s := range g.Rows {
		lo, hi := max(s.Lo, a.R0), min(s.Hi, a.R1)
		if lo >= hi {
			continue
		}
		rowTaps := s.Taps()
		if g.CountPadding {
			rowTaps = s.Padded
		}
		var divisors *float32
		if pl.kind == Average {
			for j, n := range by.counts[a.C0:a.C1] {
				b.divisors[j] = max(n*float32(rowTaps*depthTaps), 1)
			}
			divisors = &b.divisors[0]
		}
		each := s.Taps() * g.W.Kernel // taps of a depth
		taps := by.taps[i][k0*each : k1*each]
		for y := lo; y < hi; y++ {
			row := out[y*g.W.Out:][a.C0:a.C1]
			if len(taps) == 0 {
				pl.start(row)
				continue
			}
			first := b.start + (y-a.R0)*g.H.Stride*by.pitch
			if !by.copies {
				first += g.W.First(a.C0)
			}
			most := max(callInputs/len(taps), 1)
			for x := 0; x < len(row); x += most {
				by.kernel(&row[x], unsafe.SliceData(b.src), 4*(first+x*g.W.Stride), &taps[0], len(taps), min(most, len(row)-x), at(divisors, x))
			}
		}
	}
}

// at is element i from p, if there are any.
func at(p *float32, i int) *float32 {
	if p == nil {
		return nil
	}
	return (*float32)(unsafe.Add(unsafe.Pointer(p), 4*i))
}
