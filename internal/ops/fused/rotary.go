package fused

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

func init() {
	op.Register(&op.Op{
		Domain: op.Salver, Name: "FusedRotary", Versions: []int{1},
		Doc: "X·cos + R(X)·sin over the first n elements of the last axis (RoPE, arXiv 2104.09864), where R(X) is (-x₂, x₁) for the halves x₁ and x₂ of these elements, or for " +
			"neighbours if interleaved; the other elements stay. cos and sin are of one shape, which broadcasts to that of X but for the last axis: n, or n/2 if paired, " +
			"where both elements of a pair take the same number. Both products are rounded to float32 before they are added.",
		In: op.Ports("X:T", "cos:T", "sin:T"), Out: op.Ports("Y:T"), Types: op.Types{"T": {dtype.Float32, dtype.Float16, dtype.BFloat16}},
		Attrs: op.Attrs{"interleaved": op.Default(ir.Int(0)), "paired": op.Default(ir.Int(0))},
		Infer: inferRotary, Ref: rotaryRef, Compile: wide.Compile(compileRotary), InPlace: []int{0}, Rows: rowsRotary,
		Cases: rotaryCases{},
	})
}

type rotaryCases struct{}

func (rotaryCases) Cases() []op.Case {
	x := tensor.FromSlice([]float32{1, 2, 3, 4, 5, 6}, 1, 6)
	cos, sin := tensor.FromSlice([]float32{0, 1, 2, 3}, 4), tensor.FromSlice([]float32{1, 0, -1, 2}, 4)
	half, full := tensor.FromSlice([]float32{0, 1}, 2), tensor.FromSlice([]float32{1, 0}, 2)
	with := func(names ...string) map[string]*ir.Attr {
		attrs := map[string]*ir.Attr{}
		for _, n := range names {
			attrs[n] = ir.Int(1)
		}
		return attrs
	}
	return []op.Case{
		{Name: "halves", In: []*tensor.Tensor{x, cos, sin}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{-3, 2, 5, 16, 5, 6}, 1, 6)}},
		{Name: "interleaved", In: []*tensor.Tensor{x, cos, sin}, Attrs: with("interleaved"), Out: []*tensor.Tensor{tensor.FromSlice([]float32{-2, 2, 10, 18, 5, 6}, 1, 6)}},
		{Name: "paired", In: []*tensor.Tensor{x, half, full}, Attrs: with("paired"), Out: []*tensor.Tensor{tensor.FromSlice([]float32{-3, 2, 1, 4, 5, 6}, 1, 6)}},
		{Name: "paired neighbours", In: []*tensor.Tensor{x, half, full}, Attrs: with("interleaved", "paired"), Out: []*tensor.Tensor{tensor.FromSlice([]float32{-2, 1, 3, 4, 5, 6}, 1, 6)}},
		{Name: "heads first", In: []*tensor.Tensor{wave(2, 3, 70, 16), wave(2, 1, 70, 16), wave(2, 1, 70, 16)}},
		{Name: "tokens first", In: []*tensor.Tensor{wave(2, 70, 3, 18), wave(70, 1, 8), wave(70, 1, 8)}, Attrs: with("interleaved", "paired")},
		{Name: "no rows", In: []*tensor.Tensor{wave(0, 4), wave(1, 4), wave(1, 4)}},
	}
}

// rotaryProblem is a node's problem.
type rotaryProblem struct{ interleaved, paired bool }

func newRotary(n *ir.Node) rotaryProblem {
	return rotaryProblem{n.Bool("interleaved"), n.Bool("paired")}
}

// check gives the number of elements that turn, if the shapes are known.
func (r rotaryProblem) check(x, cos, sin shape.Shape) (n int, err error) {
	if x == nil || cos == nil || sin == nil {
		return 0, nil
	}
	if len(cos) < 1 || len(cos) > len(x) || len(sin) != len(cos) || !cos.Compatible(sin) {
		return 0, fmt.Errorf("X has shape %v, cos %v and sin %v, expected the last two alike, with at most the dimensions of X", x, cos, sin)
	}
	lead := len(x) - len(cos)
	for i, d := range cos[:len(cos)-1] {
		if !d.Is(1) && differ(d, x[lead+i]) {
			return 0, fmt.Errorf("cos has shape %v, which does not broadcast to %v", cos, x)
		}
	}
	n, known := cos[len(cos)-1].Int()
	if !known {
		return 0, nil
	}
	if r.paired {
		n *= 2
	}
	if d, known := x[len(x)-1].Int(); n%2 != 0 || known && n > d {
		return 0, fmt.Errorf("cos has shape %v for %v, expected an even number of elements to turn, and no more than there are", cos, x)
	}
	return n, nil
}

func inferRotary(c *op.Infer) error {
	if _, err := newRotary(c.Node).check(c.In[0].Shape, c.In[1].Shape, c.In[2].Shape); err != nil {
		return err
	}
	return op.SameAsInput(c)
}

// rowsRotary: the angles carry the batch as well, or are the same for all of it.
func rowsRotary(n *ir.Node, in []int) ([]int, bool) {
	x, cos := n.In[0].Type.Shape, n.In[1].Type.Shape
	if in[0] == op.NoRows || x == nil || cos == nil || in[0] >= len(x)-1 || in[1] != in[2] {
		return nil, false
	}
	at := in[0] - (len(x) - len(cos)) // the batch's axis of the angles
	if in[1] == op.NoRows {
		return []int{in[0]}, at < 0 || cos[at].Is(1)
	}
	return []int{in[0]}, in[1] == at
}

func rotaryRef(c *op.Call) error {
	r, err := newRotaryRows(c.Node, c.In[0].Shape, c.In[1].Shape, c.In[2].Shape)
	if err != nil {
		return err
	}
	r.x, r.cos, r.sin = num.Float32s(c.In[0]), num.Float32s(c.In[1]), num.Float32s(c.In[2])
	r.y = make([]float32, len(r.x))
	for i := range r.rows {
		r.turn(i)
	}
	num.SetFloat32s(c.Output(0, c.In[0].DType, r.dims...), r.y)
	return nil
}

// rotaryRows is a problem of known sizes, and its chunks.
type rotaryRows struct {
	rotaryProblem
	x, y, cos, sin []float32
	dims           []int // of X
	rows, width    int
	n, columns     int      // elements that turn, and numbers for them
	axes           []stride // of the rows, the last first
	rowsOfAChunk   int
}

func newRotaryRows(n *ir.Node, x, cos, sin []int) (*rotaryRows, error) {
	r := &rotaryRows{rotaryProblem: newRotary(n), dims: x}
	var err error
	if r.n, err = r.check(shape.Of(x...), shape.Of(cos...), shape.Of(sin...)); err != nil {
		return nil, err
	}
	last, lastAngle := len(x)-1, len(cos)-1
	r.rows, r.width, r.columns = tensor.Count(x[:last]), x[last], cos[lastAngle]
	r.rowsOfAChunk = max(1, rotaryChunk/max(1, r.width))
	r.place(x[:last], cos[:lastAngle])
	return r, nil
}

// take takes the tensors of a call, which are float32.
func (r *rotaryRows) take(c *op.Call) {
	r.x, r.cos, r.sin = tensor.Of[float32](c.In[0]), tensor.Of[float32](c.In[1]), tensor.Of[float32](c.In[2])
	r.y = tensor.Of[float32](c.Output(0, dtype.Float32, r.dims...))
}

// stride is an axis of so many rows, each so far from the other among the angles.
type stride struct{ size, step int }

// place finds the angles' rows; axes along which they go on as before are one.
func (r *rotaryRows) place(x, cos []int) {
	step := r.columns
	for i := range x {
		a := stride{size: x[len(x)-1-i]}
		if i < len(cos) && cos[len(cos)-1-i] > 1 {
			a.step = step
			step *= a.size
		}
		if n := len(r.axes); n > 0 && a.step == r.axes[n-1].step*r.axes[n-1].size {
			r.axes[n-1].size *= a.size
		} else if a.size > 1 {
			r.axes = append(r.axes, a)
		}
	}
}

// angles is where the angles of a row begin.
func (r *rotaryRows) angles(row int) int {
	at := 0
	for i, a := range r.axes {
		if i == len(r.axes)-1 {
			return at + row*a.step
		}
		q := row / a.size
		at += (row - q*a.size) * a.step
		row = q
	}
	return at
}

// turn computes one row. It may do so in place.
func (r *rotaryRows) turn(row int) {
	x, y := r.x[row*r.width:][:r.width], r.y[row*r.width:][:r.width]
	at := r.angles(row)
	cos, sin := r.cos[at:][:r.columns], r.sin[at:][:r.columns]
	copy(y[r.n:], x[r.n:])
	switch half := r.n / 2; {
	case r.interleaved && r.paired:
		for i, c := range cos {
			y[2*i], y[2*i+1] = pairTurned(x[2*i], x[2*i+1], c, c, sin[i], sin[i])
		}
	case r.interleaved:
		for i := 0; i+1 < len(cos); i += 2 {
			y[i], y[i+1] = pairTurned(x[i], x[i+1], cos[i], cos[i+1], sin[i], sin[i+1])
		}
	case r.paired:
		turnHalves(x[:r.n], y[:r.n], cos, cos, sin, sin)
	default:
		turnHalves(x[:r.n], y[:r.n], cos[:half], cos[half:], sin[:half], sin[half:])
	}
}

// turnHalves turns elements i and n+i for n pairs.
func turnHalves(x, y, c1, c2, s1, s2 []float32) {
	n := len(x) / 2
	x1, x2, y1, y2 := x[:n], x[n:][:n], y[:n], y[n:][:n]
	c1, c2, s1, s2 = c1[:n], c2[:n], s1[:n], s2[:n]
	for i := range x1 {
		y1[i], y2[i] = pairTurned(x1[i], x2[i], c1[i], c2[i], s1[i], s2[i])
	}
}

func pairTurned(a, b, c1, c2, s1, s2 float32) (float32, float32) {
	return float32(a*c1) - float32(b*s1), float32(b*c2) + float32(a*s2)
}

// Do computes chunk number i.
func (r *rotaryRows) Do(i int) {
	for row := i * r.rowsOfAChunk; row < min((i+1)*r.rowsOfAChunk, r.rows); row++ {
		r.turn(row)
	}
}

// rotaryChunk is about the number of elements of a chunk.
const rotaryChunk = 16 << 10

func compileRotary(p *op.Prep) (op.Kernel, error) {
	r, err := newRotaryRows(p.Node, p.InShape(0), p.InShape(1), p.InShape(2))
	if err != nil {
		return nil, err
	}
	return op.KernelFunc(func(c *op.Call) error {
		r.take(c)
		c.Pool.Run((r.rows+r.rowsOfAChunk-1)/r.rowsOfAChunk, r)
		r.x, r.y, r.cos, r.sin = nil, nil, nil, nil
		return nil
	}), nil
}
