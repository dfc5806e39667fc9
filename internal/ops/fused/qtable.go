package fused

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/qconv"
	"github.com/salver-ml/salver/internal/kernels/transpose"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: op.Salver, Name: "QTable", Versions: []int{1},
		Doc: "table[X]: any function of 8-bit integers. Negative numbers are in the second half of the table.",
		In:  op.Ports("X:T1", "table:T2"), Out: op.Ports("Y:T2"), Types: op.Types{"T1": bytes8, "T2": bytes8},
		Infer: func(c *op.Infer) error {
			if t := c.In[1].Shape; t != nil && !t.Compatible(shape.Of(256)) {
				return fmt.Errorf("table has shape %v, expected [256]", t)
			}
			c.Set(0, c.In[1].DType, c.In[0].Shape)
			return nil
		},
		Ref: qTableRef, Compile: compileQTable, InPlace: []int{0}, Rows: rowsQTable,
		Cases: qTableCases{},
	})
	for _, o := range []struct {
		name, doc string
		last      bool
	}{{"ToChannelsLast", "[N, C, H, W] of bytes to [N, H, W, C]", true}, {"FromChannelsLast", "[N, H, W, C] of bytes to [N, C, H, W]", false}} {
		turn := turnOp{o.last}
		op.Register(&op.Op{
			Domain: op.Salver, Name: o.name, Versions: []int{1}, Doc: o.doc,
			In: op.Ports("X:T"), Out: op.Ports("Y:T"), Types: op.Types{"T": bytes8},
			Infer: turn.infer, Ref: turn.ref, Compile: turn.compile, Rows: op.RowsFirst,
			Cases: turnCases{},
		})
	}
}

type qTableCases struct{}

func (qTableCases) Cases() []op.Case {
	return []op.Case{{Name: "table", In: []*tensor.Tensor{bytesOf[int8](3, 41), bytesOf[uint8](256)}}}
}

type turnCases struct{}

func (turnCases) Cases() []op.Case {
	return []op.Case{{Name: "odd", In: []*tensor.Tensor{bytesOf[uint8](2, 3, 5, 7)}}}
}

func rowsQTable(_ *ir.Node, in []int) ([]int, bool) { return []int{in[0]}, in[1] == op.NoRows }

func qTableRef(c *op.Call) error {
	y := c.Output(0, c.In[1].DType, c.In[0].Shape...)
	for i, x := range c.In[0].Data {
		y.Data[i] = c.In[1].Data[x]
	}
	return nil
}

func compileQTable(p *op.Prep) (op.Kernel, error) {
	t := elemwise.NewTable(tensor.Count(p.InShape(0)))
	return op.KernelFunc(func(c *op.Call) error {
		t.Run(c.Pool, c.Out[0].Data, c.In[0].Data, (*[256]byte)(c.In[1].Data))
		return nil
	}), nil
}

// turnOp moves the channels to the end, or back.
type turnOp struct{ last bool }

func (o turnOp) infer(c *op.Infer) error {
	s := c.In[0].Shape
	if s != nil && len(s) != 4 {
		return fmt.Errorf("X has shape %v, expected 4 dimensions", s)
	}
	switch {
	case s == nil:
	case o.last:
		s = shape.Shape{s[0], s[2], s[3], s[1]}
	default:
		s = shape.Shape{s[0], s[3], s[1], s[2]}
	}
	c.Set(0, c.In[0].DType, s)
	return nil
}

// matrix is a shape as images of h×w bytes to be transposed.
func (o turnOp) matrix(s []int) (n, h, w int, out []int) {
	if o.last {
		return s[0], s[1], s[2] * s[3], []int{s[0], s[2], s[3], s[1]}
	}
	return s[0], s[1] * s[2], s[3], []int{s[0], s[3], s[1], s[2]}
}

func (o turnOp) ref(c *op.Call) error {
	n, h, w, out := o.matrix(c.In[0].Shape)
	copy(c.Output(0, c.In[0].DType, out...).Data, turned(c.In[0].Data, n, h, w))
	return nil
}

func (o turnOp) compile(p *op.Prep) (op.Kernel, error) {
	n, h, w, out := o.matrix(p.InShape(0))
	if tensor.Count(out) == 0 {
		return nil, nil
	}
	if o.last && h == 3 {
		v := qconv.NewInterleave(n, w)
		return op.KernelFunc(func(c *op.Call) error { return v.Run(c.Pool, c.Out[0].Data, c.In[0].Data) }), nil
	}
	t, err := transpose.New(1, []int{n, h, w}, []int{0, 2, 1})
	if err != nil {
		return nil, err
	}
	return op.KernelFunc(func(c *op.Call) error {
		t.Run(c.Pool, c.Out[0].Data, c.In[0].Data)
		return nil
	}), nil
}
