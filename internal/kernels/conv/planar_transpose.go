package conv

import (
	"math"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/pool"
)

// planarTranspose computes a transposed convolution of few output channels with the planar
// kernels: all phases on the same copy of the input's rows, then each phase's outputs go to
// their places, one by one. With AVX-512 64→3 with 4×4 kernels at 32² takes 131 µs instead of 186.
type planarTranspose struct {
	planar // how rows are copied: the padding is the largest of all phases
	phases []planarPhase
	act    Activation

	activate func(kind Kind, alpha float32, x []float32)
	size     [2]int // of the output
}

// planarPhase is a phase: its outputs, its taps, and how far its first input is from the first that is copied.
type planarPhase struct {
	planar
	y, x            int // the first output, the others are strides apart
	stepY, stepX    int
	offset, weights int // in floats
}

// planarOutputs is the most output channels of such a convolution.
const planarOutputs = 4

// planarFits says from the parameters alone whether that pays: every phase has a tap.
func (p TransposeParams) planarFits() bool {
	return len(p.Kernel) == 2 && p.Groups == 1 && p.Out <= planarOutputs && !p.BF16 && !p.Residual && product(p.Dilation) == 1 &&
		product(p.Stride) > 1 && p.Kernel[0] >= p.Stride[0] && p.Kernel[1] >= p.Stride[1]
}

func newPlanarTranspose(p TransposeParams, spatial, out []int, level cpu.Target) *planarTranspose {
	set := tileSetFor(level)
	all := planar{in: p.In, out: p.Out, kernels: set.planar, lanes: set.block, biasFloats: (p.Out + 15) &^ 15}
	high, wide := p.sides(0, spatial[0], out[0]), p.sides(1, spatial[1], out[1])
	all.h, all.w = spread(high), spread(wide)
	all.pitch = all.w.Out + all.w.Kernel - 1
	all.rows = min(max(1, planarBytes/4/(all.in*all.pitch)-all.halo()), all.h.Out)
	t := &planarTranspose{planar: all, act: p.Act, activate: set.activate, size: [2]int(out)}
	weights := all.biasFloats
	for _, y := range high {
		for _, x := range wide {
			ph := planarPhase{planar: all, y: y.place.first, x: x.place.first, stepY: y.place.step, stepX: x.place.step, weights: weights}
			ph.h, ph.w = y.dim, x.dim
			ph.offset = (all.h.Begin-y.dim.Begin)*all.pitch + all.w.Begin - x.dim.Begin
			weights += ph.perGroup()
			t.phases = append(t.phases, ph)
		}
	}
	return t
}

// spread is a dimension that has the inputs of all phases.
func spread(all []side) window.Dim {
	d := all[0].dim // has the most outputs
	last := d.Kernel - d.Begin
	for _, s := range all {
		d.Begin, last = max(d.Begin, s.dim.Begin), max(last, s.dim.Kernel-s.dim.Begin)
	}
	d.Kernel = d.Begin + last
	return d
}

func (t *planarTranspose) packedSize() int {
	last := t.phases[len(t.phases)-1]
	return last.weights + last.perGroup()
}

// packPhase writes a phase's weights, which are those of an ordinary convolution.
func (ph *planarPhase) packPhase(dst, w []float32) {
	only := ph.planar
	only.biasFloats = 0
	only.pack(dst[ph.weights:][:ph.perGroup()], w, nil)
}

// planarTransposeRun is a run; it is the task of its chunks.
type planarTransposeRun struct {
	*planarTranspose
	op   Operands
	rows int // of a chunk, of the phase with the most
	planarSlots
}

func (r *planarTransposeRun) run(p *pool.Pool, op Operands) {
	r.begin(p.Threads())
	r.op, r.rows = op, r.planar.chunkRows(op.N, p.Threads())
	p.RunFromEnds(op.N*blocks(r.h.Out, r.rows), r)
	r.op = Operands{}
	r.end()
}

// Do computes some rows of all phases of an image.
func (r *planarTransposeRun) Do(i int) {
	slot := <-r.free
	defer func() { r.free <- slot }()
	bands := blocks(r.h.Out, r.rows)
	image, y := i/bands, i%bands*r.rows
	rows := min(r.rows, r.h.Out-y)
	scratch := r.op.Scratch[slot*r.scratchPerThread():][:r.scratchPerThread()]
	in, piece := scratch[:r.inFloats()], scratch[r.inFloats():]
	inRows := rows + r.halo()
	r.copyRows(in, r.op.In[image*r.in*r.h.In*r.w.In:][:r.in*r.h.In*r.w.In], r.h.First(y), inRows)
	t := &r.tiles[slot]
	for k := range r.phases {
		ph := &r.phases[k]
		n := min(rows, ph.h.Out-y)
		if n <= 0 || ph.w.Out == 0 {
			continue
		}
		*t = planarTile{InChannel: inRows * r.pitch * 4, InRow: r.pitch * 4, InCol: 4, Channels: r.in, KH: ph.h.Kernel, KW: ph.w.Kernel,
			Lo: float32(math.Inf(-1)), Hi: float32(math.Inf(1))}
		if lo, hi, clamp := r.act.clamp(); clamp {
			t.Lo, t.Hi = lo, hi
		}
		pixels := (n-1)*r.pitch + ph.w.Out
		stride := pixels + r.slack()
		t.OutChannel = stride * 4
		taps := r.in * ph.h.Kernel * ph.w.Kernel
		ph.eachKernel(func(k *planarKernel, first int) {
			ph.compute(t, k, window.At(in, ph.offset*4), window.At(piece, 0), window.At(r.op.Weights, (ph.weights+first*taps)*4), window.At(r.op.Weights, first*4), pixels)
			for c := range k.channels {
				if r.act.after() {
					r.activate(r.act.Kind, r.act.Alpha, piece[c*stride:][:blocks(pixels, r.lanes)*r.lanes])
				}
				plane := r.op.Out[(image*r.out+first+c)*r.size[0]*r.size[1]:][:r.size[0]*r.size[1]]
				r.place(ph, plane, piece[c*stride:][:stride], y, n)
			}
		})
	}
}

// place moves n rows of a phase's channel to their places.
func (r *planarTransposeRun) place(ph *planarPhase, plane, piece []float32, y, n int) {
	for i := range n {
		row := plane[(ph.y+(y+i)*ph.stepY)*r.size[1]+ph.x:]
		for j, v := range piece[i*r.pitch:][:ph.w.Out] {
			row[j*ph.stepX] = v
		}
	}
}
