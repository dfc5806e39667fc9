package decoder

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	kernel "github.com/salver-ml/salver/internal/kernels/rotary"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: op.Salver, Name: "RotaryTable", Versions: []int{1},
		Doc: "The cosines, and after them the sines, of positions[token]·frequencies[i], times scale: [tokens, 2·n] for n frequencies (RoPE, arXiv 2104.09864). Computed in float64 and rounded once.",
		In:  op.Ports("positions:int32", "frequencies:float32"), Out: op.Ports("table:float32"),
		Attrs: op.Attrs{"scale": op.Default(ir.Float(1))},
		Infer: inferTable, Ref: tableRef,
		Cases: rotaryTableCases{},
	})
	op.Register(&op.Op{
		Domain: op.Salver, Name: "Rotary", Versions: []int{1},
		Doc: "Turns pairs of the first elements of each of heads by the angles of a RotaryTable: X is [tokens, heads·d], the table [tokens, 2·n] with 2·n ≤ d. " +
			"Pair i is elements i and i+n, or 2·i and 2·i+1 if interleaved; the other elements stay.",
		In: op.Ports("X:float32", "table:float32"), Out: op.Ports("Y:float32"),
		Attrs: op.Attrs{"heads": op.Required(ir.KindInt), "interleaved": op.Default(ir.Int(0))},
		Infer: inferRotary, Ref: rotaryRef, Compile: compileRotary, InPlace: []int{0}, Rows: rowsRotary,
		Cases: rotaryCases{},
	})
}

type rotaryTableCases struct{}

func (rotaryTableCases) Cases() []op.Case {
	return []op.Case{
		{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]int32{0, 2}), tensor.FromSlice([]float32{1, .5})},
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{1, 1, 0, 0, -.41614684, .5403023, .9092974, .84147098}, 2, 4)}},
		{Name: "scaled", In: []*tensor.Tensor{tensor.FromSlice([]int32{0}), tensor.FromSlice([]float32{1})}, Attrs: map[string]*ir.Attr{"scale": ir.Float(2)},
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{2, 0}, 1, 2)}},
	}
}

type rotaryCases struct{}

func (rotaryCases) Cases() []op.Case {
	x, table := tensor.FromSlice([]float32{1, 2, 3, 4, 5, 6}, 1, 6), tensor.FromSlice([]float32{0, 1, 1, 0}, 1, 4)
	many := map[string]*ir.Attr{"heads": ir.Int(3)}
	return []op.Case{
		{Name: "halves", In: []*tensor.Tensor{x, table}, Attrs: map[string]*ir.Attr{"heads": ir.Int(1)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{-3, 2, 1, 4, 5, 6}, 1, 6)}},
		{Name: "interleaved", In: []*tensor.Tensor{x, table}, Attrs: map[string]*ir.Attr{"heads": ir.Int(1), "interleaved": ir.Int(1)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{-2, 1, 3, 4, 5, 6}, 1, 6)}},
		{Name: "heads", In: []*tensor.Tensor{wave(70, 3*16), wave(70, 16)}, Attrs: many},
		{Name: "neighbours of heads", In: []*tensor.Tensor{wave(70, 3*20), wave(70, 16)}, Attrs: map[string]*ir.Attr{"heads": ir.Int(3), "interleaved": ir.Int(1)}},
	}
}

func inferTable(c *op.Infer) error {
	p, f := c.In[0].Shape, c.In[1].Shape
	if p == nil || f == nil {
		c.Set(0, dtype.Float32, nil)
		return nil
	}
	if len(p) != 1 || len(f) != 1 {
		return fmt.Errorf("positions have shape %v and frequencies %v, expected a vector each", p, f)
	}
	c.Set(0, dtype.Float32, shape.Shape{p[0], f[0].Mul(shape.Const(2))})
	return nil
}

func tableRef(c *op.Call) error {
	positions, frequencies, scale := tensor.Of[int32](c.In[0]), tensor.Of[float32](c.In[1]), float64(c.Node.Float("scale"))
	n := len(frequencies)
	out := tensor.Of[float32](c.Output(0, dtype.Float32, len(positions), 2*n))
	for t, p := range positions {
		row := out[2*n*t:][:2*n]
		for i, f := range frequencies {
			sin, cos := math.Sincos(float64(p) * float64(f))
			row[i], row[n+i] = float32(cos*scale), float32(sin*scale)
		}
	}
	return nil
}

func inferRotary(c *op.Infer) error {
	x, table, heads := c.In[0].Shape, c.In[1].Shape, c.Node.Int("heads")
	if heads < 1 || x != nil && len(x) != 2 || table != nil && len(table) != 2 {
		return fmt.Errorf("%d heads of %v with the table %v, expected at least 1, [tokens,heads·d] and [tokens,2·n]", heads, x, table)
	}
	if x != nil && table != nil {
		width, known := x[1].Int()
		n, knownToo := table[1].Int()
		if known && knownToo && (width%heads != 0 || n > width/heads || n%2 != 0) {
			return fmt.Errorf("%d heads of %d elements in all, and angles for %d: expected a multiple, and no more than a head has", heads, width, n)
		}
	}
	return op.SameAsInput(c)
}

// rowsRotary: angles and tokens go together.
func rowsRotary(_ *ir.Node, in []int) ([]int, bool) { return []int{0}, in[0] == 0 && in[1] == 0 }

func rotaryRef(c *op.Call) error {
	var r rotary
	if err := r.read(c); err != nil {
		return err
	}
	copy(r.y, r.x)
	step, distance := 1, r.n // from pair to pair, and within one
	if r.interleaved {
		step, distance = 2, 1
	}
	for i := range r.y[:r.tokens*r.heads*r.width] {
		pair, token := i%r.width, i/r.width/r.heads
		if pair%step != 0 || pair/step >= r.n {
			continue // no first of a pair
		}
		table := r.table[2*r.n*token:]
		cos, sin, a, b := float64(table[pair/step]), float64(table[r.n+pair/step]), float64(r.x[i]), float64(r.x[i+distance])
		r.y[i], r.y[i+distance] = float32(a*cos-b*sin), float32(b*cos+a*sin)
	}
	return nil
}

// rotary is a call, and its chunks.
type rotary struct {
	x, y, table    []float32
	tokens, heads  int
	width, n       int
	interleaved    bool
	tokensOfAChunk int
}

func (r *rotary) read(c *op.Call) error {
	x, table := c.In[0], c.In[1]
	r.tokens, r.heads, r.n, r.interleaved = x.Shape[0], c.Node.Int("heads"), table.Shape[1]/2, c.Node.Bool("interleaved")
	r.width = x.Shape[1] / r.heads
	if table.Shape[0] != r.tokens || 2*r.n > r.width {
		return fmt.Errorf("X is %s and the table %s, expected as many rows, and no more angles than %d elements need", x, table, r.width)
	}
	r.x, r.table = tensor.Of[float32](x), tensor.Of[float32](table)
	r.y = tensor.Of[float32](c.Output(0, dtype.Float32, x.Shape...))
	return nil
}

// turn computes one token.
func (r *rotary) turn(token int) {
	table, at := r.table[2*r.n*token:][:2*r.n], token*r.heads*r.width
	kernel.Turn(r.y[at:], r.x[at:][:r.heads*r.width], table[:r.n], table[r.n:], r.heads, r.interleaved)
}

// chunkNumbers is about the size of a chunk.
const chunkNumbers = 16 << 10

// Do computes chunk number i.
func (r *rotary) Do(i int) {
	for t := i * r.tokensOfAChunk; t < min((i+1)*r.tokensOfAChunk, r.tokens); t++ {
		r.turn(t)
	}
}

func compileRotary(*op.Prep) (op.Kernel, error) {
	r := &rotary{}
	return op.KernelFunc(func(c *op.Call) error {
		defer func() { r.x, r.y, r.table = nil, nil, nil }()
		if err := r.read(c); err != nil {
			return err
		}
		r.tokensOfAChunk = max(1, chunkNumbers/(r.heads*r.width))
		c.Pool.Run((r.tokens+r.tokensOfAChunk-1)/r.tokensOfAChunk, r)
		return nil
	}), nil
}
