package tensorops

import (
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Name: "Where", Versions: []int{9, 16}, Doc: "X where the condition is true, else Y",
		In: op.Ports("condition:bool", "X:T", "Y:T"), Out: op.Ports("output:T"), Types: op.Types{"T": op.AllTensors},
		Infer: whereInfer, Ref: whereRef, Compile: compileWhere, InPlace: []int{1, 2}, Rows: op.RowsBroadcast, Cases: whereCases{},
		Row: func(*ir.Node) elemwise.RowFunc { return elemwise.SelectRow },
	})
}

func whereInfer(c *op.Infer) error {
	s, err := op.BroadcastShapes(c.In)
	if err != nil {
		return err
	}
	dt := c.In[1].DType
	if dt == 0 {
		dt = c.In[2].DType
	}
	c.Set(0, dt, s)
	n, fixed := s.Count().Int()
	if len(s) > 1 || s == nil || !fixed || n > maxContent {
		return nil
	}
	cond, ok := content(c.In[0])
	if !ok {
		return nil
	}
	x, okX := content(c.In[1])
	y, okY := content(c.In[2])
	out := shape.Unknowns(n)
	for i := range out {
		from, known := y, okY
		switch pick := cond[i%len(cond)]; {
		case pick.Is(1):
			from, known = x, okX
		case !pick.Is(0):
			known = false
		}
		if known && len(from) > 0 {
			out[i] = from[i%len(from)]
		}
	}
	if okX || okY {
		c.SetContent(0, out)
	}
	return nil
}

func whereRef(c *op.Call) error {
	cond, x, y := c.In[0], c.In[1], c.In[2]
	dims, err := num.BroadcastShape(cond.Shape, x.Shape, y.Shape)
	if err != nil {
		return err
	}
	out := c.Output(0, x.DType, dims...)
	pick := num.Broadcast(tensor.Of[bool](cond), cond.Shape, dims)
	atX := num.Index(dims, num.BroadcastStrides(x.Shape, dims))
	atY := num.Index(dims, num.BroadcastStrides(y.Shape, dims))
	for i, p := range pick {
		if p {
			out.CopyElements(i, x, atX[i], 1)
		} else {
			out.CopyElements(i, y, atY[i], 1)
		}
	}
	return nil
}

type whereKernel struct {
	sel  *elemwise.Select
	dims []int
}

func (k *whereKernel) Run(c *op.Call) error {
	x := c.In[1]
	k.sel.Run(c.Pool, c.Output(0, x.DType, k.dims...).Data, c.In[0].Data, x.Data, c.In[2].Data)
	return nil
}

func compileWhere(p *op.Prep) (op.Kernel, error) {
	size, ok := byteSize(p.In[1].DType)
	if !ok {
		return nil, nil
	}
	sel, err := elemwise.NewSelect(size, p.InShape(0), p.InShape(1), p.InShape(2))
	if err != nil {
		return nil, err
	}
	return &whereKernel{sel, p.OutShape(0)}, nil
}

type whereCases struct{}

func (whereCases) Cases() []op.Case {
	cond := tensor.FromSlice([]bool{true, false, true})
	return []op.Case{
		{Name: "vectors", In: []*tensor.Tensor{cond, tensor.FromSlice([]int8{1, 2, 3}), tensor.FromSlice([]int8{4, 5, 6})}, Out: []*tensor.Tensor{tensor.FromSlice([]int8{1, 5, 3})}},
		{Name: "broadcast", In: []*tensor.Tensor{cond, sequence(5, 1), tensor.Scalar(float32(-1))}},
		{Name: "strings", In: []*tensor.Tensor{cond, tensor.FromStrings([]string{"a"}), tensor.FromStrings([]string{"b"})}, Out: []*tensor.Tensor{tensor.FromStrings([]string{"a", "b", "a"})}},
	}
}
