package conv

import (
	"math"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/pool"
)

// Where a group has few channels, blocks of channels are mostly empty. The planar kernels
// have pixels in the lanes instead: a tile is some vectors of pixels of up to eight channels
// of plain output, and rows of the input lie beside each other with their padding, so
// that one long run of pixels covers several rows. What it computes between the rows is
// dropped. Where there is but one row, threads share its columns: on one core with AVX-512, six 8→8 of width 3 or 11 over
// 5888 pixels, three with a residual, take 196 and 510 µs, on two 115 and 300.

// planarTile is the argument of a planar kernel. Strides are in bytes. Assembly knows the
// offsets.
type planarTile struct {
	In, Weights, Bias, Out  unsafe.Pointer
	InChannel, InRow, InCol int
	Channels, KH, KW        int
	OutChannel              int
	Steps                   int // runs of the kernel's vectors, one after the other
	Lo, Hi                  float32

	_ [24]byte // threads write neighbouring tiles
}

// planarKernel computes some channels: wide several vectors of pixels in a step, narrow one.
type planarKernel struct {
	channels, vectors int
	wide, narrow      func(t *byte)
}

// planarFits reports whether a layer is computed by the planar kernels: stride 1 over the last two of two
// or three dimensions in float32, and outputs that leave half or more of a block empty, or groups that
// fill no whole blocks. A kernel of 1×1 does little beside bringing its input out of blocks, so
// there the input has to be small, too, and then it pays where a third of the outputs' blocks is empty. On one core with AVX-512, groups of 4 channels (3×3, 128 channels at 56²)
// take 446 µs instead of 1081, 64→3 at 128² 1150 instead of 2795, 8→8 at 128² 204 instead of 532.
func planarFits(p Params, level cpu.Target) bool {
	g, b, last := max(p.Groups, 1), Block(level), len(p.Kernel)-1
	if last < 1 || last > 2 || p.BF16 || atOr1(p.Stride, last-1) != 1 || atOr1(p.Stride, last) != 1 {
		return false
	}
	in, out := p.In/g, p.Out/g
	switch {
	case g > 1 && in == 1 && out == 1:
		return false
	case g > 1:
		if len(p.Kernel) == 2 && sharesBlocks(p, b) {
			return 2*in <= b
		}
		return in%b != 0 || out%b != 0
	case product(p.Kernel) == 1:
		return 2*max(in, out) <= b || in <= 3*b && out > b && 3*blocks(out, b)*b > 4*out
	}
	return 2*out <= b
}

// planar is how a plan uses them.
type planar struct {
	in, out    int // channels of a group
	d, h, w    window.Dim
	lead       int // zeros before the first row
	row        int // inputs of a row that are copied, from one on
	from       int
	pitch      int // of rows with their padding
	rows       int // of outputs, at most, that a thread computes at once
	cols       int // likewise; less than a row only where there is but one
	kernels    []planarKernel
	lanes      int
	biasFloats int
}

// planarBytes is the input with its padding that a thread works on: it stays in a second-level cache.
const planarBytes = 128 << 10

func newPlanar(p Params, dims []window.Dim, level cpu.Target) *planar {
	n := &planar{in: p.In / p.Groups, out: p.Out / p.Groups, biasFloats: (p.Out + 15) &^ 15}
	n.lay(dims, n.out, level)
	if n.h.Out == 1 {
		width := planarBytes / 4 / (max(n.planes(), n.out) * (1 + n.halo()))
		n.cols = min(n.cols, max(width-n.reach(), n.leastCols()))
	}
	return n
}

// lay decides how rows lie beside each other. Zeros between two of them are the padding of both: after the first, and before the second.
// pieces is the rows of results for each row of a channel.
func (n *planar) lay(dims []window.Dim, pieces int, level cpu.Target) {
	set := forLevel(level)
	n.kernels, n.lanes = set.planar, set.block
	n.d = window.Dim{In: 1, Out: 1, Kernel: 1, Stride: 1, Dilation: 1}
	if len(dims) == 3 {
		n.d = dims[0]
	}
	n.h, n.w = dims[len(dims)-2], dims[len(dims)-1]
	n.layRow()
	n.cols = n.w.Out
	n.rows = min(max(1, planarBytes/4/(max(n.planes(), pieces)*n.pitch)-n.halo()), n.h.Out)
}

// layRow decides how a row of the input lies between zeros.
func (n *planar) layRow() {
	width := n.w.Out + n.reach() // what a row of outputs sees
	n.lead, n.from = min(max(n.w.Begin, 0), width), min(max(-n.w.Begin, 0), n.w.In)
	n.row = min(n.w.In-n.from, width-n.lead)
	n.pitch = max(n.row+max(n.lead, width-n.lead-n.row), n.w.Out)
}

// part is a plan for some outputs of a row, from x on.
func (n *planar) part(x, cols int) planar {
	part := *n
	part.w.Begin -= x
	part.w.Out = cols
	part.layRow()
	return part
}

// planes is the planes of input that an output sees; to the kernels each is a channel.
func (n *planar) planes() int { return n.in * n.d.Kernel }

// taps is the products of an output.
func (n *planar) taps() int { return n.planes() * n.h.Kernel * n.w.Kernel }

// halo is the rows of input beyond one for each row of output.
func (n *planar) halo() int { return n.h.Dilation * (n.h.Kernel - 1) }

// reach is the columns of input beyond one for each column of output.
func (n *planar) reach() int { return n.w.Dilation * (n.w.Kernel - 1) }

// leastCols is the columns that pay for the input around them, which is copied for each part of a row.
func (n *planar) leastCols() int {
	step := n.kernels[0].vectors * n.lanes
	return blocks(max(2*n.reach(), 4*step), step) * step
}

// slack is what a last step may read or write beyond the pixels.
func (n *planar) slack() int { return n.lanes }

// inFloats is room for the input of the most rows and columns, with the zeros before and after them.
func (n *planar) inFloats() int {
	return n.planes()*(n.rows+n.halo())*n.mostPitch() + max(n.lead, min(n.cols+n.reach(), max(n.w.Begin, 0))) + n.slack()
}

func (n *planar) pieceFloats() int {
	return n.kernels[0].channels * (n.rows*n.mostPitch() + n.slack())
}

// mostPitch is the pitch of the widest part of a row.
func (n *planar) mostPitch() int {
	if n.cols < n.w.Out {
		return n.cols + n.reach()
	}
	return n.pitch
}

func (n *planar) scratchPerThread() int { return (n.inFloats() + n.pieceFloats() + 15) &^ 15 }

// eachKernel cuts a group's channels into runs, the longest first.
func (n *planar) eachKernel(visit func(k *planarKernel, first int)) {
	first := 0
	for i := range n.kernels {
		for k := &n.kernels[i]; n.out-first >= k.channels; first += k.channels {
			visit(k, first)
		}
	}
}

func (n *planar) perGroup() int { return n.taps() * n.out }

// pack writes the biases, then for each group and run of channels [input channel][depth][row][column][channel].
func (n *planar) pack(dst, w, bias []float32) {
	clear(dst[:n.biasFloats])
	copy(dst, bias)
	taps := n.taps()
	for g := range len(w) / n.perGroup() {
		at := n.biasFloats + g*n.perGroup()
		n.eachKernel(func(k *planarKernel, first int) {
			to, from := dst[at+first*taps:], w[(g*n.out+first)*taps:]
			for c := range k.channels {
				for i, v := range from[c*taps : (c+1)*taps] {
					to[i*k.channels+c] = v
				}
			}
		})
	}
}

// planarRun is a run of a plan's planar kernels; it is the task of its chunks.
type planarRun struct {
	plan *Plan
	op   Operands
	rows int // of a chunk
	cols int // likewise
	planarSlots
}

// planarSlots gives each thread of a run a slot: a part of the scratch, and a tile.
type planarSlots struct {
	free  chan int
	tiles []planarTile // by slot
}

// begin makes slots for so many threads.
func (s *planarSlots) begin(threads int) {
	if len(s.tiles) == threads {
		return
	}
	s.free, s.tiles = make(chan int, threads), make([]planarTile, threads)
	for i := range threads {
		s.free <- i
	}
}

// end keeps no buffer alive.
func (s *planarSlots) end() { clear(s.tiles) }

// planarChunks is how many chunks a thread has at least, if there are rows enough.
const planarChunks = 4

// chunkRows is the rows of a chunk of so many planes.
func (n *planar) chunkRows(planes, threads int) int {
	if threads == 1 {
		return n.rows
	}
	return min(n.rows, max(blocks(n.h.Out, blocks(threads*planarChunks, planes)), min(4, n.h.Out)))
}

// chunkCols is the columns of a chunk: all, but where so many planes of one row each are few for the threads.
func (n *planar) chunkCols(planes, threads int) int {
	if threads == 1 || n.h.Out > 1 {
		return n.cols
	}
	step := n.kernels[0].vectors * n.lanes
	cols := blocks(n.w.Out, blocks(threads*planarChunks, planes))
	return min(n.cols, max(blocks(cols, step)*step, n.leastCols()))
}

func (r *planarRun) run(p *pool.Pool, op Operands) {
	n := r.plan.planar
	r.begin(p.Threads())
	planes := op.N * r.plan.p.Groups * n.d.Out
	r.op, r.rows, r.cols = op, n.chunkRows(planes, p.Threads()), n.chunkCols(planes, p.Threads())
	p.RunFromEnds(planes*blocks(n.h.Out, r.rows)*blocks(n.w.Out, r.cols), r)
	r.op = Operands{}
	r.end()
}

// Do computes some rows of all channels of a group, or some columns of one row.
func (r *planarRun) Do(i int) {
	slot := <-r.free
	defer func() { r.free <- slot }()
	n, p := r.plan.planar, &r.plan.p
	bands, parts := blocks(n.h.Out, r.rows), blocks(n.w.Out, r.cols)
	plane, y, x := i/parts/bands, i/parts%bands*r.rows, i%parts*r.cols
	group, depth := plane/n.d.Out, plane%n.d.Out // group of an image
	rows, cols := min(r.rows, n.h.Out-y), min(r.cols, n.w.Out-x)
	if n.inPlace(p, rows*cols) {
		r.pointwise(&r.tiles[slot], group, y*n.w.Out+x, rows*cols)
		return
	}
	scratch := r.op.Scratch[slot*n.scratchPerThread():][:n.scratchPerThread()]
	in, piece := scratch[:n.inFloats()], scratch[n.inFloats():]
	whole := n.w.Out
	if parts > 1 {
		part := n.part(x, cols)
		n = &part
	}
	inRows := rows + n.halo()
	n.copyRows(in, r.op.In[group*n.inSize():][:n.inSize()], n.d.First(depth), n.h.First(y), inRows)

	t := &r.tiles[slot]
	*t = planarTile{
		InChannel: inRows * n.pitch * 4, InRow: n.h.Dilation * n.pitch * 4, InCol: n.w.Dilation * 4,
		Channels: n.planes(), KH: n.h.Kernel, KW: n.w.Kernel, Lo: float32(math.Inf(-1)), Hi: float32(math.Inf(1)),
	}
	if lo, hi, clamp := p.Act.clamp(); clamp && !p.Residual {
		t.Lo, t.Hi = lo, hi
	}
	pixels := (rows-1)*n.pitch + n.w.Out
	stride := pixels + n.slack()
	t.OutChannel = stride * 4
	g := group % p.Groups
	taps := n.taps()
	n.eachKernel(func(k *planarKernel, channel int) {
		weights := n.biasFloats + g*n.perGroup() + channel*taps
		n.compute(t, k, window.At(in, 0), window.At(piece, 0), window.At(r.op.Weights, weights*4), window.At(r.op.Weights, (g*n.out+channel)*4), pixels)
		for c := range k.channels {
			at := (((group*n.out+channel+c)*n.d.Out+depth)*n.h.Out+y)*whole + x
			r.finish(n, piece[c*stride:][:stride], at, rows)
		}
	})
}

// inPlace reports whether so many pixels are read and written where they are: with one tap there is nothing
// between them, and no padding. 17→17 channels at 56² take 20 µs instead of the 59 that blocks take with AVX-512.
func (n *planar) inPlace(p *Params, pixels int) bool {
	return len(p.Kernel) == 2 && isPointwise(*p) && !p.Residual && !p.Act.after() && pixels >= n.lanes
}

// pointwise computes some pixels of all channels of a group of an image.
func (r *planarRun) pointwise(t *planarTile, group, first, pixels int) {
	n, p := r.plan.planar, &r.plan.p
	plane := n.h.Out * n.w.Out
	*t = planarTile{InChannel: plane * 4, OutChannel: plane * 4, Channels: n.in, KH: 1, KW: 1, Lo: float32(math.Inf(-1)), Hi: float32(math.Inf(1))}
	if lo, hi, clamp := p.Act.clamp(); clamp {
		t.Lo, t.Hi = lo, hi
	}
	g := group % p.Groups
	in := window.At(r.op.In, (group*n.in*plane+first)*4)
	n.eachKernel(func(k *planarKernel, channel int) {
		weights := n.biasFloats + g*n.perGroup() + channel*n.in
		out := window.At(r.op.Out, ((group*n.out+channel)*plane+first)*4)
		n.compute(t, k, in, out, window.At(r.op.Weights, weights*4), window.At(r.op.Weights, (g*n.out+channel)*4), pixels)
	})
}

// compute runs a kernel over so many pixels. A last step that would go beyond them begins
// earlier, and computes some again; where few remain, these go one vector at a time.
func (n *planar) compute(t *planarTile, k *planarKernel, in, out, weights, bias unsafe.Pointer, pixels int) {
	t.Weights, t.Bias = weights, bias
	kernel, step := k.wide, k.vectors*n.lanes
	most := max(1, callCycles/(n.taps()*k.channels*k.vectors))
	for at := 0; at < pixels; {
		left := pixels - at
		if left < step && 8*blocks(left, n.lanes) <= k.channels*k.vectors || pixels < step {
			kernel, step = k.narrow, n.lanes
		}
		t.Steps = min(most, left/step)
		if t.Steps == 0 {
			at, t.Steps = max(0, pixels-step), 1
		}
		t.In, t.Out = unsafe.Add(in, at*4), unsafe.Add(out, at*4)
		kernel((*byte)(unsafe.Pointer(t)))
		at += t.Steps * step
	}
}

// inSize is the input of a group.
func (n *planar) inSize() int { return n.in * n.d.In * n.h.In * n.w.In }

// copyRows copies rows of all planes from depth z and row y on, with zeros around.
func (n *planar) copyRows(dst, src []float32, z, y, rows int) {
	clear(dst[:n.lead])
	dst = dst[n.lead:]
	area := n.h.In * n.w.In
	for c := range n.in {
		for k := range n.d.Kernel {
			at := z + k*n.d.Dilation
			first, last := min(max(0, -y), rows), max(min(rows, n.h.In-y), 0) // of those that exist
			if at < 0 || at >= n.d.In || first >= last {
				first, last = rows, rows
			}
			clear(dst[:first*n.pitch])
			clear(dst[last*n.pitch : rows*n.pitch])
			if first < last {
				plane := src[(c*n.d.In+at)*area:][:area]
				for r := first; r < last; r++ {
					row := dst[r*n.pitch:][:n.pitch]
					copyRow(row[:n.row], plane[(y+r)*n.w.In+n.from:])
					if gap := row[n.row:]; len(gap) == 1 { // the most frequent, without a call
						gap[0] = 0
					} else {
						clear(gap)
					}
				}
			}
			dst = dst[rows*n.pitch:]
		}
	}
	clear(dst[:n.slack()])
}

// finish writes rows of a channel, or columns of one, to the output from a place on, with the residual and what is
// left of the activation.
func (r *planarRun) finish(n *planar, piece []float32, at, rows int) {
	p, whole := &r.plan.p, r.plan.planar.w.Out
	add := elemwise.Row(elemwise.Add)
	if p.Act.after() {
		if p.Residual {
			for y := range rows {
				row := piece[y*n.pitch:][:n.w.Out]
				add(row, row, r.op.Residual[at+y*whole:][:n.w.Out], 1, 1)
			}
		}
		used := (rows-1)*n.pitch + n.w.Out
		r.plan.set.activate(p.Act.Kind, p.Act.Alpha, piece[:(used+n.lanes-1)/n.lanes*n.lanes])
	}
	lo, hi, clamp := p.Act.clamp()
	for y := range rows {
		from, to := piece[y*n.pitch:][:n.w.Out], r.op.Out[at+y*whole:][:n.w.Out]
		if !p.Residual || p.Act.after() {
			copy(to, from)
			continue
		}
		add(to, from, r.op.Residual[at+y*whole:][:n.w.Out], 1, 1)
		if clamp {
			elemwise.Float32(elemwise.Clip)(to, to, elemwise.Params{A: lo, B: hi})
		}
	}
}
