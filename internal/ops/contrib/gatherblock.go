package contrib

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "GatherBlockQuantized", Versions: []int{1},
		Doc: "Gather from a table whose numbers have a scale and zero point for each block along an axis; uint8 data holds 8/bits numbers a byte along the last axis, low bits first",
		In:  op.Ports("data:T1", "indices:Tind", "scales:T2", "zero_points:T1?"), Out: op.Ports("output:T2"),
		Types: op.Types{"T1": {dtype.Int4, dtype.Uint4, dtype.Uint8}, "T2": op.Floats, "Tind": op.Indices},
		Attrs: op.Attrs{"gather_axis": op.Default(ir.Int(0)), "quantize_axis": op.Default(ir.Int(1)), "block_size": op.Default(ir.Int(128)), "bits": op.Default(ir.Int(4))},
		Infer: inferGatherBlock, Ref: gatherBlockRef, Compile: compileGatherBlock,
		Rows: func(n *ir.Node, in []int) ([]int, bool) {
			return []int{in[1]}, n.Int("gather_axis") == 0 && in[0] == op.NoRows && in[2] == op.NoRows && (len(in) < 4 || in[3] == op.NoRows)
		},
		Cases: gatherBlockQuantizedCases{},
	})
}

type gatherBlockQuantizedCases struct{}

func (gatherBlockQuantizedCases) Cases() []op.Case {
	data := make([]byte, 2*16/2)
	data[0], data[8] = 0x9a, 0x07 // rows 10 9 0… and 7 0 0…
	scales := tensor.FromSlice([]float32{2, .5}, 2, 1)
	want := func(a, b, rest float32) *tensor.Tensor {
		v := make([]float32, 16)
		for i := range v {
			v[i] = rest
		}
		v[0], v[1] = a, b
		return tensor.FromSlice(v, 1, 16)
	}
	attrs := map[string]*ir.Attr{"block_size": ir.Int(16)}
	return []op.Case{
		{Name: "bytes", In: []*tensor.Tensor{tensor.FromSlice(data, 2, 8), tensor.FromSlice([]int64{1}), scales}, Attrs: attrs, Out: []*tensor.Tensor{want(-.5, -4, -4)}},
		{Name: "zero points", In: []*tensor.Tensor{packedBytes(37, 40), tensor.FromSlice([]int32{3, -1, 36, 0, 3, 17}, 2, 3), wave(37, 3), packedBytes(37, 2)}, Attrs: map[string]*ir.Attr{"block_size": ir.Int(32)}},
		{Name: "8 bits", In: []*tensor.Tensor{packedBytes(9, 40), tensor.FromSlice([]int64{8, 0}), wave(9, 3)}, Attrs: map[string]*ir.Attr{"block_size": ir.Int(16), "bits": ir.Int(8)}},
		{Name: "int4", In: []*tensor.Tensor{{DType: dtype.Int4, Shape: []int{5, 33}, Data: packedBytes(83).Data}, tensor.FromSlice([]int64{4, 2}), wave(5, 3)}, Attrs: attrs},
		{Name: "uint4", In: []*tensor.Tensor{{DType: dtype.Uint4, Shape: []int{2, 16}, Data: data}, tensor.FromSlice([]int64{0}), scales}, Attrs: attrs, Out: []*tensor.Tensor{want(20, 18, 0)}},
	}
}

// blockTable is the geometry of a table of block-quantized numbers.
type blockTable struct {
	dims           []int // of the numbers
	gather, axis   int
	size, bits     int
	signed, packed bool
}

func newBlockTable(n *ir.Node, data op.Fact) (*blockTable, error) {
	t := &blockTable{size: n.Int("block_size"), bits: 4, signed: data.DType == dtype.Int4}
	if data.DType == dtype.Uint8 {
		t.bits, t.packed = n.Int("bits"), true
	}
	if t.bits != 2 && t.bits != 4 && t.bits != 8 || t.size < 16 || t.size&(t.size-1) != 0 {
		return nil, fmt.Errorf("bits is %d and block_size %d, expected 2, 4 or 8 and a power of two from 16", t.bits, t.size)
	}
	rank := len(data.Shape)
	var err error
	if t.gather, err = op.Axis(n.Int("gather_axis"), rank); err != nil {
		return nil, fmt.Errorf("gather_axis: %w", err)
	}
	if t.axis, err = op.Axis(n.Int("quantize_axis"), rank); err != nil {
		return nil, fmt.Errorf("quantize_axis: %w", err)
	}
	if t.gather == t.axis || t.packed && (t.axis != rank-1 || t.gather != 0) {
		return nil, fmt.Errorf("gather_axis is %d and quantize_axis %d, expected different ones, for bytes the first and the last", t.gather, t.axis)
	}
	return t, nil
}

func inferGatherBlock(c *op.Infer) error {
	data, indices := c.In[0], c.In[1].Shape
	if data.Shape == nil || data.DType == dtype.Invalid {
		c.Set(0, c.In[2].DType, nil)
		return nil
	}
	t, err := newBlockTable(c.Node, data)
	if err != nil || indices == nil {
		c.Set(0, c.In[2].DType, nil)
		return err
	}
	s := append(append(append(shape.Shape{}, data.Shape[:t.gather]...), indices...), data.Shape[t.gather+1:]...)
	if t.packed {
		s[len(s)-1] = s[len(s)-1].Mul(shape.Const(8 / t.bits))
	}
	c.Set(0, c.In[2].DType, s)
	return nil
}

// numbers gives the table's integers.
func (t *blockTable) numbers(x *tensor.Tensor) []float64 {
	if !t.packed {
		return num.Floats(x)
	}
	per := 8 / t.bits
	out := make([]float64, len(x.Data)*per)
	for i := range out {
		out[i] = float64(x.Data[i/per] >> (i % per * t.bits) & byte(1<<t.bits-1))
	}
	return out
}

func gatherBlockRef(c *op.Call) error {
	data, scales := c.In[0], c.In[2]
	t, err := newBlockTable(c.Node, factOf(data))
	if err != nil {
		return err
	}
	t.dims = append([]int{}, data.Shape...)
	if t.packed {
		t.dims[len(t.dims)-1] *= 8 / t.bits
	}
	v, err := t.dequantize(t.numbers(data), scales, c.Input(3))
	if err != nil {
		return err
	}
	table := tensor.New(scales.DType, t.dims...)
	num.SetFloats(table, v)
	s, err := newStandard("Gather", 13, map[string]*ir.Attr{"axis": ir.Int(t.gather)}, 2, 1)
	if err != nil {
		return err
	}
	y, err := s.run(c, table, c.In[1])
	if err != nil {
		return err
	}
	give(c, 0, y)
	return nil
}

func (t *blockTable) dequantize(v []float64, scales, zeros *tensor.Tensor) ([]float64, error) {
	blocks := append([]int{}, t.dims...)
	blocks[t.axis] = (t.dims[t.axis] + t.size - 1) / t.size
	if tensor.Count(blocks) != scales.Len() {
		return nil, fmt.Errorf("scales are %s, expected %v", scales, blocks)
	}
	zero := make([]float64, scales.Len())
	for i := range zero {
		if t.packed {
			zero[i] = float64(int(1) << (t.bits - 1))
		}
	}
	if zeros != nil {
		z, err := t.zeroPoints(zeros, blocks)
		if err != nil {
			return nil, err
		}
		zero = z
	}
	scale := num.Floats(scales)
	inner := tensor.Count(t.dims[t.axis+1:])
	for i := range v {
		k, along, outer := i%inner, i/inner%t.dims[t.axis], i/inner/t.dims[t.axis]
		block := (outer*blocks[t.axis]+along/t.size)*inner + k
		v[i] = (v[i] - zero[block]) * scale[block]
	}
	return v, nil
}

// zeroPoints reads one for each block; rows of packed ones are whole bytes.
func (t *blockTable) zeroPoints(z *tensor.Tensor, blocks []int) ([]float64, error) {
	want := tensor.Count(blocks)
	if !t.packed {
		if z.Len() != want {
			return nil, fmt.Errorf("zero_points are %s, expected %v", z, blocks)
		}
		return num.Floats(z), nil
	}
	row := blocks[len(blocks)-1]
	bytes := (row*t.bits + 7) / 8
	rows := want / max(row, 1)
	if len(z.Data) != rows*bytes {
		return nil, fmt.Errorf("zero_points are %s, expected %d rows of %d bytes", z, rows, bytes)
	}
	out := make([]float64, want)
	for i := range out {
		bit := i % row * t.bits
		out[i] = float64(z.Data[i/row*bytes+bit/8] >> (bit % 8) & byte(1<<t.bits-1))
	}
	return out, nil
}
