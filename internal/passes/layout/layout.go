// Package layout keeps activations in the blocked layout that the convolution
// kernels compute in: [N, C, H, W] as [N, ⌈C/b⌉, H, W, b].
//
// Conv and ConvTranspose put each convolution between two reorders, which costs
// nothing by itself: the plain kernels reorder inside. Choose then decides for
// every operator that could follow in either layout (a site) by a minimum cut
// of the graph. Each value between a blocked and a plain operator costs its
// elements once, however many readers it has on the other side; an operator
// costs the unused channels that it would compute, and pooling a plain input.
// Moving reorders one operator at a time, as is usual, gets stuck where a step
// pays only together with the next, such as a Concat of one blocked and two
// plain tensors. Ties stay plain. Cancel and Ends clean up.
//
// Most operators need no blocked form: elementwise operators, Concat, Split,
// Slice, Pad, Resize and reductions mean the same on five dimensions as long as
// they leave the channels alone or cut between blocks.
//
// The channels beyond C in the last block hold finite numbers, always; see
// padding.go.
package layout

import (
	"fmt"
	"maps"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/conv"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/blocked"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
)

// level is the instruction set whose kernels the layout is for; tests fix it.
var level = cpu.Level

// blockSize is the number of channels in a block.
func blockSize() int { return conv.Block(level()) }

// Conv computes two-dimensional convolutions in blocked layout.
var Conv = pass.Pass{
	Name: "block-conv", Level: 3,
	Doc:     "Two-dimensional convolutions with constant weights compute in blocked layout, between reorders, where the kernels have an algorithm for it.",
	Rewrite: blockConv,
}

func blockConv(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	fused := n.Domain == op.Salver && n.Op == "FusedConv"
	if !fused && !n.Is("Conv") || !match.Float32(n.In[0]) {
		return nil, nil
	}
	p, why := convParams(n)
	if why != "" {
		c.Near(n, "%s", why)
		return nil, nil
	}
	p.BF16 = c.Precision == op.BF16
	alg := conv.Choose(p, level())
	if !alg.OutBlocked() {
		c.Near(n, "the %s algorithm is the best for it", alg)
		return nil, nil
	}
	b := newBuilder(c, blockSize())
	in := []*ir.Value{n.In[0], n.In[1], n.Input(2)}
	if alg.InBlocked() {
		in[0] = b.toBlocked(n.In[0])
	}
	if z := n.Input(3); z != nil {
		in = append(in, b.toBlocked(z))
	}
	attrs := maps.Clone(n.Attrs)
	attrs["block"], attrs["channels"] = ir.Int(b.block), ir.Int(p.In)
	y := b.node(op.Salver, "BlockedConv", n.Out[0].Name, in, attrs)
	y.Producer.Name = n.Name
	return b.replace(fmt.Sprintf("%s computes in blocks of %d channels", n, b.block), n.Out[0], b.fromBlocked(y, p.Out)), nil
}

// convParams gives the parameters that choose the algorithm, or what forbids
// blocked layout. Padding that depends on the input's size is left out: the
// choice does not depend on it.
func convParams(n *ir.Node) (p conv.Params, why string) {
	w, bias := n.In[1], n.Input(2)
	switch {
	case !w.IsConst() || bias != nil && !bias.IsConst():
		return p, "the weights are not constant"
	case w.Const.Rank() != 4:
		return p, fmt.Sprintf("it has %d spatial dimensions, not 2", w.Const.Rank()-2)
	case !blocked.HasActivation(n.Str("activation")):
		return p, fmt.Sprintf("the blocked kernels have no activation %q", n.Str("activation"))
	}
	if p = shapeParams(n); p.In < 1 || p.Out < 1 {
		return p, "it has no channels"
	}
	return p, ""
}

// shapeParams is what constant weights and attributes say.
func shapeParams(n *ir.Node) conv.Params {
	g, w := n.Int("group"), n.In[1].Const.Shape
	return conv.Params{In: w[1] * g, Out: w[0], Groups: g, Kernel: w[2:],
		Stride: n.Ints("strides"), Dilation: n.Ints("dilations"), Pads: n.Ints("pads"), Residual: n.Input(3) != nil}
}

// ConvTranspose computes transposed convolutions in blocked layout.
var ConvTranspose = pass.Pass{
	Name: "block-conv-transpose", Level: 3,
	Doc:     "Two-dimensional transposed convolutions with constant weights and explicit padding compute in blocked layout, between reorders.",
	Rewrite: blockConvTranspose,
}

func blockConvTranspose(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if !n.Is("ConvTranspose") || !match.Float32(n.In[0]) {
		return nil, nil
	}
	w, bias := n.In[1], n.Input(2)
	auto := n.Str("auto_pad")
	switch {
	case !w.IsConst() || bias != nil && !bias.IsConst():
		c.Near(n, "the weights are not constant")
		return nil, nil
	case w.Const.Rank() != 4:
		c.Near(n, "it has %d spatial dimensions, not 2", w.Const.Rank()-2)
		return nil, nil
	case n.Has("output_shape") || auto != "NOTSET" && auto != "VALID":
		c.Near(n, "its padding depends on the input's size")
		return nil, nil
	}
	attrs := map[string]*ir.Attr{}
	for _, name := range []string{"group", "strides", "dilations", "pads", "output_padding"} {
		if a, ok := n.Attrs[name]; ok && (name != "pads" || auto == "NOTSET") {
			attrs[name] = a
		}
	}
	attrs["block"], attrs["channels"] = ir.Int(blockSize()), ir.Int(w.Const.Shape[0])
	p, err := blocked.TransposeParams(&ir.Node{Attrs: n.Attrs}, w.Const.Shape)
	if err != nil {
		return nil, err
	}
	p.BF16 = c.Precision == op.BF16
	// The algorithm does not depend on the size of the input.
	plan, err := conv.NewTranspose(p, []int{1 << 10, 1 << 10}, level())
	if err != nil {
		c.Near(n, "%s", err)
		return nil, nil
	}
	if alg := plan.Algorithm(); !alg.InBlocked() || !alg.OutBlocked() {
		c.Near(n, "the %s algorithm is the best for it", alg)
		return nil, nil
	}
	b := newBuilder(c, blockSize())
	y := b.node(op.Salver, "BlockedConvTranspose", n.Out[0].Name, []*ir.Value{b.toBlocked(n.In[0]), w, bias}, attrs)
	y.Producer.Name = n.Name
	return b.replace(fmt.Sprintf("%s computes in blocks of %d channels", n, b.block), n.Out[0], b.fromBlocked(y, p.Out)), nil
}

// builder collects the nodes of a patch.
type builder struct {
	c     *pass.Context
	block int
	nodes []*ir.Node
}

func newBuilder(c *pass.Context, block int) *builder { return &builder{c: c, block: block} }

// node adds a node with one output.
func (b *builder) node(domain, name, out string, in []*ir.Value, attrs map[string]*ir.Attr) *ir.Value {
	opset := 1
	if domain == "" {
		opset = op.MaxOpset
	}
	y := b.c.Value(out)
	n := ir.NewNode(domain, name, opset, in, []*ir.Value{y}, attrs)
	b.nodes = append(b.nodes, n)
	return y
}

func (b *builder) toBlocked(v *ir.Value) *ir.Value {
	return b.node(op.Salver, "ToBlocked", v.Name+"_blocked", []*ir.Value{v}, map[string]*ir.Attr{"block": ir.Int(b.block)})
}

func (b *builder) fromBlocked(v *ir.Value, channels int) *ir.Value {
	return b.node(op.Salver, "FromBlocked", v.Name+"_plain", []*ir.Value{v}, map[string]*ir.Attr{"block": ir.Int(b.block), "channels": ir.Int(channels)})
}

func (b *builder) replace(reason string, old, v *ir.Value) *ir.Patch {
	return &ir.Patch{Reason: reason, Add: b.nodes, Replace: []ir.Replacement{{Old: old, New: v}}}
}

// fromBlocked gives the reorder that makes v plain, if one does.
func fromBlocked(v *ir.Value) *ir.Node {
	if v == nil || v.Producer == nil || v.Producer.Domain != op.Salver || v.Producer.Op != "FromBlocked" {
		return nil
	}
	return v.Producer
}

// Cancel removes reorders to plain layout and back.
var Cancel = pass.Pass{
	Name: "cancel-reorders", Level: 3,
	Doc:     "A reorder to blocked layout of what a reorder has just made plain gives the blocked tensor itself.",
	Rewrite: cancel,
}

func cancel(_ *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if n.Domain != op.Salver || n.Op != "ToBlocked" {
		return nil, nil
	}
	f := fromBlocked(n.In[0])
	if f == nil || f.Int("block") != n.Int("block") {
		return nil, nil
	}
	return &ir.Patch{Reason: fmt.Sprintf("%s undoes %s", n, f), Replace: []ir.Replacement{{Old: n.Out[0], New: f.In[0]}}}, nil
}

// Passes are the passes of this package in their order.
var Passes = []pass.Pass{Lines, Conv, ConvTranspose, Choose, Cancel, Ends, AddLast, Winograd, Half}
