package contrib

import (
	"fmt"
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "DynamicQuantizeLSTM", Versions: []int{1},
		Doc: "LSTM with quantized weights, [directions, inputs, 4·hidden] and [directions, hidden, 4·hidden]; inputs (all steps that some sequence has) and states are quantized as DynamicQuantizeLinear does, " +
			"so that rows of a batch depend on each other. Not supported: activations other than the default.",
		In: op.Ports("X:float32", "W:T2", "R:T2", "B:float32?", "sequence_lens:int32?", "initial_h:float32?", "initial_c:float32?", "P:float32?",
			"W_scale:float32", "W_zero_point:T2", "R_scale:float32", "R_zero_point:T2"),
		Out: op.Ports("Y:float32?", "Y_h:float32?", "Y_c:float32?"), Types: op.Types{"T2": bytes8},
		Attrs: op.Attrs{"activation_alpha": op.Opt(ir.KindFloats), "activation_beta": op.Opt(ir.KindFloats), "activations": op.Opt(ir.KindStrings), "clip": op.Opt(ir.KindFloat),
			"direction": op.Default(ir.Str("forward")), "hidden_size": op.Opt(ir.KindInt), "input_forget": op.Default(ir.Int(0))},
		Infer: inferDynamicLSTM, Ref: dynamicLSTMRef, Compile: compileDynamicLSTM,
		Cases: dynamicQuantizeLSTMCases{},
	})
}

type dynamicQuantizeLSTMCases struct{}

func (dynamicQuantizeLSTMCases) Cases() []op.Case {
	scale, zero := tensor.FromSlice([]float32{.01, .02}), tensor.FromSlice([]int8{3, -4})
	in := []*tensor.Tensor{wave(5, 3, 2), bytesWave[int8](2, 2, 16), bytesWave[int8](2, 4, 16), wave(2, 32), tensor.FromSlice([]int32{5, 2, 1}), wave(2, 3, 4), wave(2, 3, 4), wave(2, 12), scale, zero, scale, zero}
	one, column := tensor.FromSlice([]float32{.01}), make([]float32, 28)
	for i := range column {
		column[i] = .01 + float32(i%5)*.002
	}
	mid := tensor.FromSlice([]uint8{128})
	forward := []*tensor.Tensor{wave(4, 1, 3), bytesWave[uint8](1, 3, 28), bytesWave[uint8](1, 7, 28), nil, nil, nil, nil, nil, tensor.FromSlice(column), bytesWave[uint8](28), one, mid}
	// Longer than vectors, with a rest.
	long := []*tensor.Tensor{wave(9, 2, 70), bytesWave[int8](1, 70, 4*37), bytesWave[int8](1, 37, 4*37), wave(1, 8*37), nil, nil, wave(1, 2, 37), nil, one, tensor.FromSlice([]int8{2}), one, tensor.FromSlice([]int8{0})}
	short := slices.Clone(in) // the last two steps are in no sequence and have the largest numbers
	short[0], short[4] = wave(5, 3, 2), tensor.FromSlice([]int32{3, 0, 2})
	tensor.Of[float32](short[0])[3*3*2] = 40
	return []op.Case{
		{Name: "sequences that end before the last step", In: short, Attrs: map[string]*ir.Attr{"direction": ir.Str("bidirectional"), "hidden_size": ir.Int(4)}},
		{Name: "both directions", In: in, Attrs: map[string]*ir.Attr{"direction": ir.Str("bidirectional"), "hidden_size": ir.Int(4)}},
		{Name: "scale of each column", In: forward, Attrs: map[string]*ir.Attr{"clip": ir.Float(.4), "hidden_size": ir.Int(7)}},
		{Name: "reverse, coupled gates", In: long, Attrs: map[string]*ir.Attr{"direction": ir.Str("reverse"), "hidden_size": ir.Int(37), "input_forget": ir.Int(1)}},
	}
}

// lstmSizes checks shapes and attributes and gives the directions and hidden size.
func lstmSizes(n *ir.Node, x, w, r shape.Shape) (directions, hidden int, err error) {
	switch n.Str("direction") {
	case "forward", "reverse":
		directions = 1
	case "bidirectional":
		directions = 2
	default:
		return 0, 0, fmt.Errorf("direction is %q, expected forward, reverse or bidirectional", n.Str("direction"))
	}
	for i, name := range n.Strs("activations") {
		if want := []string{"Sigmoid", "Tanh", "Tanh"}[i%3]; name != want {
			return 0, 0, fmt.Errorf("activations is %v, expected Sigmoid, Tanh, Tanh", n.Strs("activations"))
		}
	}
	if len(n.Floats("activation_alpha"))+len(n.Floats("activation_beta")) > 0 {
		return 0, 0, fmt.Errorf("activation_alpha and activation_beta are not supported")
	}
	if x != nil && len(x) != 3 || w != nil && len(w) != 3 || r != nil && len(r) != 3 {
		return 0, 0, fmt.Errorf("X, W and R have shapes %v, %v and %v, expected 3 dimensions each", x, w, r)
	}
	if hidden = n.Int("hidden_size"); hidden == 0 && r != nil {
		hidden, _ = r[1].Int()
	}
	if r != nil && !shape.Of(directions, hidden, 4*hidden).Compatible(r) {
		return 0, 0, fmt.Errorf("R has shape %v, expected [%d,%d,%d]", r, directions, hidden, 4*hidden)
	}
	if hidden < 1 || hidden > 1<<24 {
		return 0, 0, fmt.Errorf("hidden_size is %d, expected at least 1", hidden)
	}
	return directions, hidden, nil
}

func inferDynamicLSTM(c *op.Infer) error {
	x := c.In[0].Shape
	directions, hidden, err := lstmSizes(c.Node, x, c.In[1].Shape, c.In[2].Shape)
	if err != nil {
		return err
	}
	seq, batch := shape.Unknown(), shape.Unknown()
	if x != nil {
		seq, batch = x[0], x[1]
	}
	d, h := shape.Const(directions), shape.Const(hidden)
	c.Set(0, dtype.Float32, shape.Shape{seq, d, batch, h})
	c.Set(1, dtype.Float32, shape.Shape{d, batch, h})
	c.Set(2, dtype.Float32, shape.Shape{d, batch, h})
	return nil
}

// requantizedFloats rounds numbers to what 8 bits with one scale hold.
func requantizedFloats(x []float64) []float64 {
	var lo, hi float64
	for _, v := range x {
		lo, hi = min(lo, v), max(hi, v)
	}
	out := make([]float64, len(x))
	if lo == hi {
		return out
	}
	scale := float64(float32(hi-lo) / 255)
	zero := saturated(math.RoundToEven(-lo/scale), dtype.Uint8)
	for i, v := range x {
		out[i] = (saturated(math.RoundToEven(v/scale)+zero, dtype.Uint8) - zero) * scale
	}
	return out
}

// lstmLayer is the numbers of one direction.
type lstmLayer struct {
	seq, batch, in, hidden int
	x                      []float64 // [seq, batch, in], quantized
	w, r                   []float64 // [in, 4·hidden] and [hidden, 4·hidden]; gates i, o, f, c
	bias, peep             []float64 // 4·hidden and 3·hidden (i, o, f)
	lens                   []int
	reverse, coupled       bool
	clip                   float64
	h, c                   []float64 // [batch, hidden]
}

// run advances the state to the end and calls out with each step's h.
func (l *lstmLayer) run(out func(step, b int, h []float64)) {
	gates := make([]float64, 4*l.hidden)
	if l.batch == 0 {
		return
	}
	for step := range slices.Max(l.lens) {
		h := requantizedFloats(l.h)
		for b := range l.batch {
			if step >= l.lens[b] {
				continue
			}
			at := step
			if l.reverse {
				at = l.lens[b] - 1 - step
			}
			copy(gates, l.bias)
			addProduct(gates, l.x[(at*l.batch+b)*l.in:][:l.in], l.w)
			addProduct(gates, h[b*l.hidden:][:l.hidden], l.r)
			l.cell(gates, l.h[b*l.hidden:][:l.hidden], l.c[b*l.hidden:][:l.hidden])
			out(at, b, l.h[b*l.hidden:][:l.hidden])
		}
	}
}

func addProduct(dst, x, w []float64) {
	for k, v := range x {
		for j := range dst {
			dst[j] += float64(v * w[k*len(dst)+j])
		}
	}
}

func (l *lstmLayer) cell(gates, h, c []float64) {
	n := l.hidden
	limit := func(x float64) float64 { return x }
	if l.clip > 0 {
		limit = func(x float64) float64 { return min(max(x, -l.clip), l.clip) }
	}
	sigmoid := func(x float64) float64 { return 1 / (1 + math.Exp(-limit(x))) }
	for k := range n {
		i := sigmoid(gates[k] + l.peep[k]*c[k])
		f := 1 - i
		if !l.coupled {
			f = sigmoid(gates[2*n+k] + l.peep[2*n+k]*c[k])
		}
		c[k] = float64(f*c[k]) + float64(i*math.Tanh(limit(gates[3*n+k])))
		h[k] = sigmoid(gates[n+k]+l.peep[n+k]*c[k]) * math.Tanh(c[k])
	}
}

func dynamicLSTMRef(c *op.Call) error {
	n := c.Node
	x, w := c.In[0], c.In[1]
	shapes := factsOf(c.In[:3])
	directions, hidden, err := lstmSizes(n, shapes[0].Shape, shapes[1].Shape, shapes[2].Shape)
	if err != nil {
		return err
	}
	seq, batch, in := x.Shape[0], x.Shape[1], x.Shape[2]
	if !shape.Of(directions, in, 4*hidden).Equal(shapes[1].Shape) {
		return fmt.Errorf("W is %s, expected [%d,%d,%d]", w, directions, in, 4*hidden)
	}
	l := &lstmLayer{seq: seq, batch: batch, in: in, hidden: hidden, coupled: n.Bool("input_forget"), clip: float64(n.Float("clip"))}
	if l.lens, err = sequenceLengths(c.Input(4), seq, batch); err != nil {
		return err
	}
	if batch > 0 { // what is behind the end of all sequences widens no range
		l.x = requantizedFloats(num.Floats(x)[:slices.Max(l.lens)*batch*in])
	}
	state := batch * hidden
	var parts [4][]float64 // bias, h, c, peepholes
	for i, p := range []struct{ input, n int }{{3, 8 * hidden}, {5, state}, {6, state}, {7, 3 * hidden}} {
		parts[i] = make([]float64, directions*p.n)
		if t := c.Input(p.input); t != nil {
			if t.Len() != len(parts[i]) {
				return fmt.Errorf("input %d is %s, expected %d numbers", p.input, t, len(parts[i]))
			}
			parts[i] = num.Floats(t)
		}
	}
	y := make([]float64, seq*directions*state)
	for d := range directions {
		l.reverse = d == 1 || n.Str("direction") == "reverse"
		if l.w, err = directionWeights(c.In[1], c.In[8], c.In[9], d); err != nil {
			return fmt.Errorf("W: %w", err)
		}
		if l.r, err = directionWeights(c.In[2], c.In[10], c.In[11], d); err != nil {
			return fmt.Errorf("R: %w", err)
		}
		b := parts[0][d*8*hidden:]
		l.bias = make([]float64, 4*hidden)
		for k := range l.bias {
			l.bias[k] = b[k] + b[4*hidden+k]
		}
		l.h, l.c, l.peep = parts[1][d*state:][:state], parts[2][d*state:][:state], parts[3][d*3*hidden:][:3*hidden]
		l.run(func(step, b int, h []float64) {
			copy(y[((step*directions+d)*batch+b)*hidden:], h)
		})
	}
	num.SetFloats(c.Output(0, dtype.Float32, seq, directions, batch, hidden), y)
	num.SetFloats(c.Output(1, dtype.Float32, directions, batch, hidden), parts[1])
	num.SetFloats(c.Output(2, dtype.Float32, directions, batch, hidden), parts[2])
	return nil
}

func sequenceLengths(t *tensor.Tensor, seq, batch int) ([]int, error) {
	lens := make([]int, batch)
	for i := range lens {
		lens[i] = seq
	}
	if t == nil {
		return lens, nil
	}
	v, err := t.Ints()
	if err != nil || len(v) != batch {
		return nil, fmt.Errorf("sequence_lens is %s, expected %d numbers", t, batch)
	}
	for i, n := range v {
		if n < 0 || n > seq {
			return nil, fmt.Errorf("sequence %d has %d elements, expected 0 to %d", i, n, seq)
		}
	}
	return v, nil
}

// directionWeights reads the matrix of one direction, whose scale and zero
// point are one for each direction, or one for each column of it.
func directionWeights(t, scale, zero *tensor.Tensor, d int) ([]float64, error) {
	size := tensor.Count(t.Shape[1:])
	part := func(p *tensor.Tensor) (*tensor.Tensor, error) {
		if p.Len()%t.Shape[0] != 0 {
			return nil, fmt.Errorf("scale %s and zero point %s, expected one, or one for each column, in %d directions", scale, zero, t.Shape[0])
		}
		n := p.Len() / t.Shape[0]
		y := tensor.New(p.DType, n)
		y.CopyElements(0, p, d*n, n)
		return y, nil
	}
	s, err := part(scale)
	if err != nil {
		return nil, err
	}
	z, err := part(zero)
	if err != nil {
		return nil, err
	}
	m := tensor.New(t.DType, t.Shape[1], t.Shape[2])
	m.CopyElements(0, t, d*size, size)
	y, err := dequantizedColumns(m, s, z)
	if err != nil {
		return nil, err
	}
	return num.Floats(y), nil
}
