package layout

import (
	"fmt"
	"maps"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
	"github.com/salver-ml/salver/internal/tensor"
)

// Sink moves reorders to plain layout below the operators that can compute in
// blocked layout as well.
var Sink = pass.Pass{
	Name: "sink-reorders", Level: 3,
	Doc: "Elementwise operators, Concat of whole blocks of channels, and pooling compute in blocked layout; " +
		"the reorder to plain layout moves behind them.",
	Rewrite: sink,
}

func sink(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if n.Domain != "" || len(n.In) == 0 || n.Output(0) == nil || !match.Float32(n.Out[0]) {
		return nil, nil
	}
	switch {
	case unary[n.Op]:
		return sinkUnary(c, n), nil
	case binary[n.Op]:
		return sinkBinary(c, n), nil
	case n.Op == "Concat":
		return sinkConcat(c, n), nil
	case pools[n.Op] != "":
		return sinkPool(c, n), nil
	}
	return nil, nil
}

// unary operators treat each element of input 0 alike; further inputs are
// scalars.
var unary = map[string]bool{
	"Relu": true, "LeakyRelu": true, "Clip": true, "Sigmoid": true, "Tanh": true, "HardSigmoid": true, "HardSwish": true, "Mish": true,
	"Swish": true, "Gelu": true, "Elu": true, "Selu": true, "Celu": true, "Softplus": true, "Softsign": true, "Abs": true, "Neg": true,
	"Exp": true, "Sqrt": true, "Erf": true, "Floor": true, "Ceil": true, "ThresholdedRelu": true,
}

func sinkUnary(c *pass.Context, n *ir.Node) *ir.Patch {
	f := fromBlocked(n.In[0])
	if f == nil {
		return nil
	}
	b := newBuilder(c, f.Int("block"))
	in := append([]*ir.Value{f.In[0]}, n.In[1:]...)
	y := b.node("", n.Op, n.Out[0].Name, in, maps.Clone(n.Attrs))
	b.keep(y, n)
	return b.replace(fmt.Sprintf("%s computes in blocked layout", n), n.Out[0], b.fromBlocked(y, f.Int("channels")))
}

// keep gives a node that computes the same as n its name and opset.
func (b *builder) keep(y *ir.Value, n *ir.Node) { y.Producer.Name, y.Producer.Opset = n.Name, n.Opset }

var binary = map[string]bool{"Add": true, "Sub": true, "Mul": true, "Div": true, "Max": true, "Min": true}

func sinkBinary(c *pass.Context, n *ir.Node) *ir.Patch {
	if len(n.In) != 2 {
		return nil
	}
	f := fromBlocked(n.In[0])
	if f == nil {
		f = fromBlocked(n.In[1])
	}
	if f == nil || len(n.Out[0].Type.Shape) != 4 {
		return nil
	}
	block, channels := f.Int("block"), f.Int("channels")
	b := newBuilder(c, block)
	in := make([]*ir.Value, 2)
	for i, v := range n.In {
		if in[i] = b.operand(v, channels); in[i] == nil {
			c.Near(n, "operand %q of shape %s has no blocked form", v.Name, v.Type.Shape)
			return nil
		}
	}
	y := b.node("", n.Op, n.Out[0].Name, in, maps.Clone(n.Attrs))
	b.keep(y, n)
	return b.replace(fmt.Sprintf("%s computes in blocked layout", n), n.Out[0], b.fromBlocked(y, channels))
}

// operand gives the blocked form of an operand: what a reorder made plain, a
// scalar, or a constant or small tensor with a number for each channel.
func (b *builder) operand(v *ir.Value, channels int) *ir.Value {
	if f := fromBlocked(v); f != nil && f.Int("channels") == channels && f.Int("block") == b.block {
		return f.In[0]
	}
	s := v.Type.Shape
	if v.IsConst() {
		if v.Const.Len() == 1 && len(s) <= 4 {
			return ir.NewConst(b.c.Name(v.Name), v.Const.Reshape())
		}
		return b.perChannel(v, channels)
	}
	if len(s) == 4 && s[1].Is(channels) && s[2].Is(1) && s[3].Is(1) {
		return b.toBlocked(v) // small: a gate or a bias computed per channel
	}
	return nil
}

// perChannel gives a constant [1,C,1,1] or [C,1,1] in blocked layout.
func (b *builder) perChannel(v *ir.Value, channels int) *ir.Value {
	s := v.Const.Shape
	if len(s) > 4 || len(s) < 3 || v.Const.Len() != channels || s[len(s)-3] != channels {
		return nil
	}
	blocks := (channels + b.block - 1) / b.block
	t := tensor.New(dtype.Float32, 1, blocks, 1, 1, b.block)
	copy(t.Data, v.Const.Data)
	// A divisor of zero in the unused channels would make infinities there,
	// which later zero weights turn into NaN.
	for i := channels; i < blocks*b.block; i++ {
		tensor.Of[float32](t)[i] = 1
	}
	return ir.NewConst(b.c.Name(v.Name), t)
}

func sinkConcat(c *pass.Context, n *ir.Node) *ir.Patch {
	if n.Int("axis") != 1 && n.Int("axis") != -3 || len(n.Out[0].Type.Shape) != 4 {
		return nil
	}
	var in []*ir.Value
	total, block, some := 0, 0, false
	for _, v := range n.In {
		f := fromBlocked(v)
		some = some || f != nil
		if f == nil || block != 0 && f.Int("block") != block || f.Int("channels")%f.Int("block") != 0 {
			if some {
				c.Near(n, "operand %q of shape %s is no whole number of blocks", v.Name, v.Type.Shape)
			}
			return nil
		}
		block = f.Int("block")
		total += f.Int("channels")
		in = append(in, f.In[0])
	}
	b := newBuilder(c, block)
	y := b.node("", "Concat", n.Out[0].Name, in, map[string]ir.Attr{"axis": ir.Int(1)})
	b.keep(y, n)
	return b.replace(fmt.Sprintf("%s joins blocks", n), n.Out[0], b.fromBlocked(y, total))
}

// pools maps poolings to their blocked form.
var pools = map[string]string{
	"MaxPool": "BlockedMaxPool", "AveragePool": "BlockedAveragePool",
	"GlobalMaxPool": "BlockedGlobalMaxPool", "GlobalAveragePool": "BlockedGlobalAveragePool",
}

func sinkPool(c *pass.Context, n *ir.Node) *ir.Patch {
	f := fromBlocked(n.In[0])
	if f == nil {
		return nil
	}
	if n.Output(1) != nil && (len(n.Out[1].Uses()) > 0 || n.Out[1].IsOutput()) {
		c.Near(n, "its indices are read")
		return nil
	}
	attrs := maps.Clone(n.Attrs)
	delete(attrs, "storage_order") // of the indices
	b := newBuilder(c, f.Int("block"))
	y := b.node(op.Salver, pools[n.Op], n.Out[0].Name, []*ir.Value{f.In[0]}, attrs)
	y.Producer.Name = n.Name
	return b.replace(fmt.Sprintf("%s computes in blocked layout", n), n.Out[0], b.fromBlocked(y, f.Int("channels")))
}
