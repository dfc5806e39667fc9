package nn

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Name: "TensorScatter", Versions: []int{24}, Doc: "Writes new keys or values into a cache, from a place of each sequence on.",
		In: op.Ports("past_cache:T", "update:T", "write_indices:int64?"), Out: op.Ports("present_cache:T"), Types: op.Types{"T": op.AllTensors},
		Attrs: op.Attrs{"axis": op.Default(ir.Int(-2)), "mode": op.Default(ir.Str("linear"))},
		Infer: inferTensorScatter, Ref: tensorScatterRef, Rows: rowsTensorScatter,
		Cases: tensorScatterCases{},
	})
}

type tensorScatterCases struct{}

func (tensorScatterCases) Cases() []op.Case {
	past := tensor.New(dtype.Float32, 2, 3, 1)
	in := []*tensor.Tensor{past, tensor.FromSlice([]float32{1, 2, 3, 4}, 2, 2, 1), tensor.FromSlice([]int64{1, 0})}
	wrap := []*tensor.Tensor{past, in[1], tensor.FromSlice([]int64{2, 0})}
	return []op.Case{
		{Name: "linear", In: in, Out: []*tensor.Tensor{tensor.FromSlice([]float32{0, 1, 2, 3, 4, 0}, 2, 3, 1)}},
		{Name: "circular", In: wrap, Attrs: map[string]*ir.Attr{"mode": ir.Str("circular")}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{2, 0, 1, 3, 4, 0}, 2, 3, 1)}},
	}
}

func rowsTensorScatter(n *ir.Node, in []int) ([]int, bool) {
	if in[0] != 0 || in[1] != 0 || len(in) > 2 && n.In[2] != nil && in[2] != 0 {
		return nil, false
	}
	return []int{0}, true
}

func inferTensorScatter(c *op.Infer) error {
	if s := c.In[0].Shape; s != nil {
		axis, err := op.Axis(c.Node.Int("axis"), len(s))
		if err != nil {
			return err
		}
		if axis == 0 {
			return fmt.Errorf("axis is 0, the batch; expected a later one")
		}
	}
	return op.SameAsInput(c)
}

func tensorScatterRef(c *op.Call) error {
	past, update := c.In[0], c.In[1]
	axis, err := op.Axis(c.Node.Int("axis"), len(past.Shape))
	if err != nil {
		return err
	}
	if len(update.Shape) != len(past.Shape) {
		return fmt.Errorf("update is %s, expected %d dimensions", update, len(past.Shape))
	}
	for i, d := range update.Shape {
		if i == axis && d > past.Shape[i] || i != axis && d != past.Shape[i] {
			return fmt.Errorf("update is %s, which does not fit into %s along axis %d", update, past, axis)
		}
	}
	start := make([]int, past.Shape[0])
	if t := c.Input(2); t != nil {
		if start, err = t.Ints(); err != nil || len(start) != past.Shape[0] {
			return fmt.Errorf("write_indices is %s, expected %d integers", t, past.Shape[0])
		}
	}
	y := c.Output(0, past.DType, past.Shape...)
	y.CopyElements(0, past, 0, past.Len())
	size, length, inner := past.Shape[axis], update.Shape[axis], tensor.Count(past.Shape[axis+1:])
	circular := c.Node.Str("mode") == "circular"
	outer := tensor.Count(past.Shape[:axis])
	for o := range outer {
		for i := range length {
			at := start[o*past.Shape[0]/outer] + i
			if circular && size > 0 {
				at %= size
			}
			if at < 0 || at >= size {
				return fmt.Errorf("position %d of sequence %d is outside the cache's %d", at, o*past.Shape[0]/outer, size)
			}
			y.CopyElements((o*size+at)*inner, update, (o*length+i)*inner, inner)
		}
	}
	return nil
}
