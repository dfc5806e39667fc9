package window

import "unsafe"

// Grid is the geometry of one output plane: where the input of each output
// pixel and its taps are. Distances are in bytes.
type Grid struct {
	H, W       Dim
	Rows, Cols []Span

	InRow, InPx   int // between neighbours in the input
	OutRow, OutPx int
	TapRow, Tap   int // weights of a row of taps, of one tap
	CI            int // contiguous inputs per tap; 0: a row of taps is contiguous

	CountPadding bool // the divisor of an average counts taps in the padding
	LinesPerCall int  // tiles that one call may compute, so that it stays short
	AlongLines   bool // the tiles of a line follow each other, not those of neighbouring lines at the same place
}

// NewGrid starts a grid; the caller sets the distances.
func NewGrid(h, w Dim) Grid {
	return Grid{H: h, W: w, Rows: h.Spans(), Cols: w.Spans()}
}

// Area is a part of the output plane: rows [R0,R1), columns [C0,C1).
type Area struct{ R0, R1, C0, C1 int }

// Offset is where an area begins in its plane.
func (g *Grid) Offset(a Area) int { return a.R0*g.OutRow + a.C0*g.OutPx }

// Planes are what a sweep reads and writes: the input of an image and group,
// the weights of the first output block, and where the area's first pixel is in
// its output and residual.
type Planes struct {
	In, Weights, Out, Residual unsafe.Pointer

	Images            int // above 1: as many images so far apart, tiles of which run along them
	ImageIn, ImageOut int
}

// Sweep computes an area. The fields of t that don't depend on the place are
// set.
func (g *Grid) Sweep(t *Tile, kernels []TileFunc, a Area, p Planes) {
	for _, r := range g.Rows {
		r.Lo, r.Hi = max(r.Lo, a.R0), min(r.Hi, a.R1)
		if r.Len() <= 0 {
			continue
		}
		for _, c := range g.Cols {
			c.Lo, c.Hi = max(c.Lo, a.C0), min(c.Hi, a.C1)
			if c.Len() > 0 {
				g.rect(t, kernels, r, c, p, (r.Lo-a.R0)*g.OutRow+(c.Lo-a.C0)*g.OutPx)
			}
		}
	}
}

// rect computes outputs that all use the same taps. The first is out bytes into
// the area.
func (g *Grid) rect(t *Tile, kernels []TileFunc, r, c Span, p Planes, out int) {
	blocks := t.Blocks
	g.setTaps(t, r, c)
	t.Weights = unsafe.Add(p.Weights, r.K0*g.TapRow+c.K0*g.Tap)
	t.Out, t.Residual = unsafe.Add(p.Out, out), p.Residual
	if p.Residual != nil {
		t.Residual = unsafe.Add(p.Residual, out)
	}
	most, rowIn := max(g.LinesPerCall, 1), g.H.Stride*g.InRow
	l := g.lines(r.Len(), c.Len(), len(kernels)-1)
	if p.Images > 1 {
		l = lines{c.Len(), p.Images, g.W.Stride * g.InPx, g.OutPx, p.ImageIn, p.ImageOut}
	}
	if t.In = p.In; r.Taps() == 0 || c.Taps() == 0 {
		t.Blocks = 0 // wholly in the padding: no input is read, and none may be pointed at
		l.inLine, l.inPixel, rowIn = 0, 0, 0
	} else {
		t.In = unsafe.Add(p.In, (g.H.First(r.Lo)+r.K0*g.H.Dilation)*g.InRow+(g.W.First(c.Lo)+c.K0*g.W.Dilation)*g.InPx)
	}
	switch {
	case p.Images > 1:
		l.repeat(t, kernels, most, r.Len(), rowIn, g.OutRow)
	case g.AlongLines:
		n := l.count
		l.count = 1
		l.repeat(t, kernels, most, n, l.inLine, l.outLine)
	default:
		l.compute(t, kernels, most)
	}
	t.Blocks = blocks
}

// lines is a rectangle as lines of pixels, in bytes from the first pixel.
type lines struct {
	count, pixels     int
	inLine, outLine   int
	inPixel, outPixel int
}

// lines runs along rows or, where this makes fewer tiles, columns.
func (g *Grid) lines(rows, cols, most int) lines {
	l := lines{rows, cols, g.H.Stride * g.InRow, g.OutRow, g.W.Stride * g.InPx, g.OutPx}
	if upright(rows, cols, most) {
		return lines{cols, rows, l.inPixel, l.outPixel, l.inLine, l.outLine}
	}
	return l
}

// compute splits each line into tiles of about equal length. One call computes
// up to most tiles: those of neighbouring lines at the same place, or for a
// single line those of equal length.
func (l *lines) compute(t *Tile, kernels []TileFunc, most int) {
	t.InPx, t.OutPx = l.inPixel, l.outPixel
	n := (l.pixels + len(kernels) - 2) / (len(kernels) - 1)
	short, long := l.pixels/n, l.pixels%n // the first `long` tiles have one pixel more
	if l.count == 1 {
		l.run(t, kernels, short+1, 0, long, most)
		l.run(t, kernels, short, long*(short+1), n-long, most)
		return
	}
	t.InLine, t.OutLine = l.inLine, l.outLine
	for k := range n {
		mr, at := short, k*short+min(k, long)
		if k < long {
			mr++
		}
		call(t, kernels[mr], at*l.inPixel, at*l.outPixel, l.count, most)
	}
}

// repeat computes the lines n times, each time some bytes further.
func (l *lines) repeat(t *Tile, kernels []TileFunc, most, n, in, out int) {
	in0, out0, residual0 := t.In, t.Out, t.Residual
	for i := range n {
		t.In, t.Out = unsafe.Add(in0, i*in), unsafe.Add(out0, i*out)
		if residual0 != nil {
			t.Residual = unsafe.Add(residual0, i*out)
		}
		l.compute(t, kernels, most)
	}
	t.In, t.Out, t.Residual = in0, out0, residual0
}

// Row computes a row of pixels at t's places; inPx and outPx are in bytes.
func Row(t *Tile, kernels []TileFunc, pixels, inPx, outPx, tilesPerCall int) {
	l := lines{count: 1, pixels: pixels, inPixel: inPx, outPixel: outPx}
	l.compute(t, kernels, max(tilesPerCall, 1))
}

// run computes n tiles of mr pixels that follow each other from pixel at.
func (l *lines) run(t *Tile, kernels []TileFunc, mr, at, n, most int) {
	if n > 0 {
		t.InLine, t.OutLine = mr*l.inPixel, mr*l.outPixel
		call(t, kernels[mr], at*l.inPixel, at*l.outPixel, n, most)
	}
}

// call runs a kernel over n lines, the first of which is some bytes beyond t's
// places.
func call(t *Tile, kernel TileFunc, in, out, n, most int) {
	in0, out0, residual0 := t.In, t.Out, t.Residual
	for done := 0; done < n; done += t.Lines {
		t.Lines = min(most, n-done)
		t.In = unsafe.Add(in0, in+done*t.InLine)
		o := out + done*t.OutLine
		t.Out = unsafe.Add(out0, o)
		if residual0 != nil {
			t.Residual = unsafe.Add(residual0, o)
		}
		kernel(t.Arg())
	}
	t.In, t.Out, t.Residual = in0, out0, residual0
}

// Tiles visits the tiles that a sweep of the whole plane makes with kernels of
// up to most pixels: count of them, of pixels each, over taps taps.
func (g *Grid) Tiles(most int, visit func(count, pixels, taps int)) {
	for _, r := range g.Rows {
		for _, c := range g.Cols {
			l, taps := g.lines(r.Len(), c.Len(), most), r.Taps()*c.Taps()
			n := (l.pixels + most - 1) / most
			visit(l.count*(l.pixels%n), l.pixels/n+1, taps)
			visit(l.count*(n-l.pixels%n), l.pixels/n, taps)
		}
	}
}

// setTaps sets the loops over the taps that are inside the input.
func (g *Grid) setTaps(t *Tile, r, c Span) {
	t.KH = r.Taps()
	t.KW, t.CI = c.Taps(), g.CI
	if g.CI == 0 {
		t.KW, t.CI = 1, c.Taps()
	}
	t.InKH, t.InKW = g.H.Dilation*g.InRow, g.W.Dilation*g.InPx
	t.SkipKH = (g.W.Kernel - c.Taps()) * g.Tap
	t.SkipIC = (g.H.Kernel - r.Taps()) * g.TapRow
	t.Divisor = float32(r.Taps() * c.Taps())
	if g.CountPadding {
		t.Divisor = float32(r.Padded * c.Padded)
	}
}

// upright is true where tiles run down the columns of an area: fewer tiles.
func upright(rows, cols, most int) bool {
	return cols*((rows+most-1)/most) < rows*((cols+most-1)/most)
}
