package contrib

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/linear"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "MatMulBnb4", Versions: []int{1}, Doc: "A times the transpose of B, whose numbers are codes of bitsandbytes' FP4 (0) or NF4 (1), high bits first, with a magnitude for each block",
		In: op.Ports("A:T1", "B:uint8", "absmax:T1"), Out: op.Ports("Y:T1"), Types: op.Types{"T1": op.Floats},
		Attrs: op.Attrs{"K": op.Required(ir.KindInt), "N": op.Required(ir.KindInt), "block_size": op.Required(ir.KindInt), "quant_type": op.Required(ir.KindInt), "training_mode": op.Default(ir.Int(0)), "transB": op.Default(ir.Int(1))},
		Infer: inferBnb4, Ref: bnb4Ref, Compile: wide.Compile(compileBnb4), Rows: rowsNBits, Flops: linear.Flops,
		Cases: matMulBnb4Cases{},
	})
}

type matMulBnb4Cases struct{}

func (matMulBnb4Cases) Cases() []op.Case {
	b := []byte{0xf7, 0x00, 0x7f, 0x70, 0, 0, 0, 0} // NF4: 1 0 -1 -1, 0 1 0 -1 …
	attrs := map[string]*ir.Attr{"K": ir.Int(4), "N": ir.Int(4), "block_size": ir.Int(16), "quant_type": ir.Int(1)}
	return []op.Case{{Name: "NF4", In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2, 3, 4}, 1, 4), tensor.FromSlice(b), tensor.FromSlice([]float32{2})}, Attrs: attrs,
		Out: []*tensor.Tensor{tensor.FromSlice([]float32{-12, -4, -20, -20}, 1, 4)}},
		{Name: "one block of any size", In: []*tensor.Tensor{wave(3, 4), packedBytes(8), tensor.FromSlice([]float32{2})},
			Attrs: map[string]*ir.Attr{"K": ir.Int(4), "N": ir.Int(4), "block_size": ir.Int(math.MaxInt64), "quant_type": ir.Int(1)}},
		{Name: "FP4", In: []*tensor.Tensor{wave(3, 2, 64), packedBytes(33 * 32), wave(33)}, Attrs: map[string]*ir.Attr{"K": ir.Int(64), "N": ir.Int(33), "block_size": ir.Int(64), "quant_type": ir.Int(0)}}}
}

// bnb4Codes are the numbers of bitsandbytes' 4-bit types.
var bnb4Codes = [2][16]float64{
	{0, 5.208333333e-03, 0.66666667, 1, 0.33333333, 0.5, 0.16666667, 0.25, 0, -5.208333333e-03, -0.66666667, -1, -0.33333333, -0.5, -0.16666667, -0.25},
	{-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0,
		0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1},
}

func inferBnb4(c *op.Infer) error {
	n := c.Node
	k, rows, block, kind := n.Int("K"), n.Int("N"), n.Int("block_size"), n.Int("quant_type")
	if k < 1 || rows < 1 || k > 1<<28 || rows > 1<<28 || block < 16 || kind < 0 || kind > 1 || !n.Bool("transB") {
		return fmt.Errorf("K %d, N %d, block_size %d, quant_type %d and transB %d, expected sizes, blocks of at least 16, type 0 or 1, and transB 1", k, rows, block, kind, n.Int("transB"))
	}
	s := c.In[0].Shape
	if s != nil {
		if len(s) == 0 || !shape.Of(k).Compatible(s[len(s)-1:]) {
			return fmt.Errorf("A has shape %v, expected %d columns", s, k)
		}
		s = append(append(shape.Shape{}, s[:len(s)-1]...), shape.Const(rows))
	}
	c.Set(0, c.In[0].DType, s)
	return nil
}

func bnb4Ref(c *op.Call) error {
	n := c.Node
	if err := inferBnb4(&op.Infer{Node: n, In: factsOf(c.In), Out: make([]op.Fact, 1)}); err != nil {
		return err
	}
	k, rows, block := n.Int("K"), n.Int("N"), n.Int("block_size")
	count := k * rows
	if c.In[1].Len() != (count+1)/2 || c.In[2].Len() != 1+(count-1)/block {
		return fmt.Errorf("B is %s and absmax %s, expected %d bytes and %d numbers", c.In[1], c.In[2], (count+1)/2, 1+(count-1)/block)
	}
	w := dequantizeBnb4(n.Int("quant_type"), block, count, c.In[1], c.In[2])
	a := num.Floats(c.In[0])
	y := make([]float64, len(a)/k*rows)
	for i := range y {
		for j, x := range a[i/rows*k:][:k] {
			y[i] += float64(x * w[i%rows*k+j])
		}
	}
	dims := append(append([]int{}, c.In[0].Shape[:len(c.In[0].Shape)-1]...), rows)
	num.SetFloats(c.Output(0, c.In[0].DType, dims...), y)
	return nil
}

// dequantizeBnb4 gives B's numbers, row by row.
func dequantizeBnb4(kind, block, count int, b, absmax *tensor.Tensor) []float64 {
	codes, scale := &bnb4Codes[kind], num.Floats(absmax)
	w := make([]float64, count)
	for i := range w {
		q := b.Data[i/2] >> (4 * (1 - i%2)) & 15
		w[i] = codes[q] * scale[i/block]
	}
	return w
}

// compileBnb4 multiplies with constant weights that are dequantized once.
func compileBnb4(p *op.Prep) (op.Kernel, error) {
	n := p.Node
	b, absmax := p.In[1].Const, p.In[2].Const
	if b == nil || absmax == nil {
		return nil, nil
	}
	if err := inferBnb4(&op.Infer{Node: n, In: p.In, Out: make([]op.Fact, 1)}); err != nil {
		return nil, err
	}
	k, rows, block := n.Int("K"), n.Int("N"), n.Int("block_size")
	if b.Len() != (k*rows+1)/2 || absmax.Len() != 1+(k*rows-1)/block {
		return nil, nil // the reference says what is wrong
	}
	weights := tensor.New(dtype.Float32, rows, k)
	num.SetFloats(weights, dequantizeBnb4(n.Int("quant_type"), block, k*rows, b, absmax))
	inner := *p
	inner.In = append(p.In[:0:0], p.In...)
	inner.In[1] = op.Fact{Type: ir.TypeOf(weights), Present: true, Const: weights}
	return linear.Compile(&inner, linear.Spec{TransB: true})
}
