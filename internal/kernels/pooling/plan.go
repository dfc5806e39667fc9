package pooling

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/conv"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/pool"
)

// Plan is a pooling prepared for one input size, level and layout.
type Plan struct {
	kind     Kind
	channels int
	in, out  []int // spatial sizes
	block    int   // channels per vector; 1 in plain layout
	kernels  []window.TileFunc
	depth    window.Dim
	grid     window.Grid
	run      int // channel blocks, or planes, per chunk

	whole              bool // plain: a plane is one window
	bandRows, bandCols int  // plain: outputs of a dense band; 0: none

	byRow    rowPlan    // plain: by kernels for rows
	byPlanes planesPlan // and for rows of several planes
}

// New prepares a pooling. A blocked one has two spatial dimensions.
func New(p Params, channels int, spatial []int, level cpu.Target, blocked bool) (*Plan, error) {
	dims, err := p.Dims(spatial)
	if err != nil {
		return nil, err
	}
	if blocked && len(dims) != 2 {
		return nil, fmt.Errorf("pooling: blocked layout has 2 spatial dimensions, found %d", len(dims))
	}
	if len(dims) > 3 {
		return nil, fmt.Errorf("pooling: %d spatial dimensions, at most 3 are supported", len(dims))
	}
	one := window.Dim{In: 1, Out: 1, Kernel: 1, Stride: 1, Dilation: 1}
	padded := dims
	for len(padded) < 3 {
		padded = append([]window.Dim{one}, padded...)
	}
	pl := &Plan{kind: p.Kind, channels: channels, in: spatial, out: window.OutSizes(dims), block: 1, depth: padded[0]}
	pl.grid = window.NewGrid(padded[1], padded[2])
	pl.grid.CountPadding = p.CountIncludePad
	pl.grid.CI = 1
	if blocked {
		pl.block = conv.Block(level)
		pl.kernels = forLevel(level)[p.Kind].blocked
	}
	pl.setDistances()
	if !blocked {
		pl.setPlain(level)
	}
	return pl, nil
}

// chunkBytes is the input of the channel blocks of a chunk.
const chunkBytes = 128 << 10

// callTaps bounds the vectors that one call reads: it can't be preempted.
const callTaps = 100_000

func (pl *Plan) setDistances() {
	g := &pl.grid
	g.InPx, g.OutPx = pl.block*4, pl.block*4
	g.InRow, g.OutRow = g.W.In*g.InPx, g.W.Out*g.OutPx
	plane := g.H.In * g.InRow * pl.depth.In
	pl.run = min(max(1, chunkBytes/plane), pl.planes(1))
	g.LinesPerCall = max(1, callTaps/(pl.run*len(pl.kernels)*g.H.Kernel*g.W.Kernel+1))
}

// setPlain chooses how planes in plain layout are pooled.
func (pl *Plan) setPlain(level cpu.Target) {
	if pl.whole = pl.oneWindow(); pl.whole {
		pl.run = min((pl.run+chains-1)/chains*chains, pl.planes(1))
		return
	}
	pl.setDense()
	k := &forLevel(level)[pl.kind]
	if pl.setRows(k.rows); pl.byRow.kernel != nil {
		pl.setPlanes(k.planes)
	}
}

// planes is the number of planes, or of blocks of planes, of n images.
func (pl *Plan) planes(n int) int { return n * ((pl.channels + pl.block - 1) / pl.block) }

// OutSpatial is the spatial size of the output.
func (pl *Plan) OutSpatial() []int { return pl.out }

// InSize is the number of floats of an input of n images.
func (pl *Plan) InSize(n int) int { return pl.planes(n) * pl.block * product(pl.in) }

// OutSize is the number of floats of an output of n images.
func (pl *Plan) OutSize(n int) int { return pl.planes(n) * pl.block * product(pl.out) }

// Runner runs a plan, one run at a time.
type Runner struct {
	plan    *Plan
	in, out []float32
	cut     window.Cut
	tiles   []window.Tile  // one per chunk
	calls   []planeRows    // likewise
	rooms   chan []float32 // for bands, one per thread
}

// NewRunner makes a runner for one session.
func (pl *Plan) NewRunner() *Runner { return &Runner{plan: pl} }

// Run pools n images on the threads of p.
func (r *Runner) Run(p *pool.Pool, n int, in, out []float32) error {
	pl := r.plan
	if len(in) != pl.InSize(n) || len(out) != pl.OutSize(n) {
		return fmt.Errorf("pooling: input of %d and output of %d floats, expected %d and %d for %d images of %d channels, %v→%v",
			len(in), len(out), pl.InSize(n), pl.OutSize(n), n, pl.channels, pl.in, pl.out)
	}
	if n == 0 {
		return nil
	}
	r.in, r.out = in, out
	r.cut = window.NewCut(pl.work(n, p.Threads()))
	r.makeRooms(p.Threads())
	chunks := r.cut.Chunks()
	if len(r.tiles) < chunks {
		r.tiles, r.calls = make([]window.Tile, chunks), make([]planeRows, chunks)
	}
	p.RunFromEnds(chunks, r)
	r.in, r.out = nil, nil
	clear(r.tiles[:chunks]) // holds no buffer alive
	clear(r.calls[:chunks])
	return nil
}

// fewTaps is the work, in taps of outputs, below which threads cost more than they save.
const fewTaps = 48 << 10

func (pl *Plan) work(n, threads int) window.Work {
	g := &pl.grid
	if pl.planes(n)*pl.block*pl.depth.Out*pl.depth.Kernel*g.H.Out*g.H.Kernel*g.W.Out*g.W.Kernel < fewTaps {
		threads = 1
	}
	w := window.Work{
		Images: n, Depths: pl.depth.Out, Groups: (pl.planes(1) + pl.run - 1) / pl.run,
		Rows: g.H.Out, Cols: g.W.Out, LineBytes: pl.run * g.InRow * g.H.Stride, Least: 64, Threads: threads,
	}
	if w.Rows == 1 {
		w.LineBytes = pl.run * g.InPx * g.W.Stride * g.H.Kernel
	}
	return w
}

// Do computes chunk i.
func (r *Runner) Do(i int) {
	c := r.cut.At(i)
	first := c.Image*r.plan.planes(1) + c.Group*r.plan.run
	n := min(r.plan.run, r.plan.planes(1)-c.Group*r.plan.run)
	if r.plan.block > 1 {
		r.blocked(&r.tiles[i], c.Area, first, n)
		return
	}
	pl, inSize, outSize := r.plan, product(r.plan.in), product(r.plan.out)
	switch {
	case pl.whole && pl.kind == Max:
		maxima(r.out[first:first+n], r.in[first*inSize:(first+n)*inSize], n)
	case pl.whole:
		pl.averages(r.out[first:first+n], r.in[first*inSize:(first+n)*inSize], n)
	case pl.byRow.kernel != nil:
		var room []float32
		if pl.byRow.room+pl.byPlanes.room > 0 {
			room = <-r.rooms
			defer func() { r.rooms <- room }()
		}
		r.planesOf(&r.calls[i], c, first, n, room)
	case pl.bandRows > 0:
		room := <-r.rooms
		defer func() { r.rooms <- room }()
		for p := first; p < first+n; p++ {
			pl.denseArea(r.in[p*inSize:][:inSize], r.out[p*outSize:][:outSize], c.Area, room)
		}
	default:
		for p := first; p < first+n; p++ {
			r.plain(c, p)
		}
	}
}

// makeRooms sees to it that each thread finds a room.
func (r *Runner) makeRooms(threads int) {
	size := r.plan.byRow.room + r.plan.byPlanes.room
	if r.plan.bandRows > 0 {
		size = 2*r.plan.stored(r.plan.bandRows, r.plan.bandCols) + 1
	}
	if size == 0 || cap(r.rooms) >= threads {
		return
	}
	r.rooms = make(chan []float32, threads)
	for range threads {
		r.rooms <- make([]float32, size)
	}
}

// blocked pools an area of n blocks of planes.
func (r *Runner) blocked(t *window.Tile, a window.Area, first, n int) {
	g := &r.plan.grid
	t.Blocks, t.Channels = 1, n
	t.InBlock, t.OutBlock = g.H.In*g.InRow, g.H.Out*g.OutRow
	t.Lo = float32(math.Inf(-1))
	g.Sweep(t, r.plan.kernels, a, window.Planes{
		In:  window.At(r.in, first*t.InBlock),
		Out: window.At(r.out, first*t.OutBlock+g.Offset(a)),
	})
}
