package providertest

import (
	"fmt"
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// ramp gives n numbers around zero.
func ramp(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(i%17)/8 - 1
	}
	return x
}

// builder makes a graph of ONNX operators.
type builder struct{ g *ir.Graph }

func (b *builder) nodes(name string, outs int, attrs map[string]*ir.Attr, in ...*ir.Value) []*ir.Value {
	out := make([]*ir.Value, outs)
	for i := range out {
		out[i] = ir.NewValue(fmt.Sprintf("%s%d.%d", name, len(b.g.Nodes), i), ir.Type{})
	}
	n := ir.NewNode("", name, 18, in, out, attrs)
	if err := op.Complete(n); err != nil {
		panic(err) // the suite's own mistake
	}
	b.g.Nodes = append(b.g.Nodes, n)
	return out
}

func (b *builder) node(name string, attrs map[string]*ir.Attr, in ...*ir.Value) *ir.Value {
	return b.nodes(name, 1, attrs, in...)[0]
}

// ladder makes a graph of n rungs from x of [2,8,6]: each cuts, computes in
// place, reshapes, multiplies by weights, joins and reads values of earlier
// rungs. Its outputs are a middle value, the last, and a view of the last.
func ladder(n int) *ir.Graph {
	x := ir.NewValue("x", ir.Type{DType: dtype.Float32, Shape: shape.Of(2, 8, 6)})
	b := &builder{&ir.Graph{Inputs: []*ir.Value{x}, Opsets: map[string]int{"": 18}}}
	ints := func(v ...int64) *ir.Value {
		return ir.NewConst(fmt.Sprint("ints", len(b.g.Nodes)), tensor.FromSlice(v, len(v)))
	}
	y := x
	var middle *ir.Value
	for i := range n {
		halves := b.nodes("Split", 2, map[string]*ir.Attr{"axis": ir.Int(0)}, y, ints(1, 1))
		left := b.node("Relu", nil, b.node("Neg", nil, halves[0]))
		flat := b.node("Reshape", nil, halves[1], ints(8, 6))
		w := ir.NewConst(fmt.Sprint("w", i), tensor.FromSlice(ramp(36), 6, 6))
		right := b.node("Reshape", nil, b.node("Tanh", nil, b.node("MatMul", nil, flat, w)), ints(1, 8, 6))
		joined := b.node("Concat", map[string]*ir.Attr{"axis": ir.Int(0)}, left, right)
		y = b.node("Add", nil, joined, b.node("Transpose", map[string]*ir.Attr{"perm": ir.Ints(0, 2, 1)}, b.node("Transpose", map[string]*ir.Attr{"perm": ir.Ints(0, 2, 1)}, y)))
		if i == n/2 {
			middle = y
		}
	}
	b.g.AddOutput("middle", middle)
	b.g.AddOutput("last", y)
	b.g.AddOutput("flat", b.node("Reshape", nil, y, ints(-1)))
	if err := op.InferTypes(b.g); err != nil {
		panic(err)
	}
	return b.g
}
