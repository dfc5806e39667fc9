package recurrent

import (
	"fmt"
	"strings"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/pointwise"
	"github.com/salver-ml/salver/internal/tensor"
)

// kernel runs a recurrent layer in float32: the inputs of all steps are
// multiplied with W at once, the states with R step by step.
type kernel struct {
	cell
	sizes
	dir     []direction
	clip    float32
	linear  bool // GRU's linear_before_reset
	coupled bool // LSTM's input_forget
	gemm    int  // floats of scratch for the products

	dims, states []int // shapes of the outputs
}

// direction is one direction of the layer.
type direction struct {
	x, r, r2 gemm.Task // inputs by W, states by R, and GRU's states by R's last gate
	acts     []func([]float32)
	bias     []float32 // of x: that of W, and of R where it may be added beforehand
	inner    []float32 // GRU: R's bias of the last gate
	peep     []float32 // LSTM: in one run
}

// compile gives nil where the reference has to serve: weights that are
// computed, other types, activations without a kernel.
func (c cell) compile(p *op.Prep) (op.Kernel, error) {
	if p.In[0].DType != dtype.Float32 || p.In[1].Const == nil || p.In[2].Const == nil || p.Has(3) && p.In[3].Const == nil {
		return nil, nil
	}
	call := &op.Call{Node: p.Node}
	for i, f := range p.In {
		var t *tensor.Tensor
		if f.Present && i != 4 {
			dims, ok := f.Shape.Ints()
			if !ok {
				return nil, nil
			}
			t = &tensor.Tensor{DType: f.DType, Shape: dims}
		}
		call.In = append(call.In, t)
	}
	s, err := c.sizes(call)
	if err != nil {
		return nil, err
	}
	if s.seq*s.batch*s.in*s.hidden == 0 {
		return nil, nil
	}
	acts, ok := c.rowFunctions(p.Node, s.dirs)
	if !ok {
		return nil, nil
	}
	k := &kernel{cell: c, sizes: s, clip: p.Node.Float("clip"), linear: p.Node.Bool("linear_before_reset"), coupled: p.Node.Bool("input_forget")}
	k.dir, k.dims, k.states = make([]direction, s.dirs), s.output(), s.state()
	for d := range k.dir {
		k.dir[d].acts = acts[d*len(c.defaults):][:len(c.defaults)]
		if err := k.prepare(p, d); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// rowFunctions is activations for rows of float32.
func (c cell) rowFunctions(n *ir.Node, dirs int) ([]func([]float32), bool) {
	if len(n.Floats("activation_alpha"))+len(n.Floats("activation_beta")) > 0 {
		return nil, false
	}
	ops := map[string]pointwise.Activation{
		"relu": {Op: elemwise.Relu}, "tanh": {Op: elemwise.Tanh}, "sigmoid": {Op: elemwise.Sigmoid}, "softsign": {Op: elemwise.Softsign},
		"softplus": {Op: elemwise.Softplus}, "hardsigmoid": {Op: elemwise.HardSigmoid, Params: elemwise.Params{A: .2, B: .5}},
	}
	names := n.Strs("activations")
	var out []func([]float32)
	for i := range dirs * len(c.defaults) {
		name := c.defaults[i%len(c.defaults)]
		if len(names) > 0 {
			if i >= len(names) {
				return nil, false
			}
			name = names[i]
		}
		a, ok := ops[strings.ToLower(name)]
		if !ok {
			return nil, false
		}
		out = append(out, a.Row())
	}
	return out, true
}

// prepare packs the weights of direction d and adds up its biases.
func (k *kernel) prepare(p *op.Prep, d int) error {
	l := &k.dir[d]
	g, h := k.gates*k.hidden, k.hidden
	w, r := rows(p.In[1].Const, d, g*k.in), rows(p.In[2].Const, d, g*h)
	split := g // rows of R that are multiplied with the state as it is
	if k.name == "GRU" {
		split = 2 * h
	}
	if err := k.product(p, fmt.Sprint("W", d), &l.x, w, k.seq*k.batch, g, k.in); err != nil {
		return err
	}
	if err := k.product(p, fmt.Sprint("R", d), &l.r, r[:split*h], k.batch, split, h); err != nil {
		return err
	}
	l.x.A.Stride, l.x.C.Stride = k.in, g
	l.r.A.Stride, l.r.C.Stride = h, g
	if split < g {
		if err := k.product(p, fmt.Sprint("R2", d), &l.r2, r[split*h:], k.batch, h, h); err != nil {
			return err
		}
		l.r2.A.Stride, l.r2.C.Stride = h, g
	}
	l.bias, l.inner = make([]float32, g), make([]float32, h)
	if p.Has(3) {
		b := rows(p.In[3].Const, d, 2*g)
		copy(l.bias, b[:g])
		for i, x := range b[g:] {
			if k.linear && i >= 2*h {
				l.inner[i-2*h] = x
			} else {
				l.bias[i] += x
			}
		}
	}
	l.x.ColBias.Data = l.bias
	for _, t := range []*gemm.Task{&l.x, &l.r, &l.r2} {
		k.gemm = max(k.gemm, t.ScratchSize(p.Threads))
	}
	return nil
}

// rows is direction d's part of a weight tensor.
func rows(t *tensor.Tensor, d, n int) []float32 { return tensor.Of[float32](t)[d*n : (d+1)*n] }

// product prepares M×K by the transpose of w, which is N×K.
func (k *kernel) product(p *op.Prep, key string, t *gemm.Task, w []float32, m, n, depth int) error {
	t.M, t.N, t.K = m, n, depth
	var err error
	data := p.Pack(key+"/"+cpu.ISA(), 4*gemm.PackedSize(depth, n, 1), func(dst []byte) {
		_, err = gemm.PackB(tensor.View[float32](dst), gemm.Matrix{Data: w, Stride: depth, Trans: true}, depth, n, 1, 0)
	})
	if err == nil {
		t.Packed, err = gemm.Prepacked(tensor.View[float32](data), depth, n, 1)
	}
	return err
}

// ScratchBytes holds the products of inputs and states, the states, and a row
// of a sequence's gates.
func (k *kernel) ScratchBytes() int {
	g, h := k.gates*k.hidden, k.batch*k.hidden
	return op.FloatBytes(k.seq*k.batch*g, k.batch*g, h, h, h, g, k.hidden, k.gemm)
}

// work is the scratch of a run.
type work struct {
	x, r          []float32 // products of all inputs by W, of the states by R
	h, c, reset   []float32 // per sequence
	gates, extra  []float32 // of one sequence
	gemm, out     []float32
	lens          []int32
	dir, batch, t int // where the run is
}

// Run computes the layer.
func (k *kernel) Run(c *op.Call) error {
	scratch := op.Memory(c.Scratch)
	g, n := k.gates*k.hidden, k.batch*k.hidden
	w := work{x: scratch.Floats(k.seq * k.batch * g), r: scratch.Floats(k.batch * g), h: scratch.Floats(n), c: scratch.Floats(n), reset: scratch.Floats(n),
		gates: scratch.Floats(g), extra: scratch.Floats(k.hidden), gemm: scratch.Floats(k.gemm)}
	if t := c.Input(4); t != nil {
		if w.lens = tensor.Of[int32](t); len(w.lens) != k.batch {
			return fmt.Errorf("sequence_lens is %s, expected %d lengths", t, k.batch)
		}
		for i, n := range w.lens {
			if n < 0 || int(n) > k.seq {
				return fmt.Errorf("sequence_lens has %d for sequence %d, expected 0 to %d", n, i, k.seq)
			}
		}
	}
	if c.Wants(0) {
		w.out = tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...))
		clear(w.out)
	}
	for d := range k.dir {
		w.dir = d
		if err := k.direction(c, &w); err != nil {
			return err
		}
	}
	return nil
}

// direction runs all steps of one direction.
func (k *kernel) direction(c *op.Call, w *work) error {
	l := &k.dir[w.dir]
	k.load(c, 5, w.h, w.dir)
	k.load(c, 6, w.c, w.dir)
	l.peep = nil
	if t := c.Input(7); t != nil {
		l.peep = rows(t, w.dir, 3*k.hidden)
	}
	l.x.A.Data, l.x.C.Data = tensor.Of[float32](c.In[0]), w.x
	if err := k.multiply(c, &l.x, w); err != nil {
		return err
	}
	for i := range k.seq {
		l.r.A.Data, l.r.C.Data = w.h, w.r
		if err := k.multiply(c, &l.r, w); err != nil {
			return err
		}
		if k.name == "GRU" {
			if err := k.candidate(c, l, w, i); err != nil {
				return err
			}
		}
		for b := range k.batch {
			if k.begin(c.Node, w, b, i) {
				k.step(l, w)
			}
		}
	}
	l.peep = nil
	k.store(c, 1, w.h, w.dir)
	if k.outputs == 3 {
		k.store(c, 2, w.c, w.dir)
	}
	return nil
}

func (k *kernel) multiply(c *op.Call, t *gemm.Task, w *work) error {
	t.Scratch = w.gemm
	err := t.Run(c.Pool)
	t.A.Data, t.C.Data, t.Scratch = nil, nil, nil
	return err
}

// begin sets the time at which sequence b does its step i; false if it is over.
func (k *kernel) begin(n *ir.Node, w *work, b, i int) bool {
	length := k.seq
	if w.lens != nil {
		length = int(w.lens[b])
	}
	w.batch, w.t = b, i
	if w.dir == 1 || n.Str("direction") == "reverse" {
		w.t = length - 1 - i
	}
	return i < length
}

// input is the row of gates that the step's input gives.
func (k *kernel) input(w *work) []float32 {
	g := k.gates * k.hidden
	return w.x[k.inputAt(w.t, w.batch)/k.in*g:][:g]
}

// load and store move the states of direction d from and to the layout of the
// tensors.
func (k *kernel) load(c *op.Call, i int, state []float32, d int) {
	t := c.Input(i)
	if t == nil {
		clear(state)
		return
	}
	for b := range k.batch {
		copy(state[b*k.hidden:(b+1)*k.hidden], tensor.Of[float32](t)[k.stateAt(d, b):])
	}
}

func (k *kernel) store(c *op.Call, i int, state []float32, d int) {
	if !c.Wants(i) {
		return
	}
	out := tensor.Of[float32](c.Output(i, dtype.Float32, k.states...))
	for b := range k.batch {
		copy(out[k.stateAt(d, b):], state[b*k.hidden:(b+1)*k.hidden])
	}
}
