package exec

import (
	"slices"
	"sync"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/plan"
	"github.com/salver-ml/salver/internal/tensor"
)

// Plan is a graph prepared for inputs of certain shapes.
type Plan struct {
	session *Session
	key     []inputKey
	slots   []slot
	steps   []*step
	outputs []output
	buffers []plan.Buffer
	layout  plan.Layout

	mu        sync.Mutex
	idle      []*frame
	maxFrames int
}

type inputKey struct {
	dtype dtype.Type
	shape []int
}

// output says where a graph output is found after a run.
type output struct {
	slot   int
	copied bool // the value's memory belongs to something else
}

// maxIdleFrames bounds the arenas that a plan keeps between runs.
const maxIdleFrames = 4

func (p *Plan) fits(inputs []*tensor.Tensor) bool {
	if len(inputs) != len(p.key) {
		return false
	}
	for i, t := range inputs {
		k := &p.key[i]
		if t == nil || t.DType != k.dtype || !slices.Equal(t.Shape, k.shape) || len(t.Data) != dataBytes(t) {
			return false
		}
	}
	return true
}

func dataBytes(t *tensor.Tensor) int {
	if t.DType == dtype.String {
		return len(t.Data)
	}
	return t.DType.Bytes(t.Len())
}

func (p *Plan) acquire() *frame {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		f := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return f
	}
	p.mu.Unlock()
	return p.newFrame()
}

func (p *Plan) release(f *frame) {
	f.reset()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) < p.maxFrames {
		p.idle = append(p.idle, f)
		return
	}
	f.close()
}

// retire lets the frames go: idle ones now, running ones at their release.
func (p *Plan) retire() {
	p.mu.Lock()
	p.maxFrames = 0
	p.mu.Unlock()
	p.close()
}

func (p *Plan) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.idle {
		f.close()
	}
	p.idle = nil
	for _, st := range p.steps {
		for _, sub := range st.subs {
			sub.session.closePlans()
		}
	}
}

// Memory is what a plan needs, in bytes.
type Memory struct {
	Weights    int // constants that steps read, as the file holds them
	Packed     int // the same again, in the kernels' layouts
	Arena      int // intermediate values of one run
	ArenaBound int // the least arena that any placement could reach
	Inputs     int
	Outputs    int
}

// Memory adds up what the plan needs.
func (p *Plan) Memory() Memory {
	m := Memory{Packed: p.session.packs.bytes(), Arena: p.layout.Total, ArenaBound: p.layout.Bound}
	for i := range p.slots {
		s := &p.slots[i]
		switch {
		case s.kind == slotConst && s.tensor != nil:
			m.Weights += len(s.tensor.Data)
		case s.kind == slotInput:
			m.Inputs += s.size
		case s.kind == slotOutput:
			m.Outputs += s.size
		}
	}
	return m
}

// Step describes one step of a plan for reports.
type Step struct {
	Node    *ir.Node
	Fast    bool // runs on a kernel of the provider, not on the reference
	Dynamic bool // its shapes are known only when it runs
	Flops   float64
	Bytes   int // read and written, each value once
	In, Out []ir.Type
}

// Steps describes the plan's steps in order.
func (p *Plan) Steps() []Step {
	steps := make([]Step, len(p.steps))
	for i, st := range p.steps {
		s := Step{Node: st.node, Fast: st.fast, Dynamic: st.dynamic}
		in, out := p.facts(st.in), p.facts(st.out)
		if st.op.Flops != nil && !st.dynamic {
			s.Flops = st.op.Flops(in, out)
		}
		for _, f := range in {
			s.In = append(s.In, f.Type)
		}
		for _, f := range out {
			s.Out = append(s.Out, f.Type)
		}
		for _, id := range slices.Concat(st.in, st.out) {
			if id >= 0 {
				s.Bytes += p.slots[id].size
			}
		}
		steps[i] = s
	}
	return steps
}

// Lives gives each arena buffer's size, offset and first and last step.
func (p *Plan) Lives() ([]plan.Buffer, plan.Layout) { return p.buffers, p.layout }
