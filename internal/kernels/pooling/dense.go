package pooling

import (
	"math"

	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/reduce"
	"github.com/salver-ml/salver/internal/kernels/window"
)

// dense computes a band of outputs of a plane in plain layout. The input that the
// band needs is copied into a buffer with its padding, so that each tap is one
// long run of that buffer: a window begins at every column, and those that the
// stride leaves out are dropped in the end. Rows whose numbers have the same rest
// by the stride lie together, so that no row is computed in vain.
type dense struct {
	y0, y1, x0, x1 int // outputs
	pitch          int // of a row in the buffer
	rows           int // of one rest
	buf, other     []float32
	one            []float32 // a divisor
}

// denseFloats is the most room for a band; twice that stays in the first or
// second cache.
const denseFloats = 8 << 10

// denseWaste bounds the columns that are computed, against those that are kept.
const denseWaste = 8

// setDense sets the size of bands, if they pay.
func (pl *Plan) setDense() {
	h, w := &pl.grid.H, &pl.grid.W
	if pl.depth.In*pl.depth.Out*pl.depth.Kernel != 1 || w.Out == 1 || pl.columns(w.Out) > denseWaste*w.Out {
		return
	}
	cols := w.Out
	for pl.stored(1, cols) > denseFloats {
		cols = (cols + 1) / 2
		if cols == 1 {
			return
		}
	}
	rows := denseFloats/(h.Stride*pl.columns(cols)) - (h.Kernel-1)*h.Dilation/h.Stride
	pl.bandRows, pl.bandCols = min(max(rows, 1), h.Out), cols
}

// columns is the number of input columns of so many outputs.
func (pl *Plan) columns(outputs int) int {
	w := &pl.grid.W
	return (outputs-1)*w.Stride + (w.Kernel-1)*w.Dilation + 1
}

// stored is the number of floats in the buffer for so many outputs.
func (pl *Plan) stored(rows, cols int) int {
	h := &pl.grid.H
	return h.Stride * (rows + (h.Kernel-1)*h.Dilation/h.Stride) * pl.columns(cols)
}

// denseArea pools an area of a plane, band by band.
func (pl *Plan) denseArea(in, out []float32, a window.Area, room []float32) {
	for y := a.R0; y < a.R1; y += pl.bandRows {
		for x := a.C0; x < a.C1; x += pl.bandCols {
			b := dense{y0: y, y1: min(y+pl.bandRows, a.R1), x0: x, x1: min(x+pl.bandCols, a.C1)}
			b.pitch = pl.columns(b.x1 - b.x0)
			n := pl.stored(b.y1-b.y0, b.x1-b.x0)
			b.rows = n / b.pitch / pl.grid.H.Stride
			half := len(room) / 2
			b.buf, b.other, b.one = room[:n], room[half:][:n], room[2*half:]
			b.fill(pl, in)
			if pl.kind == Max {
				b.maximum(pl)
			} else {
				b.sum(pl)
			}
			b.store(pl, out)
		}
	}
}

var zero = []float32{0}

// fill copies the input. Sums begin at +0, which +0 as padding and +0 for -0
// leave as they are.
func (b *dense) fill(pl *Plan, in []float32) {
	h, w := &pl.grid.H, &pl.grid.W
	pad := float32(0)
	if pl.kind == Max {
		pad = float32(math.Inf(-1))
	}
	add := elemwise.Row(elemwise.Add)
	y, x := h.First(b.y0), w.First(b.x0)
	lo := min(max(-x, 0), b.pitch)
	hi := max(min(w.In-x, b.pitch), lo)
	for v := range (b.y1-b.y0-1)*h.Stride + (h.Kernel-1)*h.Dilation + 1 {
		row := b.buf[(v%h.Stride*b.rows+v/h.Stride)*b.pitch:][:b.pitch]
		if y+v < 0 || y+v >= h.In || lo == hi {
			set(row, pad)
			continue
		}
		set(row[:lo], pad)
		set(row[hi:], pad)
		from := in[(y+v)*w.In+x+lo:][:hi-lo]
		if pl.kind == Max {
			copy(row[lo:hi], from)
		} else {
			add(row[lo:hi], from, zero, 1, 0)
		}
	}
}

func set(row []float32, v float32) {
	for i := range row {
		row[i] = v
	}
}

// tap is where the runs of a tap begin in the buffer.
func (b *dense) tap(pl *Plan, ky, kx int) []float32 {
	h := &pl.grid.H
	v := ky * h.Dilation
	return b.buf[(v%h.Stride*b.rows+v/h.Stride)*b.pitch+kx*pl.grid.W.Dilation:]
}

// reached is the length of a run: up to the last output's column in the last row.
func (b *dense) reached(pl *Plan) int {
	return (b.y1-b.y0-1)*b.pitch + (b.x1-b.x0-1)*pl.grid.W.Stride + 1
}

// maximum leaves the maxima in buf: first along the rows, where twice as many taps
// are taken in at each step, then down the columns.
func (b *dense) maximum(pl *Plan) {
	h, w := &pl.grid.H, &pl.grid.W
	larger := elemwise.Row(elemwise.Max)
	for taps := 1; taps < w.Kernel; {
		step := min(taps, w.Kernel-taps)
		shift := step * w.Dilation
		larger(b.other[:len(b.buf)-shift], b.buf, b.buf[shift:], 1, 1)
		b.buf, b.other = b.other, b.buf
		taps += step
	}
	if h.Kernel == 1 {
		return
	}
	acc := b.other[:b.reached(pl)]
	larger(acc, b.tap(pl, 0, 0), b.tap(pl, 1, 0), 1, 1)
	for ky := 2; ky < h.Kernel; ky++ {
		larger(acc, acc, b.tap(pl, ky, 0), 1, 1)
	}
	b.buf = b.other
}

// sum leaves the sums in buf, of taps in order.
func (b *dense) sum(pl *Plan) {
	add := elemwise.Row(elemwise.Add)
	acc := b.other[:b.reached(pl)]
	sum := b.tap(pl, 0, 0)
	for k := 1; k < pl.grid.H.Kernel*pl.grid.W.Kernel; k++ {
		add(acc, sum, b.tap(pl, k/pl.grid.W.Kernel, k%pl.grid.W.Kernel), 1, 1)
		sum = acc
	}
	b.buf = sum
}

// store gives each output its column.
func (b *dense) store(pl *Plan, out []float32) {
	w := &pl.grid.W
	for y := b.y0; y < b.y1; y++ {
		row := out[y*w.Out:][:w.Out]
		to, from := row[b.x0:b.x1], b.buf[(y-b.y0)*b.pitch:]
		if w.Stride == 1 {
			copy(to, from)
		} else {
			every(to, from, w.Stride)
		}
		if pl.kind == Average {
			pl.divide(row, y, 1, window.Area{C0: b.x0, C1: b.x1}, b.one)
		}
	}
}

// every takes every stride-th element.
func every(dst, src []float32, stride int) {
	if stride == 2 {
		for len(dst) >= 4 && len(src) >= 8 {
			dst[0], dst[1], dst[2], dst[3] = src[0], src[2], src[4], src[6]
			dst, src = dst[4:], src[8:]
		}
	}
	for i := range dst {
		dst[i] = src[i*stride]
	}
}

// chains is how many sums are computed beside each other: one would wait for each addition.
const chains = 8

// averages pools n planes each of which is one window.
func (pl *Plan) averages(out, in []float32, n int) {
	size := len(in) / n
	divisor := float32(size)
	for ; n >= chains; n -= chains {
		p0, p1, p2, p3 := in[:size], in[size:][:size], in[2*size:][:size], in[3*size:][:size]
		p4, p5, p6, p7 := in[4*size:][:size], in[5*size:][:size], in[6*size:][:size], in[7*size:][:size]
		var s0, s1, s2, s3, s4, s5, s6, s7 float32
		for i := range size {
			s0 += p0[i]
			s1 += p1[i]
			s2 += p2[i]
			s3 += p3[i]
			s4 += p4[i]
			s5 += p5[i]
			s6 += p6[i]
			s7 += p7[i]
		}
		for i, v := range [chains]float32{s0, s1, s2, s3, s4, s5, s6, s7} {
			out[i] = v / divisor
		}
		out, in = out[chains:], in[chains*size:]
	}
	for i := range n {
		out[i] = pl.fold(0, in[i*size:][:size], size, 1) / divisor
	}
}

// pieceOfMaximum is how many elements a call takes at most.
const pieceOfMaximum = 4096

// maxima takes the largest of each of n planes.
func maxima(out, in []float32, n int) {
	size := len(in) / n
	for i := range out[:n] {
		plane := in[i*size:][:size]
		most := float32(math.Inf(-1))
		for len(plane) > 0 {
			m := min(pieceOfMaximum, len(plane))
			most = max(most, reduce.Extremum(plane[:m], false))
			plane = plane[m:]
		}
		out[i] = most
	}
}

// oneWindow is true for planes that are one window each.
func (pl *Plan) oneWindow() bool {
	for _, d := range []*window.Dim{&pl.depth, &pl.grid.H, &pl.grid.W} {
		if d.Out != 1 || d.Kernel != d.In || d.Dilation != 1 || d.Begin != 0 {
			return false
		}
	}
	return true
}
