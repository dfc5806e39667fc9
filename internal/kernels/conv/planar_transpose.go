package conv

import (
	"math"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/pool"
)

// planarTranspose computes a transposed convolution of few output channels with the planar
// kernels: all phases of a depth on the same copy of the input's rows, those with the same taps as channels of one convolution; then the rows
// of phases along the width are joined. Where a single tap makes each output, nothing is copied.
type planarTranspose struct {
	planar // how rows are copied: the padding is the largest of all phases
	depths []planarDepth
	groups int
	act    Activation

	activate func(kind Kind, alpha float32, x []float32)
	size     [3]int   // of the output
	steps    [3]int   // from an output of a phase to the next: the phases along each dimension
	ends     [2][]int // the outputs of each phase along height and width
	inPlace  bool
}

// planarDepth is the phases of one depth: they see the same planes.
type planarDepth struct {
	d    window.Dim
	sets []planarSet
}

// planarSet is phases of the same taps, as the channels of one convolution: [height][width][channel].
type planarSet struct {
	planar
	first   int // of these channels among those of all phases
	phases  []phase
	offset  int // from the first input that is copied, in floats
	weights int // where those of the first group begin, in floats
}

// planarFits says from the parameters alone whether that pays: few outputs, and every phase has a tap.
func (p TransposeParams) planarFits(level cpu.Target) bool {
	b, r := Block(level), len(p.Kernel)
	in, out := p.In/p.Groups, p.Out/p.Groups
	if r < 2 || r > 3 || p.BF16 || p.Residual || product(p.Dilation) > 1 || product(p.Stride) == 1 ||
		p.Groups > 1 && (in == 1 && out == 1 || r == 2 && sharesBlocks(p.Params, b) || in%b == 0 && out%b == 0) {
		return false
	}
	for i, k := range p.Kernel {
		if k < p.Stride[i] {
			return false
		}
	}
	return 2*out <= b
}

func newPlanarTranspose(p TransposeParams, spatial, out []int, level cpu.Target) *planarTranspose {
	t := &planarTranspose{groups: p.Groups, act: p.Act, activate: forLevel(level).activate, size: [3]int{1, 1, 1}, steps: [3]int{1, 1, 1}}
	one := side{dim: window.Dim{In: 1, Out: 1, Kernel: 1, Stride: 1, Dilation: 1}, taps: progression{n: 1, step: 1}, place: place{1, 0, 1}}
	sides := [3][]side{{one}, {one}, {one}}
	skip := 3 - len(spatial)
	for i, in := range spatial {
		sides[skip+i] = p.sides(i, in, max(out[i], p.Stride[i])) // as many phases for every size
		t.size[skip+i], t.steps[skip+i] = out[i], p.Stride[i]
	}
	t.in, t.out = p.In/p.Groups, p.Out/p.Groups
	t.biasFloats = (p.Out*t.steps[1]*t.steps[2] + 15) &^ 15
	high, wide := sides[1], sides[2]
	for i, all := range [2][]side{high, wide} {
		for _, s := range all {
			t.ends[i] = append(t.ends[i], max(0, blocks(t.size[1+i]-s.place.first, t.steps[1+i])))
		}
	}
	deep := sides[0][0].dim
	for _, s := range sides[0] { // scratch is for those that see the most planes
		deep.Kernel = max(deep.Kernel, s.dim.Kernel)
	}
	t.lay([]window.Dim{deep, spread(high), spread(wide)}, t.out*len(high)*len(wide), level)
	weights := t.biasFloats
	for _, z := range sides[0] {
		d := planarDepth{d: z.dim}
		for y := 0; y < len(high); {
			xs := runs(wide)
			ys := 1
			if len(xs) == 1 {
				ys = sameTaps(high[y:])
			}
			at := 0
			for _, n := range xs {
				s := planarSet{planar: t.planar, first: (y*len(wide) + at) * t.out}
				s.d, s.h, s.w = z.dim, high[y].dim, wide[at].dim
				s.out = ys * n * t.out
				s.offset = (t.h.Begin-s.h.Begin)*t.pitch + t.w.Begin - s.w.Begin
				s.weights = weights
				weights += p.Groups * s.perGroup()
				for i := range ys {
					for j := range n {
						s.phases = append(s.phases, phase{taps: []progression{z.taps, high[y+i].taps, wide[at+j].taps}[skip:]})
					}
				}
				d.sets = append(d.sets, s)
				at += n
			}
			y += ys
		}
		t.depths = append(t.depths, d)
	}
	t.inPlace = true
	for _, d := range []window.Dim{t.d, t.h, t.w} {
		t.inPlace = t.inPlace && d.Kernel == 1 && d.Begin == 0 && d.Out == d.In
	}
	return t
}

// sameTaps is how many phases, from the first on, take the same inputs.
func sameTaps(all []side) int {
	n := 1
	for n < len(all) && all[n].dim.Kernel == all[0].dim.Kernel && all[n].dim.Begin == all[0].dim.Begin {
		n++
	}
	return n
}

// runs cuts phases into those of the same taps.
func runs(all []side) (lengths []int) {
	for len(all) > 0 {
		n := sameTaps(all)
		lengths = append(lengths, n)
		all = all[n:]
	}
	return lengths
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
	sets := t.depths[len(t.depths)-1].sets
	last := &sets[len(sets)-1]
	return last.weights + t.groups*last.perGroup()
}

// pack writes the biases of all phases' channels, group by group, and each set's weights as those of an ordinary convolution.
func (t *planarTranspose) pack(dst []float32, p TransposeParams, w, bias []float32) {
	clear(dst[:t.biasFloats])
	for i := range len(bias) * t.steps[1] * t.steps[2] {
		per := t.phaseOutputs()
		dst[i] = bias[i/per*t.out+i%per%t.out]
	}
	for _, d := range t.depths {
		for i := range d.sets {
			s := &d.sets[i]
			taps := s.taps()
			all := make([]float32, t.groups*s.perGroup())
			for k, ph := range s.phases {
				for at, from := 0, p.gather(ph.taps, w); at < p.Out; at += t.out {
					to := all[at/t.out*s.perGroup()+k*t.out*taps:]
					copy(to[:t.out*taps], from[at*taps:])
				}
			}
			only := s.planar
			only.biasFloats = 0
			only.pack(dst[s.weights:][:len(all)], all, nil)
		}
	}
}

// phaseOutputs is the channels of all phases of a depth, of a group.
func (t *planarTranspose) phaseOutputs() int { return t.out * t.steps[1] * t.steps[2] }

func (t *planarTranspose) pieceFloats() int {
	return t.phaseOutputs() * (t.rows*t.pitch + t.slack())
}

func (t *planarTranspose) scratchPerThread() int { return (t.inFloats() + t.pieceFloats() + 15) &^ 15 }

// planarTransposeRun is a run; it is the task of its chunks.
type planarTransposeRun struct {
	*planarTranspose
	op   Operands
	rows int // of a chunk, of the phase with the most
	planarSlots
}

func (r *planarTransposeRun) run(p *pool.Pool, op Operands) {
	r.begin(p.Threads())
	planes := op.N * r.groups * r.size[0]
	r.op, r.rows = op, r.planar.chunkRows(planes, p.Threads())
	p.RunFromEnds(planes*blocks(r.h.Out, r.rows), r)
	r.op = Operands{}
	r.end()
}

// Do computes some rows of all phases of a plane of outputs.
func (r *planarTransposeRun) Do(i int) {
	slot := <-r.free
	defer func() { r.free <- slot }()
	bands := blocks(r.h.Out, r.rows)
	plane, y := i/bands, i%bands*r.rows
	group, z := plane/r.size[0], plane%r.size[0] // group of an image
	rows := min(r.rows, r.h.Out-y)
	scratch := r.op.Scratch[slot*r.scratchPerThread():][:r.scratchPerThread()]
	piece := scratch[r.inFloats():]
	depth := &r.depths[z%r.steps[0]]
	src := r.op.In[group*r.inSize():][:r.inSize()]
	n := r.planar
	n.d = depth.d
	first := n.d.First(z / r.steps[0])

	t := &r.tiles[slot]
	*t = planarTile{InRow: r.pitch * 4, InCol: 4, Channels: n.planes(), Lo: float32(math.Inf(-1)), Hi: float32(math.Inf(1))}
	if lo, hi, clamp := r.act.clamp(); clamp {
		t.Lo, t.Hi = lo, hi
	}
	var in unsafe.Pointer
	if r.inPlace && rows*r.pitch >= r.lanes {
		in, t.InChannel = window.At(src, (first*n.h.In+y)*n.w.In*4), n.d.In*n.h.In*n.w.In*4
	} else {
		inRows := rows + r.halo()
		n.copyRows(scratch, src, first, n.h.First(y), inRows)
		in, t.InChannel = window.At(scratch, 0), inRows*r.pitch*4
	}
	stride := rows*r.pitch + r.slack()
	t.OutChannel = stride * 4
	g := group % r.groups
	for k := range depth.sets {
		s := &depth.sets[k]
		pixels := (rows-1)*r.pitch + s.w.Out
		t.KH, t.KW = s.h.Kernel, s.w.Kernel
		taps := s.taps()
		s.eachKernel(func(k *planarKernel, c int) {
			out := piece[(s.first+c)*stride:][:k.channels*stride]
			weights := s.weights + g*s.perGroup() + c*taps
			s.compute(t, k, unsafe.Add(in, s.offset*4), window.At(out, 0), window.At(r.op.Weights, weights*4), window.At(r.op.Weights, (g*r.phaseOutputs()+s.first+c)*4), pixels)
			if r.act.after() {
				for c := range k.channels {
					r.activate(r.act.Kind, r.act.Alpha, out[c*stride:][:blocks(pixels, r.lanes)*r.lanes])
				}
			}
		})
	}
	for c := range r.out {
		to := r.op.Out[((group*r.out+c)*r.size[0]+z)*r.size[1]*r.size[2]:][:r.size[1]*r.size[2]]
		r.place(to, piece[c*stride:], r.out*stride, y, rows)
	}
}

// place moves some rows of all phases of a channel to their places; step is from a phase to the next.
func (r *planarTransposeRun) place(plane, piece []float32, step, y, rows int) {
	for ph := range r.steps[1] {
		for i := range min(rows, r.ends[0][ph]-y) {
			row := plane[(ph+(y+i)*r.steps[1])*r.size[2]:][:r.size[2]]
			from := piece[ph*r.steps[2]*step+i*r.pitch:]
			x := 0
			for ; x+1 < r.steps[2]; x += 2 {
				a, b := from[x*step:][:r.ends[1][x]], from[(x+1)*step:][:r.ends[1][x+1]]
				zip(row[min(x, len(row)):], a, b, r.steps[2])
			}
			if x < r.steps[2] {
				for j, v := range from[x*step:][:r.ends[1][x]] {
					row[x+j*r.steps[2]] = v
				}
			}
		}
	}
}

// zip writes the numbers of a, and those of b, which has as many or one less, beside them, step apart.
func zip(dst, a, b []float32, step int) {
	if len(b) < len(a) {
		dst[len(b)*step] = a[len(b)]
		a = a[:len(b)]
	}
	if len(b) == 0 {
		return
	}
	dst = dst[:(len(b)-1)*step+2]
	p := unsafe.Pointer(unsafe.SliceData(dst))
	for i, v := range a {
		*(*[2]float32)(unsafe.Add(p, i*step*4)) = [2]float32{v, b[i]}
	}
}
