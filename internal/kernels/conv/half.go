package conv

import (
	"fmt"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/bconv"
	"github.com/salver-ml/salver/internal/kernels/bdepth"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/pool"
)

// HalfFits reports whether a convolution is computed in bfloat16 at a level where
// that is allowed.
func HalfFits(p Params, level cpu.Target) bool {
	p, err := p.normalize()
	return err == nil && halfFits(p, Choose(p, level), level)
}

// HalfFitsTranspose is HalfFits of a transposed convolution.
func HalfFitsTranspose(p TransposeParams, level cpu.Target) bool {
	p, err := p.normalize()
	return err == nil && halfFits(p.Params, p.algorithm(level), level)
}

func halfFits(p Params, a Algorithm, level cpu.Target) bool {
	switch {
	case !p.BF16 || p.Groups != 1 && !halfGroups(p, level) || len(p.Kernel) != 2:
		return false
	case a == PlainInput:
		return bconv.SupportsPlain(p.In, p.Kernel[1], p.Dilation[1], level)
	}
	return bconv.Supports(level) && (a == Direct || a == Pointwise)
}

// halfGroups reports whether a convolution in groups is computed in bfloat16, where zeros
// between groups are multiplied too: tiles are fast enough for 32 outputs at once that
// need only two channels each, vectors for those that need 32.
func halfGroups(p Params, level cpu.Target) bool {
	least := 2
	if level < cpu.AMX {
		least = 32
	}
	return p.BF16 && p.Groups > 1 && p.In/p.Groups >= least && len(p.Kernel) == 2 && bconv.Supports(level)
}

// DepthFits reports whether a depthwise convolution, which is computed in float32, may
// have tensors of bfloat16: where bfloat16 is allowed, at levels with tiles.
func DepthFits(p Params, level cpu.Target) bool {
	p, err := p.normalize()
	return err == nil && p.BF16 && !p.Residual && len(p.Kernel) == 2 && Choose(p, level) == Depthwise && bdepth.Supports(level)
}

// NewDepth prepares such a convolution of an input with the given spatial sizes.
func NewDepth(p Params, spatial []int, level cpu.Target) (*bdepth.Plan, error) {
	p, err := p.normalize()
	if err != nil {
		return nil, err
	}
	dims, err := p.dims(spatial)
	if err != nil {
		return nil, err
	}
	d := bdepth.Params{Channels: p.Out, H: dims[0], W: dims[1], InBF16: p.Stored.In, OutBF16: p.Stored.Out}
	d.Lo, d.Hi, d.Clamp = p.Act.clamp()
	d.After = p.Act.afterwards(level)
	return bdepth.New(d, level), nil
}

// afterwards is the part of the activation that follows as a pass, or nil.
func (a Activation) afterwards(level cpu.Target) func(x []float32) {
	if !a.after() {
		return nil
	}
	activate := forLevel(level).activate
	return func(x []float32) { activate(a.Kind, a.Alpha, x) }
}

// newHalf is the plan of a convolution in bfloat16, nil where it is computed in
// float32: where that isn't allowed, in groups of one channel, and at levels without tiles.
func newHalf(p Params, a Algorithm, dims []window.Dim, level cpu.Target, places []place) *bconv.Plan {
	if !halfFits(p, a, level) {
		return nil
	}
	h := bconv.Params{In: p.In, Out: p.Out, Groups: p.Groups, Plain: a == PlainInput, H: dims[0], W: dims[1], Residual: p.Residual, ResidualLast: p.ResidualLast,
		InBF16: p.Stored.In, ResidualBF16: p.Stored.Residual, OutBF16: p.Stored.Out}
	for i, at := range places {
		h.Places[i] = bconv.Place{Size: at.size, First: at.first, Step: at.step}
	}
	h.Lo, h.Hi, h.Clamp = p.Act.clamp()
	if p.Act.Kind == Silu && p.Stored.Out && (!p.Residual || p.ResidualLast) {
		h.Silu = true
	} else {
		h.After = p.Act.afterwards(level)
	}
	return bconv.New(h, level)
}

// BF16 reports whether the plan computes in bfloat16.
func (pl *Plan) BF16() bool { return pl.half != nil }

// Half is the plan in bfloat16, whose operands are bytes, or nil.
func (pl *Plan) Half() *bconv.Plan { return pl.half }

// Halves are the plans in bfloat16 of the phases, one after the other: all of them
// read the same input and write to the same output, and the packed weights of one
// follow those of another. There are none where BF16 is false.
func (t *TransposePlan) Halves() []*bconv.Plan {
	var all []*bconv.Plan
	for _, ph := range t.phases {
		if ph.plan.half != nil {
			all = append(all, ph.plan.half)
		}
	}
	return all
}

// BF16 reports whether the plan computes in bfloat16.
func (t *TransposePlan) BF16() bool { return t.phases[0].plan.BF16() }

// bytesOf is the memory of floats.
func bytesOf(s []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), 4*len(s))
}

// runHalf computes op in bfloat16.
func (r *Runner) runHalf(p *pool.Pool, op Operands) error {
	if want := r.plan.PackedSize(); len(op.Weights) != want {
		return fmt.Errorf("conv: packed weights has %d floats, expected %d", len(op.Weights), want)
	}
	return r.half.Run(p, bconv.Operands{N: op.N, In: bytesOf(op.In), Packed: bytesOf(op.Weights), Residual: bytesOf(op.Residual), Out: bytesOf(op.Out), Scratch: bytesOf(op.Scratch)})
}
