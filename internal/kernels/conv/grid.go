package conv

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/window"
)

// grid is the geometry of one output plane: where the input of each output
// pixel and its taps are. Distances are in bytes.
type grid struct {
	h, w       window.Dim
	rows, cols []window.Span

	inRow, inPx   int // between neighbours in the input
	outRow, outPx int
	tapRow, tap   int // weights of a row of taps, of one tap
	ci            int // contiguous inputs per tap; 0: a row of taps is contiguous
}

func newGrid(h, w window.Dim) grid {
	return grid{h: h, w: w, rows: h.Spans(), cols: w.Spans()}
}

// area is a part of the output plane: rows [r0,r1), columns [c0,c1).
type area struct{ r0, r1, c0, c1 int }

// offset is where an area begins in its plane.
func (g *grid) offset(a area) int { return a.r0*g.outRow + a.c0*g.outPx }

// planes are what a sweep reads and writes: the input of an image and group,
// the weights of the first output block, and where the area's first pixel is in
// its output and residual.
type planes struct {
	in, weights, out, residual unsafe.Pointer
}

// kernels compute rectangles: tile by tile, or whole ones in one call.
type kernels struct {
	tiles []tileFunc
	whole tileFunc
}

// sweep computes an area. The fields of t that don't depend on the place are
// set.
func (g *grid) sweep(t *tile, k kernels, a area, p planes) {
	for _, r := range g.rows {
		r.Lo, r.Hi = max(r.Lo, a.r0), min(r.Hi, a.r1)
		if r.Len() <= 0 {
			continue
		}
		for _, c := range g.cols {
			c.Lo, c.Hi = max(c.Lo, a.c0), min(c.Hi, a.c1)
			if c.Len() > 0 {
				g.rect(t, k, r, c, p, (r.Lo-a.r0)*g.outRow+(c.Lo-a.c0)*g.outPx)
			}
		}
	}
}

// rect computes outputs that all use the same taps. The first is out bytes into
// the area.
func (g *grid) rect(t *tile, k kernels, r, c window.Span, p planes, out int) {
	blocks := t.blocks
	g.setTaps(t, r, c)
	t.weights = unsafe.Add(p.weights, r.K0*g.tapRow+c.K0*g.tap)
	t.out, t.residual = unsafe.Add(p.out, out), p.residual
	if p.residual != nil {
		t.residual = unsafe.Add(p.residual, out)
	}
	if t.in = p.in; r.Taps() == 0 || c.Taps() == 0 {
		t.blocks = 0 // wholly in the padding
	} else {
		t.in = unsafe.Add(p.in, (g.h.First(r.Lo)+r.K0*g.h.Dilation)*g.inRow+(g.w.First(c.Lo)+c.K0*g.w.Dilation)*g.inPx)
	}
	if k.whole != nil {
		l := g.lines(r.Len(), c.Len(), depthwisePixels)
		l.whole(t, k.whole)
	} else {
		l := g.lines(r.Len(), c.Len(), len(k.tiles)-1)
		l.tiles(t, k.tiles)
	}
	t.blocks = blocks
}

// depthwisePixels is the longest run of pixels that the depthwise kernels keep
// in registers.
const depthwisePixels = 8

// lines is a rectangle as lines of pixels, in bytes from the first pixel.
type lines struct {
	count, pixels     int
	inLine, outLine   int
	inPixel, outPixel int
}

// lines runs along rows or, where this makes fewer tiles, columns.
func (g *grid) lines(rows, cols, most int) lines {
	l := lines{rows, cols, g.h.Stride * g.inRow, g.outRow, g.w.Stride * g.inPx, g.outPx}
	if upright(rows, cols, most) {
		return lines{cols, rows, l.inPixel, l.outPixel, l.inLine, l.outLine}
	}
	return l
}

// whole is one call for all lines.
func (l *lines) whole(t *tile, f tileFunc) {
	t.inPx, t.outPx = l.inPixel, l.outPixel
	t.lines, t.pixels = l.count, l.pixels
	t.inLine, t.outLine = l.inLine, l.outLine
	f(t.arg())
}

// tiles splits each line into tiles of about equal length.
func (l *lines) tiles(t *tile, kernels []tileFunc) {
	t.inPx, t.outPx = l.inPixel, l.outPixel
	most := len(kernels) - 1
	n := (l.pixels + most - 1) / most
	short, long := l.pixels/n, l.pixels%n // the first `long` tiles have one pixel more
	in, out, residual := t.in, t.out, t.residual
	for i := range l.count {
		at := 0
		for k := range n {
			mr := short
			if k < long {
				mr++
			}
			t.in = unsafe.Add(in, i*l.inLine+at*l.inPixel)
			o := i*l.outLine + at*l.outPixel
			t.out = unsafe.Add(out, o)
			if residual != nil {
				t.residual = unsafe.Add(residual, o)
			}
			kernels[mr](t.arg())
			at += mr
		}
	}
}

// setTaps sets the loops over the taps that are inside the input.
func (g *grid) setTaps(t *tile, r, c window.Span) {
	t.kh = r.Taps()
	t.kw, t.ci = c.Taps(), g.ci
	if g.ci == 0 {
		t.kw, t.ci = 1, c.Taps()
	}
	t.inKH, t.inKW = g.h.Dilation*g.inRow, g.w.Dilation*g.inPx
	t.skipKH = (g.w.Kernel - c.Taps()) * g.tap
	t.skipIC = (g.h.Kernel - r.Taps()) * g.tapRow
}

// upright is true where tiles run down the columns of an area: fewer tiles.
func upright(rows, cols, most int) bool {
	return cols*((rows+most-1)/most) < rows*((cols+most-1)/most)
}
