// Package recurrent registers RNN, GRU and LSTM.
package recurrent

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// cell is one kind of recurrent network.
type cell struct {
	name     string
	gates    int
	defaults []string // activations of one direction
	outputs  int
	inputs   []string
	attrs    op.Attrs
	// run makes one direction's step from the layer's numbers.
	run func(l *layer) step
}

// step advances one sequence by one input x: it changes the state in place.
type step func(x []float64, h, c []float64)

func (c cell) register() {
	attrs := op.Attrs{
		"activation_alpha": op.Opt(ir.KindFloats), "activation_beta": op.Opt(ir.KindFloats), "activations": op.Opt(ir.KindStrings),
		"clip": op.Opt(ir.KindFloat), "direction": op.Default(ir.Str("forward")), "hidden_size": op.Opt(ir.KindInt),
	}
	for k, v := range c.attrs {
		attrs[k] = v
	}
	outs := []string{"Y:T?", "Y_h:T?", "Y_c:T?"}[:c.outputs]
	o := op.Op{
		Name: c.name, In: op.Ports(append([]string{"X:T", "W:T", "R:T", "B:T?", "sequence_lens:T1?", "initial_h:T?"}, c.inputs...)...), Out: op.Ports(outs...),
		Types: op.Types{"T": op.Floats, "T1": {dtype.Int32}},
		Infer: c.infer, Ref: c.ref, Compile: wide.Compile(c.compile), Flops: c.flops,
	}
	old := o
	old.Versions, old.Attrs = []int{7}, attrs
	old.Rows = c.rows
	op.Register(&old)
	o.Versions, o.Attrs = []int{14, 22}, op.Attrs{"layout": op.Default(ir.Int(0))}
	for k, v := range attrs {
		o.Attrs[k] = v
	}
	o.Rows = c.rows
	o.Cases = c
	op.Register(&o)
}

// Cases are those of the operator.
func (c cell) Cases() []op.Case {
	const seq, batch, in, hidden = 4, 3, 5, 7
	g := c.gates * hidden
	x, w, r, b := wave(1, seq, batch, in), wave(.3, 1, g, in), wave(.25, 1, g, hidden), wave(.1, 1, 2*g)
	lens := tensor.FromSlice([]int32{4, 1, 3})
	batchFirst := map[string]*ir.Attr{"layout": ir.Int(1)}
	both := map[string]*ir.Attr{"direction": ir.Str("bidirectional")}
	state, cells, peep := wave(.5, 1, batch, hidden), wave(.7, 1, batch, hidden), wave(.2, 1, 3*hidden)
	var more []op.Case
	switch c.name {
	case "LSTM":
		more = []op.Case{
			{Name: "peepholes", In: []*tensor.Tensor{x, w, r, b, lens, state, cells, peep}, Attrs: map[string]*ir.Attr{"clip": ir.Float(.4)}},
			{Name: "coupled gates", In: []*tensor.Tensor{x, w, r, b, nil, nil, cells}, Attrs: map[string]*ir.Attr{"input_forget": ir.Int(1)}},
		}
	case "GRU":
		more = []op.Case{{Name: "linear before reset", In: []*tensor.Tensor{x, w, r, b, lens, state}, Attrs: map[string]*ir.Attr{"linear_before_reset": ir.Int(1)}}}
	default:
		more = []op.Case{{Name: "scaled tanh", In: []*tensor.Tensor{x, w, r}, Attrs: map[string]*ir.Attr{"activations": ir.Strs("ScaledTanh"), "activation_alpha": ir.Floats(1.5)}}}
	}
	return append(more, []op.Case{
		{Name: "forward", In: []*tensor.Tensor{x, w, r}},
		{Name: "bias and lengths", In: []*tensor.Tensor{x, w, r, b, lens}},
		{Name: "reverse", In: []*tensor.Tensor{x, w, r, b, lens}, Attrs: map[string]*ir.Attr{"direction": ir.Str("reverse")}},
		{Name: "bidirectional", In: []*tensor.Tensor{x, wave(.3, 2, g, in), wave(.25, 2, g, hidden), wave(.1, 2, 2*g), nil, wave(.5, 2, batch, hidden)}, Attrs: both},
		{Name: "batch first", In: []*tensor.Tensor{wave(1, batch, seq, in), w, r, b}, Attrs: batchFirst},
	}...)
}

// rows: the batch is axis 1 of X, or 0 with layout 1, and of the states.
func (c cell) rows(n *ir.Node, in []int) ([]int, bool) {
	first := n.Bool("layout")
	at := func(batchFirst, other int) int {
		if first {
			return batchFirst
		}
		return other
	}
	for i, a := range in {
		want := op.NoRows
		switch i {
		case 0:
			want = at(0, 1)
		case 4:
			want = 0
		case 5, 6:
			want = at(0, 1)
		}
		if a != want && (n.In[i] != nil || i == 0) {
			return nil, false
		}
	}
	return []int{at(0, 2), at(0, 1), at(0, 1)}[:len(n.Out)], true
}

func directions(n *ir.Node) (int, error) {
	switch d := n.Str("direction"); d {
	case "forward", "reverse":
		return 1, nil
	case "bidirectional":
		return 2, nil
	default:
		return 0, fmt.Errorf("direction is %q, expected forward, reverse or bidirectional", d)
	}
}

func (c cell) infer(f *op.Infer) error {
	dirs, err := directions(f.Node)
	if err != nil {
		return err
	}
	x, r := f.In[0].Shape, f.In[2].Shape
	seq, batch, hidden := shape.Unknown(), shape.Unknown(), shape.Unknown()
	first := f.Node.Bool("layout")
	if x != nil {
		if len(x) != 3 {
			return fmt.Errorf("input X has shape %v, expected 3 dimensions", x)
		}
		seq, batch = x[0], x[1]
		if first {
			seq, batch = batch, seq
		}
	}
	switch {
	case f.Node.Int("hidden_size") > 0:
		hidden = shape.Const(f.Node.Int("hidden_size"))
	case len(r) == 3:
		hidden = r[2]
	}
	d := shape.Const(dirs)
	dt := f.In[0].DType
	if first {
		f.Set(0, dt, shape.Shape{batch, seq, d, hidden})
		f.Set(1, dt, shape.Shape{batch, d, hidden})
		f.Set(2, dt, shape.Shape{batch, d, hidden})
		return nil
	}
	f.Set(0, dt, shape.Shape{seq, d, batch, hidden})
	f.Set(1, dt, shape.Shape{d, batch, hidden})
	f.Set(2, dt, shape.Shape{d, batch, hidden})
	return nil
}

func (c cell) flops(in, out []op.Fact) float64 {
	n, _ := in[0].Shape.Count().Int()
	w, _ := in[1].Shape.Count().Int()
	r, _ := in[2].Shape.Count().Int()
	if len(in[0].Shape) != 3 {
		return 0
	}
	features, _ := in[0].Shape[2].Int()
	return 2 * float64(n) / float64(max(features, 1)) * float64(w+r)
}

// wave makes numbers between -scale and scale.
func wave(scale float32, dims ...int) *tensor.Tensor {
	v := make([]float32, tensor.Count(dims))
	for i := range v {
		v[i] = scale * float32((i*i*5+i*3)%17-8) / 8
	}
	return tensor.FromSlice(v, dims...)
}

// layer is the numbers of one direction.
type layer struct {
	node          *ir.Node
	acts          []activation
	in, hidden    int
	w, r, b, peep []float64 // b is nil if absent
	clip          float64
}

// gate is row k of gate g of W·x + Wb and R·h + Rb, apart.
func (l *layer) gate(g, k int, x, h []float64) (input, recurrent float64) {
	row := g*l.hidden + k
	for i, v := range l.w[row*l.in : (row+1)*l.in] {
		input += v * x[i]
	}
	for i, v := range l.r[row*l.hidden : (row+1)*l.hidden] {
		recurrent += v * h[i]
	}
	if l.b != nil {
		input += l.b[row]
		recurrent += l.b[len(l.b)/2+row]
	}
	return input, recurrent
}

func (l *layer) clamp(x float64) float64 {
	if l.clip > 0 {
		return max(-l.clip, min(l.clip, x))
	}
	return x
}

// sizes are the dimensions of a call.
type sizes struct {
	dirs, seq, batch, in, hidden int
	batchFirst                   bool
	lens                         []int
}

func (c cell) sizes(k *op.Call) (s sizes, err error) {
	if s.dirs, err = directions(k.Node); err != nil {
		return s, err
	}
	x, w, r := k.In[0].Shape, k.In[1].Shape, k.In[2].Shape
	if len(x) != 3 || len(w) != 3 || len(r) != 3 {
		return s, fmt.Errorf("X, W and R are %s, %s and %s, expected 3 dimensions each", k.In[0], k.In[1], k.In[2])
	}
	s.seq, s.batch, s.in, s.hidden = x[0], x[1], x[2], r[2]
	if s.batchFirst = k.Node.Bool("layout"); s.batchFirst {
		s.seq, s.batch = s.batch, s.seq
	}
	if h := k.Node.Int("hidden_size"); h > 0 && h != s.hidden {
		return s, fmt.Errorf("hidden_size is %d, but R has %d columns", h, s.hidden)
	}
	for i, want := range [][]int{1: {s.dirs, c.gates * s.hidden, s.in}, 2: {s.dirs, c.gates * s.hidden, s.hidden}, 3: {s.dirs, 2 * c.gates * s.hidden},
		4: {s.batch}, 5: s.state(), 6: s.state(), 7: {s.dirs, 3 * s.hidden}} {
		if t := k.Input(i); i > 0 && t != nil && fmt.Sprint(t.Shape) != fmt.Sprint(want) {
			return s, fmt.Errorf("input %d is %s, expected the shape %v", i, t, want)
		}
	}
	s.lens = make([]int, s.batch)
	for i := range s.lens {
		s.lens[i] = s.seq
	}
	if t := k.Input(4); t != nil {
		for i, n := range tensor.Of[int32](t) {
			if n < 0 || int(n) > s.seq {
				return s, fmt.Errorf("sequence_lens has %d for sequence %d, expected 0 to %d", n, i, s.seq)
			}
			s.lens[i] = int(n)
		}
	}
	return s, nil
}

func (s sizes) state() []int {
	if s.batchFirst {
		return []int{s.batch, s.dirs, s.hidden}
	}
	return []int{s.dirs, s.batch, s.hidden}
}

// stateAt is the offset of a direction's and sequence's state.
func (s sizes) stateAt(d, b int) int {
	if s.batchFirst {
		return (b*s.dirs + d) * s.hidden
	}
	return (d*s.batch + b) * s.hidden
}

func (s sizes) inputAt(t, b int) int {
	if s.batchFirst {
		return (b*s.seq + t) * s.in
	}
	return (t*s.batch + b) * s.in
}

func (s sizes) outputAt(t, d, b int) int {
	if s.batchFirst {
		return ((b*s.seq+t)*s.dirs + d) * s.hidden
	}
	return ((t*s.dirs+d)*s.batch + b) * s.hidden
}

func (s sizes) output() []int {
	if s.batchFirst {
		return []int{s.batch, s.seq, s.dirs, s.hidden}
	}
	return []int{s.seq, s.dirs, s.batch, s.hidden}
}

func (c cell) ref(k *op.Call) error {
	s, err := c.sizes(k)
	if err != nil {
		return err
	}
	acts, err := c.activations(k.Node, s.dirs)
	if err != nil {
		return err
	}
	x := num.Floats(k.In[0])
	y := make([]float64, tensor.Count(s.output()))
	h, cells := stateOf(k.Input(5), s), stateOf(k.Input(6), s)
	for d := range s.dirs {
		l := &layer{node: k.Node, acts: acts[d*len(c.defaults) : (d+1)*len(c.defaults)], in: s.in, hidden: s.hidden,
			w: part(k.In[1], d, s.dirs), r: part(k.In[2], d, s.dirs), b: part(k.Input(3), d, s.dirs), peep: part(k.Input(7), d, s.dirs), clip: float64(k.Node.Float("clip"))}
		advance := c.run(l)
		reverse := d == 1 || k.Node.Str("direction") == "reverse"
		for b := range s.batch {
			at := s.stateAt(d, b)
			hs, cs := h[at:at+s.hidden], cells[at:at+s.hidden]
			for i := range s.lens[b] {
				t := i
				if reverse {
					t = s.lens[b] - 1 - i
				}
				advance(x[s.inputAt(t, b):][:s.in], hs, cs)
				copy(y[s.outputAt(t, d, b):], hs)
			}
		}
	}
	dt := k.In[0].DType
	num.SetFloats(k.Output(0, dt, s.output()...), y)
	num.SetFloats(k.Output(1, dt, s.state()...), h)
	if c.outputs == 3 {
		num.SetFloats(k.Output(2, dt, s.state()...), cells)
	}
	return nil
}

func stateOf(t *tensor.Tensor, s sizes) []float64 {
	if t == nil {
		return make([]float64, s.dirs*s.batch*s.hidden)
	}
	return num.Floats(t)
}

// part is direction d's equal part of a tensor.
func part(t *tensor.Tensor, d, dirs int) []float64 {
	if t == nil {
		return nil
	}
	v := num.Floats(t)
	n := len(v) / dirs
	return v[d*n : (d+1)*n]
}
