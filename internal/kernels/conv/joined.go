package conv

import (
	"fmt"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/pool"
)

// joined computes all phases of a transposed convolution as the output channels of one
// ordinary convolution, whose kernel covers the taps of each with zeros for the others, and
// moves the channels to their places. Where a phase has few channels of its own it leaves most
// of a block's lanes idle: 32→1 channels with 9×9 kernels and strides of 4 take less than a third of the time.
type joined struct {
	plan   *Plan
	phases [2]int // along height and width
	taps   [2][]joinedTaps
}

// joinedTaps is where a phase's taps lie in the common kernel.
type joinedTaps struct {
	at   int
	taps progression
}

// moveCost is what moving the channels costs, as a part of the products.
const moveCost = 1.3

// join prepares that, or gives nil where it doesn't pay; the parameters alone decide.
func (p TransposeParams) join(spatial, out []int, level cpu.Target) (*joined, error) {
	b := Block(level)
	if p.algorithm(level) != Direct || p.Groups > 1 || p.Residual || p.BF16 || product(p.Stride) == 1 || product(p.Dilation) > 1 {
		return nil, nil
	}
	j := &joined{phases: [2]int(p.Stride)}
	var dims []window.Dim
	for i, in := range spatial {
		dims = append(dims, j.side(i, p.sides(i, in, max(out[i], p.Stride[i]))))
	}
	sub := p.Params
	sub.Out *= product(p.Stride)
	sub.Kernel, sub.Stride = []int{dims[0].Kernel, dims[1].Kernel}, []int{1, 1}
	apart := product(p.Kernel) * blocks(p.Out, b) // taps of all phases
	if moveCost*float64(product(sub.Kernel)*blocks(sub.Out, b)) > float64(apart) {
		return nil, nil
	}
	var err error
	j.plan, err = newPlan(sub, Direct, dims, level, nil)
	return j, err
}

// side joins the phases of dimension i.
func (j *joined) side(i int, all []side) window.Dim {
	d := all[0].dim // has the most outputs
	begin, last := 0, 0
	for k, s := range all {
		if s.taps.n == 0 {
			continue
		}
		if at := s.dim.Kernel - 1 - s.dim.Begin; k == 0 || at > last {
			last = at
		}
		if k == 0 || s.dim.Begin > begin {
			begin = s.dim.Begin
		}
	}
	for _, s := range all {
		j.taps[i] = append(j.taps[i], joinedTaps{begin - s.dim.Begin, s.taps})
	}
	d.Begin, d.Kernel = begin, last+begin+1
	return d
}

// pack writes the weights of all phases, as those of one convolution.
func (j *joined) pack(dst []float32, p TransposeParams, w, bias []float32) error {
	sub := j.plan.p
	kernel := product(sub.Kernel)
	all := make([]float32, sub.Out*p.In*kernel)
	var biases []float32
	for y, ty := range j.taps[0] {
		for x, tx := range j.taps[1] {
			biases = append(biases, bias...)
			first := (y*j.phases[1] + x) * p.Out
			for o := range p.Out {
				for c := range p.In {
					from := w[(c*p.Out+o)*product(p.Kernel):]
					to := all[((first+o)*p.In+c)*kernel:]
					for a := range ty.taps.n {
						for b := range tx.taps.n {
							to[(ty.at+a)*sub.Kernel[1]+tx.at+b] = from[(ty.taps.first+a*ty.taps.step)*p.Kernel[1]+tx.taps.first+b*tx.taps.step]
						}
					}
				}
			}
		}
	}
	return j.plan.Pack(dst, all, biases)
}

// joinedRunner runs it image by image; it is the task that moves the channels of an
// image, a row of outputs at a time.
type joinedRunner struct {
	*joined
	run      *Runner
	out      []int
	channels int
	sums     []float32
	dst      []float32 // the image's output
}

func (t *TransposePlan) newJoinedRunner() *joinedRunner {
	j := t.joined
	return &joinedRunner{joined: j, run: j.plan.NewRunner(), out: t.out, channels: t.p.Out}
}

func (r *joinedRunner) Run(p *pool.Pool, op Operands, out int) error {
	in, size := r.plan.InSize(1), r.plan.OutSize(1)
	if len(op.In) != op.N*in || len(op.Out) != op.N*out || len(op.Scratch) < size {
		return fmt.Errorf("conv: input, output and scratch have %d, %d and %d floats, expected %d, %d and at least %d", len(op.In), len(op.Out), len(op.Scratch), op.N*in, op.N*out, size)
	}
	image := op
	image.N, image.Out, image.Scratch = 1, op.Scratch[:size], op.Scratch[size:]
	r.sums = image.Out
	for i := range op.N {
		image.In, r.dst = op.In[i*in:][:in], op.Out[i*out:][:out]
		if err := r.run.Run(p, image); err != nil {
			return err
		}
		p.RunFromEnds(r.out[0], r)
	}
	r.sums, r.dst = nil, nil
	return nil
}

// Do moves a row of outputs. Channels that don't exist are zeros.
func (r *joinedRunner) Do(y int) {
	b, high, wide := r.plan.block, r.phases[0], r.phases[1]
	row := r.sums[y/high*r.plan.out[1]*b:]
	for block := range blocks(r.channels, b) {
		dst := r.dst[(block*r.out[0]+y)*r.out[1]*b:][:r.out[1]*b]
		channels := min(b, r.channels-block*b)
		if channels < b {
			clear(dst)
		}
		for x := range min(wide, r.out[1]) {
			first := (y%high*wide+x)*r.channels + block*b
			for done := 0; done < channels; { // they may lie in two blocks
				o := first + done
				lanes := min(channels-done, b-o%b)
				moveLanes(dst[x*b+done:], row[o/b*r.plan.outputs*b+o%b:], lanes, blocks(r.out[1]-x, wide), wide*b, b)
				done += lanes
			}
		}
	}
}

// moveLanes moves some lanes of n pixels, whose steps are in floats.
func moveLanes(dst, src []float32, lanes, n, dstStep, srcStep int) {
	switch lanes {
	case 16:
		copyPixels[[16]float32](dst, src, n, dstStep, srcStep)
	case 8:
		copyPixels[[8]float32](dst, src, n, dstStep, srcStep)
	default:
		for i := range n {
			from := src[i*srcStep:][:lanes]
			for l, v := range from {
				dst[i*dstStep+l] = v
			}
		}
	}
}
