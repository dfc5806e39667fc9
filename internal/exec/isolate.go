package exec

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/tensor"
)

// Isolated is one step of a plan on its own, with operands of its own, so that
// kernels for it can be compared. It is used by one goroutine at a time.
type Isolated struct {
	session *Session
	step    *step
	pool    *pool.Pool
	call    op.Call
	memory  []*mmap.Buffer
	inputs  []*tensor.Tensor // those that are not constant
	fresh   [][]byte         // what they hold before a run
}

// Isolate takes a step out of the plan; numbers are those of Steps. Operands are
// random numbers. It is an error for steps whose shapes depend on data, that
// don't run on a kernel, or read other types than floats and bytes.
func (p *Plan) Isolate(i int) (*Isolated, error) {
	st := p.steps[i]
	if st.prep == nil || st.dynamic || st.joined || st.copy || len(st.subs) > 0 {
		return nil, fmt.Errorf("%s has no kernel to be compared", st.node)
	}
	x := &Isolated{session: p.session, step: st, pool: p.pool}
	x.call = op.Call{Context: context.Background(), Node: st.node, MaxOutput: p.session.maxOutput()}
	at := map[int]*tensor.Tensor{} // by the slot that owns the memory
	rng := rand.New(rand.NewPCG(1, 2))
	for _, id := range st.in {
		t, err := x.operand(p.part(st, id), at, rng)
		if err != nil {
			x.Close()
			return nil, fmt.Errorf("%s: %w", st.node, err)
		}
		x.call.In = append(x.call.In, t)
	}
	for _, id := range st.out {
		if id < 0 {
			x.call.Out = append(x.call.Out, nil)
			continue
		}
		s := p.part(st, id)
		if t := at[s.root]; t != nil && s.offset == 0 && s.size == len(t.Data) { // it overwrites an input
			x.call.Out = append(x.call.Out, &tensor.Tensor{DType: s.typ.DType, Shape: s.shape, Data: t.Data})
			continue
		}
		x.call.Out = append(x.call.Out, x.alloc(s))
	}
	return x, nil
}

func (x *Isolated) alloc(s *slot) *tensor.Tensor {
	b := mmap.Alloc(s.size)
	x.memory = append(x.memory, b)
	return &tensor.Tensor{DType: s.typ.DType, Shape: s.shape, Data: b.Bytes()[:s.size]}
}

// part gives a slot as far as a step computes it at once; nil if it is absent.
func (p *Plan) part(st *step, id int) *slot {
	if id < 0 {
		return nil
	}
	s := p.slots[id]
	if st.rows > 0 && s.kind != slotConst {
		s.size = s.size / s.shape[0] * st.rows
		s.shape = p.round(id).Shape
	}
	return &s
}

// operand makes the tensor of an input.
func (x *Isolated) operand(s *slot, at map[int]*tensor.Tensor, rng *rand.Rand) (*tensor.Tensor, error) {
	if s == nil {
		return nil, nil
	}
	if s.kind == slotConst {
		return s.tensor, nil
	}
	t := x.alloc(s)
	switch s.typ.DType {
	case dtype.Float32:
		x := tensor.Of[float32](t)
		for i := range x {
			x[i] = rng.Float32()*2 - 1
		}
	case dtype.Uint8, dtype.Int8:
		for i := range t.Data {
			t.Data[i] = byte(rng.Uint32())
		}
	default:
		return nil, fmt.Errorf("an operand is %s, expected float32 or bytes", s.typ.DType)
	}
	x.inputs, x.fresh = append(x.inputs, t), append(x.fresh, append([]byte(nil), t.Data...))
	if s.offset == 0 {
		at[s.root] = t
	}
	return t, nil
}

// Alternative is a kernel for an isolated step.
type Alternative struct {
	of      *Isolated
	kernel  op.Kernel
	pool    *pool.Pool
	scratch *mmap.Buffer
	// Packed is the bytes of packed weights that the session had not had before.
	Packed int
}

// Compile makes the kernel that c chooses. Its packed weights belong to the session.
func (x *Isolated) Compile(c op.Chooser) (*Alternative, error) {
	before := x.session.weights.bytes()
	prep := *x.step.prep
	prep.Chooser = c
	x.session.weights.serve(&prep)
	k, err := x.session.weights.compile(x.session.providers[x.step.provider], &prep)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", x.step.node, err)
	}
	if k == nil {
		return nil, fmt.Errorf("%s has no kernel with other choices", x.step.node)
	}
	a := &Alternative{of: x, kernel: k, pool: x.pool, Packed: x.session.weights.bytes() - before}
	if alone(&prep) {
		a.pool = nil
	}
	if n := scratchOf(k); n > 0 {
		a.scratch = mmap.Alloc(n)
	}
	return a, nil
}

// Refresh writes the operands anew: they are in the cache then, as what an
// earlier node has just written.
func (x *Isolated) Refresh() {
	for i, t := range x.inputs {
		copy(t.Data, x.fresh[i])
	}
}

// Outputs are what the last run has computed.
func (x *Isolated) Outputs() []*tensor.Tensor { return x.call.Out }

// Run computes the step once. Begin and End of the session's pool are the caller's.
func (a *Alternative) Run() error {
	c := &a.of.call
	c.Pool, c.Scratch = a.pool, nil
	if a.scratch != nil {
		c.Scratch = a.scratch.Bytes()
	}
	return a.kernel.Run(c)
}

// Close frees the working memory.
func (a *Alternative) Close() { a.scratch.Free() }

// alone asks whether a step leaves the other threads out: the smallest are
// faster so.
func alone(p *op.Prep) bool {
	return p.Threads > 1 && p.Choose(op.Choice{Name: "threads", Options: []string{"all", "1"}}) == "1"
}

// Close frees the operands.
func (x *Isolated) Close() {
	for _, b := range x.memory {
		b.Free()
	}
	x.memory, x.inputs = nil, nil
}
