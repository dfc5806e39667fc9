package recurrent

import (
	"fmt"
	"strings"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/gated"
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
	cut
	dir     []direction
	clip    float32
	linear  bool // GRU's linear_before_reset
	coupled bool // LSTM's input_forget
	gemm    int  // floats of scratch for the products of inputs

	dims, states []int // shapes of the outputs

	add, sub, mul func(dst, a, b []float32, sa, sb int)
	lstmCell      gated.LSTM // nil: operation by operation; these know only the usual functions
	gruCell       gated.GRU

	pieces []piece
	run    run
}

// direction is one direction of the layer.
type direction struct {
	x     gemm.Task    // inputs by W
	r     [2][]float32 // R in panels, by parts: of the first gates, and of those apart from them
	acts  []func([]float32)
	bias  []float32 // of x: that of W, and of R where it may be added beforehand
	inner []float32 // GRU: R's bias of the last gate
	peep  []float32 // LSTM: in one run
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
	k.add, k.sub, k.mul = elemwise.Row(elemwise.Add), elemwise.Row(elemwise.Sub), elemwise.Row(elemwise.Mul)
	if k.clip <= 0 && !k.coupled && !p.Has(7) && c.usual(p.Node) {
		k.lstmCell, k.gruCell = gated.ForLSTM(), gated.ForGRU()
	}
	k.divide(p.Threads)
	for d := range k.dir {
		k.dir[d].acts = acts[d*len(c.defaults):][:len(c.defaults)]
		if err := k.prepare(p, d); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// usual reports whether the activations are the defaults.
func (c cell) usual(n *ir.Node) bool {
	for i, name := range n.Strs("activations") {
		if !strings.EqualFold(name, c.defaults[i%len(c.defaults)]) {
			return false
		}
	}
	return true
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
	if err := k.inputWeights(p, d); err != nil {
		return err
	}
	k.stateWeights(p, d)
	bias := make([]float32, g)
	l.bias, l.inner = make([]float32, g), make([]float32, h)
	if p.Has(3) {
		b := rows(p.In[3].Const, d, 2*g)
		copy(bias, b[:g])
		for i, x := range b[g:] {
			if k.linear && i >= 2*h {
				l.inner[i-2*h] = x
			} else {
				bias[i] += x
			}
		}
	}
	k.byParts(l.bias, bias, k.gates, 1)
	l.x.ColBias.Data = l.bias
	k.gemm = max(k.gemm, l.x.ScratchSize(p.Threads))
	return nil
}

// rows is direction d's part of a weight tensor.
func rows(t *tensor.Tensor, d, n int) []float32 { return tensor.Of[float32](t)[d*n : (d+1)*n] }

// inputWeights prepares the product of all inputs by the transpose of W.
func (k *kernel) inputWeights(p *op.Prep, d int) error {
	t, g := &k.dir[d].x, k.gates*k.hidden
	t.M, t.N, t.K = k.seq*k.batch, g, k.in
	t.A.Stride, t.C.Stride = k.in, g
	var err error
	data := p.Pack(k.packed("W", d), 4*gemm.PackedSize(k.in, g, 1), func(dst []byte) {
		w := gemm.Matrix{Data: rows(p.In[1].Const, d, g*k.in), Stride: k.in, Trans: true}
		if len(k.parts) > 1 {
			w.Data = make([]float32, g*k.in)
			k.byParts(w.Data, rows(p.In[1].Const, d, g*k.in), k.gates, k.in)
		}
		_, err = gemm.PackB(tensor.View[float32](dst), w, k.in, g, 1, 0)
	})
	if err == nil {
		t.Packed, err = gemm.Prepacked(tensor.View[float32](data), k.in, g, 1)
	}
	return err
}

// packed is the name of weights in the order of parts.
func (k *kernel) packed(name string, of ...any) string {
	return fmt.Sprint(append([]any{name}, append(of, "/", len(k.parts), "/", cpu.ISA())...)...)
}

// stateWeights packs the transpose of R: the gates of each part that are multiplied alike,
// in panels of their own.
func (k *kernel) stateWeights(p *op.Prep, d int) {
	m, h := &k.pieces[0].micro, k.hidden
	r := rows(p.In[2].Const, d, k.gates*h*h)
	for i := range k.blocks() {
		first, gates := k.gatesOf(i)
		size := 0
		for _, x := range k.parts {
			size += m.PanelSize(h, gates*x.width())
		}
		data := p.Pack(k.packed("R", d, ".", i), 4*size, func(dst []byte) {
			k.packStates(tensor.View[float32](dst), r[first*h*h:], gates)
		})
		k.dir[d].r[i] = tensor.View[float32](data)
	}
}

// packStates packs so many gates of R, by parts.
func (k *kernel) packStates(dst, r []float32, gates int) {
	m, h := &k.pieces[0].micro, k.hidden
	w := gemm.Matrix{Data: r, Stride: h, Trans: true}
	if len(k.parts) > 1 {
		w.Data = make([]float32, gates*h*h)
		k.byParts(w.Data, r, gates, h)
	}
	for _, x := range k.parts {
		n := gates * x.width()
		m.Pack(dst, &w, h, n)
		w.Data, dst = w.Data[n*h:], dst[m.PanelSize(h, n):]
	}
}
