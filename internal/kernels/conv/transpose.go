package conv

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/pool"
)

// TransposeParams is the geometry of a transposed convolution in ONNX's terms;
// see Params. Weights are [In, Out/Groups, kernel…].
type TransposeParams struct {
	Params
	OutputPadding []int // nil means zeros
}

func (p TransposeParams) normalize() (TransposeParams, error) {
	var err error
	if p.Params, err = p.Params.normalize(); err != nil {
		return p, err
	}
	r := len(p.Kernel)
	if p.OutputPadding == nil {
		p.OutputPadding = make([]int, r)
	}
	if len(p.OutputPadding) != r || slices.Min(p.OutputPadding) < 0 || slices.Max(p.OutputPadding) > maxSide {
		return p, fmt.Errorf("conv: output padding %v, expected %d numbers from 0 to %d", p.OutputPadding, r, maxSide)
	}
	return p, nil
}

// OutSpatial is the spatial size of the output for an input's.
func (p TransposeParams) OutSpatial(spatial []int) ([]int, error) {
	p, err := p.normalize()
	if err != nil {
		return nil, err
	}
	r := len(p.Kernel)
	if len(spatial) != r {
		return nil, fmt.Errorf("conv: input has %d spatial dimensions %v, kernel %v has %d", len(spatial), spatial, p.Kernel, r)
	}
	out := make([]int, r)
	for i, in := range spatial {
		out[i] = (in-1)*p.Stride[i] + p.Dilation[i]*(p.Kernel[i]-1) + 1 + p.OutputPadding[i] - p.Pads[i] - p.Pads[r+i]
		if in > maxSide || out[i] > maxSide {
			return nil, fmt.Errorf("conv: spatial dimension %d is %d with an output of %d, at most %d is supported", i, in, out[i], maxSide)
		}
		if in < 1 || out[i] < 1 {
			return nil, fmt.Errorf("conv: spatial dimension %d of the input is %d, pads %d+%d leave nothing of its output", i, in, p.Pads[i], p.Pads[r+i])
		}
	}
	return out, nil
}

// TransposePlan is a transposed convolution prepared for one input size and
// level. Outputs whose positions are alike modulo the stride form a phase: an
// ordinary convolution of the input with every stride-th tap, which the
// kernels of Plan compute straight into the phase's places.
type TransposePlan struct {
	p      TransposeParams
	out    []int
	phases []phase
	joined *joined          // computes all phases at once, or nil
	planar *planarTranspose // likewise, with pixels in the lanes
}

type phase struct {
	plan *Plan
	taps []progression // along each dimension
}

// progression is taps of the transposed kernel, in the order of the phase's own.
type progression struct{ first, step, n int }

// NewTranspose prepares a transposed convolution of an input with the given
// spatial sizes.
func NewTranspose(p TransposeParams, spatial []int, level cpu.Target) (*TransposePlan, error) {
	p, err := p.normalize()
	if err != nil {
		return nil, err
	}
	out, err := p.OutSpatial(spatial)
	if err != nil {
		return nil, err
	}
	t := &TransposePlan{p: p, out: out}
	sides := make([][]side, len(out))
	for i, in := range spatial {
		sides[i] = p.sides(i, in, out[i])
	}
	err = eachCombination(sides, func(s []side) error {
		ph, err := p.phase(s, level)
		t.phases = append(t.phases, ph)
		return err
	})
	if err == nil && p.planarFits(level) {
		t.planar = newPlanarTranspose(p, spatial, out, level)
	} else if err == nil {
		t.joined, err = p.join(spatial, out, level)
	}
	return t, err
}

// side is a phase along one dimension.
type side struct {
	dim   window.Dim
	taps  progression
	place place
}

// sides splits dimension i. Output o takes input (o+pad-k·dilation)/stride for
// the taps k where that divides.
func (p TransposeParams) sides(i, in, out int) []side {
	stride, dilation, pad := p.Stride[i], p.Dilation[i], p.Pads[i]
	g := gcd(stride, dilation)
	var all []side
	for first := range min(stride, out) {
		s := side{place: place{out, first, stride}}
		s.dim = window.Dim{In: in, Out: (out - first + stride - 1) / stride, Kernel: 1, Stride: 1, Dilation: dilation / g}
		s.dim.Begin = s.dim.Out // all outputs before the input, if no tap divides
		for k := range min(stride/g, p.Kernel[i]) {
			if (first+pad-k*dilation)%stride != 0 {
				continue
			}
			n := (p.Kernel[i] - k + stride/g - 1) / (stride / g)
			s.taps = progression{k + (n-1)*(stride/g), -stride / g, n} // the last reads the first input
			s.dim.Kernel = n
			s.dim.Begin = (n-1)*s.dim.Dilation - (first+pad-k*dilation)/stride
		}
		all = append(all, s)
	}
	return all
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// eachCombination calls f with one side of each dimension.
func eachCombination(sides [][]side, f func([]side) error) error {
	pick := make([]side, len(sides))
	var walk func(d int) error
	walk = func(d int) error {
		if d == len(sides) {
			return f(pick)
		}
		for _, s := range sides[d] {
			pick[d] = s
			if err := walk(d + 1); err != nil {
				return err
			}
		}
		return nil
	}
	return walk(0)
}

// phase prepares the convolution of one combination of sides.
func (p TransposeParams) phase(sides []side, level cpu.Target) (phase, error) {
	sub := p.Params
	sub.Kernel, sub.Stride, sub.Dilation, sub.Pads = nil, nil, nil, nil
	var ph phase
	var dims []window.Dim
	var places []place
	for _, s := range sides {
		dims, places = append(dims, s.dim), append(places, s.place)
		ph.taps = append(ph.taps, s.taps)
		sub.Kernel, sub.Stride, sub.Dilation = append(sub.Kernel, s.dim.Kernel), append(sub.Stride, 1), append(sub.Dilation, s.dim.Dilation)
	}
	sub.Pads = make([]int, 2*len(sides))
	var err error
	ph.plan, err = newPlan(sub, p.algorithm(level), dims, level, places)
	return ph, err
}

// algorithm is the one of all phases, so that they agree on the layout.
func (p TransposeParams) algorithm(level cpu.Target) Algorithm {
	b, g := Block(level), p.Groups
	switch {
	case p.planarFits(level) || len(p.Kernel) != 2 || p.Act.after() && product(p.Stride) > 1:
		return Plain // the pass for the activation wants whole rows
	case g > 1 && g == p.In && g == p.Out:
		return Depthwise
	case g > 1 && (p.In/g%b != 0 || p.Out/g%b != 0) && !sharesBlocks(p.Params, b):
		return Plain
	}
	return Direct
}

// Algorithm says how the plan computes.
func (t *TransposePlan) Algorithm() Algorithm { return t.phases[0].plan.algorithm }

// OutSpatial is the spatial size of the output.
func (t *TransposePlan) OutSpatial() []int { return t.out }

// InSize is the number of floats of an input of n images.
func (t *TransposePlan) InSize(n int) int { return t.phases[0].plan.InSize(n) }

// OutSize is the number of floats of the output and the residual.
func (t *TransposePlan) OutSize(n int) int { return t.phases[0].plan.OutSize(n) }

// ScratchSize is the number of floats of scratch for a number of threads.
func (t *TransposePlan) ScratchSize(threads int) int {
	if j := t.joined; j != nil {
		return j.plan.OutSize(1) + j.plan.ScratchSize(threads)
	}
	if t.planar != nil {
		return threads * t.planar.scratchPerThread()
	}
	most := 0
	for _, ph := range t.phases {
		most = max(most, ph.plan.ScratchSize(threads))
	}
	return most
}

// FLOPs counts a multiplication and an addition for every tap.
func (t *TransposePlan) FLOPs(n int) int {
	all := 0
	for _, ph := range t.phases {
		all += ph.plan.FLOPs(n)
	}
	return all
}

// PackedSize is the number of floats that Pack writes.
func (t *TransposePlan) PackedSize() int {
	if t.joined != nil {
		return t.joined.plan.PackedSize()
	}
	if t.planar != nil {
		return t.planar.packedSize()
	}
	n := 0
	for _, ph := range t.phases {
		n += ph.plan.PackedSize()
	}
	return n
}

// Pack writes weights [In, Out/Groups, kernel…] and bias [Out] (or nil) into
// dst, phase by phase.
func (t *TransposePlan) Pack(dst, weights, bias []float32) error {
	if len(dst) != t.PackedSize() {
		return fmt.Errorf("conv: packed weights need %d floats, the buffer has %d", t.PackedSize(), len(dst))
	}
	if want := t.p.In * (t.p.Out / t.p.Groups) * product(t.p.Kernel); len(weights) != want {
		return fmt.Errorf("conv: expected %d weights for a transposed convolution of %d→%d channels, groups %d, kernel %v, found %d",
			want, t.p.In, t.p.Out, t.p.Groups, t.p.Kernel, len(weights))
	}
	if t.joined != nil {
		return t.joined.pack(dst, t.p, weights, bias)
	}
	if t.planar != nil {
		t.planar.pack(dst, t.p, weights, bias)
		return nil
	}
	for _, ph := range t.phases {
		n := ph.plan.PackedSize()
		if err := ph.plan.Pack(dst[:n], t.p.gather(ph.taps, weights), bias); err != nil {
			return err
		}
		dst = dst[n:]
	}
	return nil
}

// gather gives a phase's taps as weights [Out, In/Groups, taps…]; a dimension
// without taps has one of zeros.
func (p TransposeParams) gather(taps []progression, w []float32) []float32 {
	size := 1
	for _, t := range taps {
		size *= max(t.n, 1)
	}
	in, out, kernel := p.In/p.Groups, p.Out/p.Groups, product(p.Kernel)
	all := make([]float32, p.Out*in*size)
	for o := range p.Out {
		for c := range in {
			src := w[((o/out*in+c)*out+o%out)*kernel:][:kernel]
			dst := all[(o*in+c)*size:][:size]
			for i := range dst {
				if at, ok := p.tapAt(taps, i); ok {
					dst[i] = src[at]
				}
			}
		}
	}
	return all
}

// tapAt gives the place in the kernel of tap i of a phase.
func (p TransposeParams) tapAt(taps []progression, i int) (at int, ok bool) {
	scale := 1
	for d := len(taps) - 1; d >= 0; d-- {
		t := taps[d]
		if t.n == 0 {
			return 0, false
		}
		at += (t.first + i%t.n*t.step) * scale
		i /= t.n
		scale *= p.Kernel[d]
	}
	return at, true
}

// TransposeRunner runs a TransposePlan, one run at a time.
type TransposeRunner struct {
	plan   *TransposePlan
	runs   []*Runner
	joined *joinedRunner // instead of them, or nil
	planar *planarTransposeRun
}

// NewRunner makes a runner for one session.
func (t *TransposePlan) NewRunner() *TransposeRunner {
	r := &TransposeRunner{plan: t}
	if t.joined != nil {
		r.joined = t.newJoinedRunner()
		return r
	}
	if t.planar != nil {
		r.planar = &planarTransposeRun{planarTranspose: t.planar}
		return r
	}
	for _, ph := range t.phases {
		r.runs = append(r.runs, ph.plan.NewRunner())
	}
	return r
}

// Run computes op on the threads of p.
func (r *TransposeRunner) Run(p *pool.Pool, op Operands) error {
	if want := r.plan.PackedSize(); len(op.Weights) != want {
		return fmt.Errorf("conv: packed weights have %d floats, expected %d", len(op.Weights), want)
	}
	if r.joined != nil {
		return r.joined.Run(p, op, r.plan.OutSize(1))
	}
	if r.planar != nil {
		if err := r.plan.phases[0].plan.checkBuffers(op, r.plan.PackedSize(), r.plan.ScratchSize(p.Threads())); err != nil {
			return err
		}
		r.planar.run(p, op)
		return nil
	}
	weights := op.Weights
	for _, run := range r.runs {
		n := run.plan.PackedSize()
		op.Weights, weights = weights[:n], weights[n:]
		if err := run.Run(p, op); err != nil {
			return err
		}
	}
	return nil
}
