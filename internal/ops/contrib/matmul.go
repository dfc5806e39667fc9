package contrib

import (
	"fmt"
	"slices"

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
	attrs := op.Attrs{"alpha": op.Default(ir.Float(1))}
	for _, name := range []string{"transA", "transB", "transBatchA", "transBatchB"} {
		attrs[name] = op.Default(ir.Int(0))
	}
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "FusedMatMul", Versions: []int{1},
		Doc: "alpha·A·B. transBatchA moves A's first dimension behind the batch, before transA swaps the last two.",
		In:  op.Ports("A:T", "B:T"), Out: op.Ports("Y:T"), Types: op.Types{"T": op.Floats}, Attrs: attrs,
		Infer: inferFusedMatMul, Ref: fusedMatMulRef, Compile: wide.Compile(compileFusedMatMul), Flops: linear.Flops,
		Cases: fusedMatMulCases{},
	})
	older := *op.Find(op.Microsoft, "FusedMatMul", 1)
	older.Name, older.Doc = "TransposeMatMul", "FusedMatMul by its older name"
	op.Register(&older)
}

type fusedMatMulCases struct{}

func (fusedMatMulCases) Cases() []op.Case {
	flags := func(names ...string) map[string]*ir.Attr {
		m := map[string]*ir.Attr{"alpha": ir.Float(2)}
		for _, n := range names {
			m[n] = ir.Int(1)
		}
		return m
	}
	return []op.Case{
		{Name: "transposed", In: []*tensor.Tensor{wave(2, 7, 3), wave(2, 5, 7)}, Attrs: flags("transA", "transB")},
		{Name: "batch inside", In: []*tensor.Tensor{wave(3, 2, 7), wave(2, 7, 5)}, Attrs: flags("transBatchA")},
		{Name: "both inside", In: []*tensor.Tensor{wave(7, 2, 3), wave(7, 2, 5)}, Attrs: flags("transBatchA", "transBatchB", "transA")},
	}
}

// permutation is the order of an operand's dimensions.
func permutation(n *ir.Node, which string, rank int) []int {
	p := make([]int, rank)
	for i := range p {
		p[i] = i
	}
	if rank < 2 {
		return p
	}
	if n.Bool("transBatch" + which) {
		p = append(append(p[1:rank-1:rank-1], 0), rank-1)
	}
	if n.Bool("trans" + which) {
		p[rank-2], p[rank-1] = p[rank-1], p[rank-2]
	}
	return p
}

func permuted[T any](s []T, p []int) []T {
	out := make([]T, len(p))
	for i, k := range p {
		out[i] = s[k]
	}
	return out
}

func inferFusedMatMul(c *op.Infer) error {
	a, b := c.In[0].Shape, c.In[1].Shape
	var s shape.Shape
	if a != nil && b != nil {
		var err error
		if s, err = linear.MatMulShape(permuted(a, permutation(c.Node, "A", len(a))), permuted(b, permutation(c.Node, "B", len(b)))); err != nil {
			return err
		}
	}
	c.Set(0, c.In[0].DType, s)
	return nil
}

// turned reads a tensor with its dimensions permuted.
func turned(t *tensor.Tensor, p []int) ([]float64, []int) {
	s := permuted(t.Shape, p)
	v := num.Floats(t)
	out := make([]float64, 0, len(v))
	for _, i := range num.Index(s, permuted(tensor.Strides(t.Shape), p)) {
		out = append(out, v[i])
	}
	return out, s
}

func fusedMatMulRef(c *op.Call) error {
	a, as := turned(c.In[0], permutation(c.Node, "A", len(c.In[0].Shape)))
	b, bs := turned(c.In[1], permutation(c.Node, "B", len(c.In[1].Shape)))
	m, err := linear.NewMatMul(as, bs)
	if err != nil {
		return err
	}
	y := linear.Multiply(m, a, b)
	for i := range y {
		y[i] *= float64(c.Node.Float("alpha"))
	}
	num.SetFloats(c.Output(0, c.In[0].DType, m.Shape...), y)
	return nil
}

func compileFusedMatMul(p *op.Prep) (op.Kernel, error) {
	n := p.Node
	if n.Float("alpha") == 0 || n.Bool("transBatchA") || n.Bool("transBatchB") {
		return nil, nil
	}
	return linear.Compile(p, linear.Spec{TransA: n.Bool("transA"), TransB: n.Bool("transB"), Alpha: n.Float("alpha")})
}

func init() {
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "MatMulNBits", Versions: []int{1},
		Doc: "A times the transpose of B, whose rows are quantized in blocks along K; numbers are packed low bits first. With accuracy_level 4, A is rounded to 8 bits in blocks of 32 where blocks of B are a multiple of that and K is one of the block, and numbers of 8 bits have no zero points. There are kernels for 4 and 8 bits in such blocks; other constants are unpacked to float32 when the model is loaded.",
		In:  op.Ports("A:T1", "B:T2", "scales:T1", "zero_points:T3?", "g_idx:T4?", "bias:T1?"), Out: op.Ports("Y:T1"),
		Types: op.Types{"T1": op.Floats, "T2": op.Unsigned, "T3": slices.Concat(op.Unsigned, op.Floats), "T4": op.Indices},
		Attrs: op.Attrs{"K": op.Required(ir.KindInt), "N": op.Required(ir.KindInt), "bits": op.Default(ir.Int(4)), "block_size": op.Required(ir.KindInt),
			"accuracy_level": op.Default(ir.Int(0)), "weight_prepacked": op.Default(ir.Int(0))},
		Infer: inferNBits, Ref: nbitsRef, Compile: wide.Compile(compileNBits), Rows: rowsNBits, Flops: linear.Flops,
		Cases: matMulNBitsCases{},
	})
}

type matMulNBitsCases struct{}

func (matMulNBitsCases) Cases() []op.Case {
	attrs := map[string]*ir.Attr{"K": ir.Int(3), "N": ir.Int(2), "block_size": ir.Int(16)}
	level4 := map[string]*ir.Attr{"K": ir.Int(64), "N": ir.Int(33), "block_size": ir.Int(32), "accuracy_level": ir.Int(4)}
	b := make([]byte, 16)
	b[0], b[1], b[8], b[9] = 0x9a, 0x07, 0x80, 0x0f // rows 10 9 7 and 0 8 15
	return []op.Case{{Name: "4 bits", In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2, 3}, 1, 3), tensor.FromSlice(b, 2, 1, 8), tensor.FromSlice([]float32{1, .5}, 2)}, Attrs: attrs,
		Out: []*tensor.Tensor{tensor.FromSlice([]float32{1, 6.5}, 1, 2)}},
		{Name: "bias and zero points", In: []*tensor.Tensor{wave(2, 5, 40), packedBytes(33, 2, 16), wave(66), packedBytes(33), nil, wave(33)},
			Attrs: map[string]*ir.Attr{"K": ir.Int(40), "N": ir.Int(33), "block_size": ir.Int(32)}},
		{Name: "whole groups", In: []*tensor.Tensor{wave(3, 64), packedBytes(33, 2, 16), wave(66)}, Attrs: map[string]*ir.Attr{"K": ir.Int(64), "N": ir.Int(33), "block_size": ir.Int(32)}},
		{Name: "whole groups of 8 bits", In: []*tensor.Tensor{wave(2, 11, 64), packedBytes(33, 1, 128), wave(33), packedBytes(33), nil, wave(33)},
			Attrs: map[string]*ir.Attr{"K": ir.Int(64), "N": ir.Int(33), "block_size": ir.Int(128), "bits": ir.Int(8)}},
		{Name: "rounded to 8 bits", In: []*tensor.Tensor{wave(2, 5, 64), packedBytes(33, 2, 16), wave(66)}, Attrs: level4, Tol: .02},
		{Name: "rounded to 8 bits, with zero points", In: []*tensor.Tensor{wave(5, 64), packedBytes(33, 2, 16), wave(66), packedBytes(33), nil, wave(33)}, Attrs: level4, Tol: .02},
	}
}

// compileNBits multiplies by packed integers, with A rounded where the model allows that.
// Weights for which there are no kernels are dequantized once, at the price of their size
// in float32.
func compileNBits(p *op.Prep) (op.Kernel, error) {
	for _, compile := range []func(*op.Prep) (op.Kernel, error){compileIntegerNBits, compileFloatNBits} {
		if k, err := compile(p); k != nil || err != nil {
			return k, err
		}
	}
	c := &op.Call{Node: p.Node, In: make([]*tensor.Tensor, len(p.In))}
	for i := 1; i < len(p.In) && i < 5; i++ {
		if p.Has(i) && p.In[i].Const == nil {
			return nil, nil
		}
		c.In[i] = p.In[i].Const
	}
	w, err := dequantizeNBits(c)
	if err != nil {
		return nil, err
	}
	weights := tensor.New(dtype.Float32, p.Node.Int("N"), p.Node.Int("K"))
	num.SetFloats(weights, w)
	inner := *p
	inner.In = append(p.In[:0:0], p.In...)
	inner.In[1] = op.Fact{Type: ir.TypeOf(weights), Present: true, Const: weights}
	s := linear.Spec{TransB: true}
	if p.Has(5) {
		s.Bias = 5
	}
	return linear.Compile(&inner, s)
}

func rowsNBits(n *ir.Node, in []int) ([]int, bool) {
	for i, a := range in {
		if i > 0 && a != op.NoRows {
			return nil, false
		}
	}
	s := n.In[0].Type.Shape
	return []int{in[0]}, s != nil && in[0] < len(s)-1
}

func inferNBits(c *op.Infer) error {
	bits := c.Node.Int("bits")
	if size := c.Node.Int("block_size"); bits != 2 && bits != 4 && bits != 8 || size < 1 || size*bits%8 != 0 {
		return fmt.Errorf("bits is %d and block_size %d, expected 2, 4 or 8 bits and blocks of whole bytes", bits, size)
	}
	if bias, ok := c.Input(5).Shape.Ints(); ok && c.Input(5).Present && tensor.Count(bias) != c.Node.Int("N") {
		return fmt.Errorf("bias has shape %v, expected N = %d numbers", bias, c.Node.Int("N"))
	}
	s := c.In[0].Shape
	if s != nil && len(s) == 0 {
		return fmt.Errorf("A is a scalar, expected K = %d columns", c.Node.Int("K"))
	}
	if len(s) > 0 {
		if k, ok := s[len(s)-1].Int(); ok && k != c.Node.Int("K") {
			return fmt.Errorf("A has %d columns, expected K = %d", k, c.Node.Int("K"))
		}
		s = append(append(shape.Shape{}, s[:len(s)-1]...), shape.Const(c.Node.Int("N")))
	}
	c.Set(0, c.In[0].DType, s)
	return nil
}

func nbitsRef(c *op.Call) error {
	if err := inferNBits(&op.Infer{Node: c.Node, In: []op.Fact{{Type: ir.TypeOf(c.In[0])}}}); err != nil {
		return err
	}
	w, err := dequantizeNBits(c)
	if err != nil {
		return err
	}
	k, n := c.Node.Int("K"), c.Node.Int("N")
	a := num.Floats(c.In[0])
	rows := len(a) / max(k, 1)
	bias := make([]float64, n)
	if t := c.Input(5); t != nil {
		if t.Len() != n {
			return fmt.Errorf("bias is %s, expected %d numbers", t, n)
		}
		bias = num.Floats(t)
	}
	y := make([]float64, rows*n)
	for i := range y {
		y[i] = bias[i%n]
		for j, x := range a[i/n*k:][:k] {
			y[i] += float64(x * w[i%n*k+j])
		}
	}
	dims := append(append([]int{}, c.In[0].Shape[:len(c.In[0].Shape)-1]...), n)
	num.SetFloats(c.Output(0, c.In[0].DType, dims...), y)
	return nil
}

// dequantizeNBits gives B as N rows of K numbers.
func dequantizeNBits(c *op.Call) ([]float64, error) {
	k, n, bits, size := c.Node.Int("K"), c.Node.Int("N"), c.Node.Int("bits"), c.Node.Int("block_size")
	if k < 1 || n < 1 {
		return nil, fmt.Errorf("K is %d and N %d, expected at least 1", k, n)
	}
	blocks := (k + size - 1) / size
	b, scales := c.In[1].Data, num.Floats(c.In[2])
	if len(b) != n*blocks*size*bits/8 || len(scales) != n*blocks {
		return nil, fmt.Errorf("B is %s and scales %s, expected %d bytes and %d numbers for %d rows of %d blocks", c.In[1], c.In[2], n*blocks*size*bits/8, n*blocks, n, blocks)
	}
	zero, err := nbitsZeros(c.Input(3), n, blocks, bits)
	if err != nil {
		return nil, err
	}
	group := func(i int) int { return i / size }
	if t := c.Input(4); t != nil {
		g, err := t.Ints()
		if err != nil || len(g) < k || slices.Min(g[:k]) < 0 || slices.Max(g[:k]) >= blocks {
			return nil, fmt.Errorf("g_idx is %s, expected %d integers from 0 to %d", t, k, blocks-1)
		}
		group = func(i int) int { return g[i] }
	}
	w := make([]float64, n*k)
	for row := range n {
		for i := range k {
			at := row*blocks*size + i
			q := b[at*bits/8] >> (at * bits % 8) & (1<<bits - 1)
			block := row*blocks + group(i)
			w[row*k+i] = (float64(q) - zero[block]) * scales[block]
		}
	}
	return w, nil
}

// nbitsZeros gives a zero point for each block: packed like B with rows of
// whole bytes, or as floats; the middle of the range if there are none.
func nbitsZeros(t *tensor.Tensor, n, blocks, bits int) ([]float64, error) {
	out := make([]float64, n*blocks)
	for i := range out {
		out[i] = float64(int(1) << (bits - 1))
	}
	if t == nil {
		return out, nil
	}
	if t.DType.IsFloat() {
		if t.Len() != len(out) {
			return nil, fmt.Errorf("zero_points is %s, expected %d numbers", t, len(out))
		}
		return num.Floats(t), nil
	}
	stride := (blocks*bits + 7) / 8
	if len(t.Data) != n*stride {
		return nil, fmt.Errorf("zero_points is %s, expected %d rows of %d bytes", t, n, stride)
	}
	for i := range out {
		at := i % blocks * bits
		out[i] = float64(t.Data[i/blocks*stride+at/8] >> (at % 8) & (1<<bits - 1))
	}
	return out, nil
}

func packedBytes(dims ...int) *tensor.Tensor {
	t := tensor.New(dtype.Uint8, dims...)
	for i := range t.Data {
		t.Data[i] = byte(i*i*7 + i*31 + 5)
	}
	return t
}
