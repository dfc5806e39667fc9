package blocked

import (
	"fmt"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/conv"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: op.Salver, Name: "ToBlocked", Versions: []int{1}, Doc: "[N,C,H,W] to blocked layout; channels beyond C are zero",
		In: op.Ports("X:T"), Out: op.Ports("Y:T"), Types: onlyFloat, Attrs: op.Attrs{"block": op.Required(ir.KindInt)},
		Infer: inferToBlocked, Ref: toBlockedRef, Compile: compileToBlocked, Rows: op.RowsFirst, Cases: toBlockedCases{},
	})
	op.Register(&op.Op{
		Domain: op.Salver, Name: "FromBlocked", Versions: []int{1}, Doc: "blocked layout to [N,channels,H,W]",
		In: op.Ports("X:T"), Out: op.Ports("Y:T"), Types: onlyFloat, Attrs: op.Attrs{"block": op.Required(ir.KindInt), "channels": op.Required(ir.KindInt)},
		Infer: inferFromBlocked, Ref: fromBlockedRef, Compile: compileFromBlocked, Rows: op.RowsFirst, Cases: fromBlockedCases{},
	})
}

func inferToBlocked(c *op.Infer) error {
	s, b := c.In[0].Shape, c.Node.Int("block")
	if b < 1 || b > maxBlock {
		return fmt.Errorf("block is %d, expected 1 to %d", b, maxBlock)
	}
	if s == nil {
		return nil
	}
	if len(s) != 4 {
		return fmt.Errorf("expected [N,C,H,W], found %v", s)
	}
	c.Set(0, c.In[0].DType, Shape(s, b))
	return nil
}

func toBlockedRef(c *op.Call) error {
	s := c.In[0].Shape
	block(c.Output(0, c.In[0].DType, blockedDims(s[0], s[1], s[2], s[3], c.Node.Int("block"))...), c.In[0])
	return nil
}

func inferFromBlocked(c *op.Infer) error {
	s, channels, b := c.In[0].Shape, c.Node.Int("channels"), c.Node.Int("block")
	if s == nil {
		return nil
	}
	if err := checkBlocked(s, channels, b); err != nil {
		return err
	}
	c.Set(0, c.In[0].DType, plainShape(s, channels))
	return nil
}

func fromBlockedRef(c *op.Call) error {
	y := plain(c.In[0], c.Node.Int("channels"))
	copy(c.Output(0, y.DType, y.Shape...).Data, y.Data)
	return nil
}

// reorder runs a prepared conversion.
type reorder struct {
	run *conv.Reorder
	n   int
}

func (r *reorder) Run(c *op.Call) error {
	r.run.Run(c.Pool, r.n, tensor.Of[float32](c.Out[0]), tensor.Of[float32](c.In[0]))
	return nil
}

func compileToBlocked(p *op.Prep) (op.Kernel, error) {
	s := p.InShape(0)
	if !levelFits(p.Node) {
		return nil, nil
	}
	return &reorder{conv.NewToBlocked(s[1], s[2]*s[3], cpu.Level()), s[0]}, nil
}

func compileFromBlocked(p *op.Prep) (op.Kernel, error) {
	s := p.InShape(0)
	if !levelFits(p.Node) {
		return nil, nil
	}
	return &reorder{conv.NewFromBlocked(p.Node.Int("channels"), s[2]*s[3], cpu.Level()), s[0]}, nil
}

type toBlockedCases struct{}

func (toBlockedCases) Cases() []op.Case {
	b := conv.Block(cpu.Level())
	return []op.Case{{Name: "19 channels", In: []*tensor.Tensor{ramp(2, 19, 3, 5)}, Attrs: map[string]*ir.Attr{"block": ir.Int(b)}}}
}

type fromBlockedCases struct{}

func (fromBlockedCases) Cases() []op.Case {
	b := conv.Block(cpu.Level())
	return []op.Case{{Name: "19 channels", In: []*tensor.Tensor{blockedRamp(2, 19, 3, 5, b)}, Attrs: map[string]*ir.Attr{"block": ir.Int(b), "channels": ir.Int(19)}}}
}

// ramp makes small numbers that sums of products hold exactly.
func ramp(dims ...int) *tensor.Tensor {
	v := make([]float32, tensor.Count(dims))
	for i := range v {
		v[i] = float32(i%9) - 4
	}
	return tensor.FromSlice(v, dims...)
}

// blockedRamp is ramp in blocked layout, with zeros in the channels beyond C.
func blockedRamp(n, channels, h, w, b int) *tensor.Tensor {
	t := tensor.New(dtype.Float32, blockedDims(n, channels, h, w, b)...)
	block(t, ramp(n, channels, h, w))
	return t
}
