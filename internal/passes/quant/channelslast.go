package quant

import (
	"fmt"
	"maps"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/tensor"
)

// ChannelsLast keeps quantized activations in the layout of the kernels.
var ChannelsLast = pass.Pass{
	Name: "channels-last", Level: 3,
	Doc: "Convolutions of integers compute on [N, H, W, C], and what reads or adds their results too; " +
		"the changes of layout move to the ends of the graph, where they meet their inverse or stay.",
	Rewrite: channelsLast,
}

func channelsLast(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	b := &builder{c: c, n: n}
	switch {
	case n.Domain == op.Salver:
		return b.ours(), nil
	case isMicrosoft(n, "QLinearAdd") || isMicrosoft(n, "QLinearMul"):
		return b.pair(), nil
	case isMicrosoft(n, "QLinearSigmoid") || isMicrosoft(n, "QLinearLeakyRelu"):
		return b.unary(), nil
	case n.Domain != "" || n.Output(0) == nil:
		return nil, nil
	case n.Op == "MaxPool":
		return b.maxPool(), nil
	case n.Op == "Concat":
		return b.concat(), nil
	case n.Op == "Transpose":
		return b.transpose(), nil
	case n.Op == "Resize":
		return b.resize(), nil
	case n.Op == "DepthToSpace":
		return b.depthToSpace(), nil
	}
	return nil, nil
}

// builder collects the nodes of a patch.
type builder struct {
	c     *pass.Context
	n     *ir.Node
	nodes []*ir.Node
}

func (b *builder) node(domain, name string, opset int, in []*ir.Value, attrs map[string]*ir.Attr) *ir.Value {
	y := b.c.Value(b.n.Out[0].Name)
	m := ir.NewNode(domain, name, opset, in, []*ir.Value{y}, attrs)
	b.nodes = append(b.nodes, m)
	return y
}

// last gives v with its channels last.
func (b *builder) last(v *ir.Value) *ir.Value {
	if f := fromLast(v); f != nil {
		return f.In[0]
	}
	return b.node(op.Salver, "ToChannelsLast", 1, []*ir.Value{v}, nil)
}

// fromLast gives the node that moved the channels of v from the end, if one did.
func fromLast(v *ir.Value) *ir.Node {
	if v == nil || v.Producer == nil || v.Producer.Domain != op.Salver || v.Producer.Op != "FromChannelsLast" {
		return nil
	}
	return v.Producer
}

// done replaces the node by y, computed with channels last.
func (b *builder) done(y *ir.Value) *ir.Patch {
	y.Producer.Name = b.n.Name
	out := b.node(op.Salver, "FromChannelsLast", 1, []*ir.Value{y}, nil)
	return &ir.Patch{Reason: fmt.Sprintf("%s computes with channels last", b.n), Add: b.nodes, Replace: []ir.Replacement{{Old: b.n.Out[0], New: out}}}
}

func (b *builder) ours() *ir.Patch {
	n := b.n
	switch n.Op {
	case "QConv":
		if n.Bool("channels_last") {
			return nil
		}
		in := append([]*ir.Value{b.last(n.In[0])}, n.In[1:]...)
		if n.Input(4) != nil {
			in[4] = b.last(n.In[4])
		}
		return b.done(b.node(op.Salver, "QConv", 1, in, b.withLast()))
	case "QGlobalAveragePool":
		if f := fromLast(n.In[0]); f != nil && !n.Bool("channels_last") {
			return b.done(b.node(op.Salver, n.Op, 1, []*ir.Value{f.In[0]}, b.withLast()))
		}
	case "QTable":
		if f := fromLast(n.In[0]); f != nil {
			return b.done(b.node(op.Salver, n.Op, 1, []*ir.Value{f.In[0], n.In[1]}, nil))
		}
	case "ToChannelsLast":
		if f := fromLast(n.In[0]); f != nil {
			return &ir.Patch{Reason: fmt.Sprintf("%s undoes %s", n, f), Replace: []ir.Replacement{{Old: n.Out[0], New: f.In[0]}}}
		}
	}
	return nil
}

func (b *builder) withLast() map[string]*ir.Attr {
	a := maps.Clone(b.n.Attrs)
	a["channels_last"] = ir.Int(1)
	return a
}

// pair takes operands of one shape, or one number for each channel, at least one
// of which has its channels last.
func (b *builder) pair() *ir.Patch {
	n := b.n
	x, y := n.In[0], n.In[3]
	if fromLast(x) == nil && fromLast(y) == nil {
		return nil
	}
	if len(x.Type.Shape) != 4 || !x.Type.Shape.Equal(y.Type.Shape) && !perChannel(x, y) && !perChannel(y, x) {
		b.c.Near(n, "the operands are %s and %s", x.Type, y.Type)
		return nil
	}
	in := slices.Clone(n.In)
	in[0], in[3] = b.last(x), b.last(y)
	return b.done(b.node(n.Domain, n.Op, n.Opset, in, maps.Clone(n.Attrs)))
}

// perChannel reports whether y has one number for each channel of x.
func perChannel(x, y *ir.Value) bool {
	a, b := x.Type.Shape, y.Type.Shape
	return len(a) == 4 && len(b) == 4 && a[0].Equal(b[0]) && a[1].Equal(b[1]) && b[2].Is(1) && b[3].Is(1)
}

// unary operators treat each element of input 0 alike.
func (b *builder) unary() *ir.Patch {
	f := fromLast(b.n.In[0])
	if f == nil {
		return nil
	}
	in := slices.Clone(b.n.In)
	in[0] = f.In[0]
	return b.done(b.node(b.n.Domain, b.n.Op, b.n.Opset, in, maps.Clone(b.n.Attrs)))
}

func (b *builder) maxPool() *ir.Patch {
	n := b.n
	f := fromLast(n.In[0])
	if f == nil || n.Output(1) != nil && (len(n.Out[1].Uses()) > 0 || n.Out[1].IsOutput()) {
		return nil
	}
	a := maps.Clone(n.Attrs)
	delete(a, "storage_order") // of the indices
	return b.done(b.node(op.Salver, "QMaxPool", 1, []*ir.Value{f.In[0]}, a))
}

// lastAxis says where an axis of [N, C, H, W] is in [N, H, W, C].
var lastAxis = [4]int{0, 3, 1, 2}

func (b *builder) concat() *ir.Patch {
	n := b.n
	axis := n.Int("axis")
	if axis < 0 {
		axis += 4
	}
	some := false
	for _, v := range n.In {
		some = some || fromLast(v) != nil
		if len(v.Type.Shape) != 4 || !bytes(v) {
			return nil
		}
	}
	if !some || axis < 0 || axis > 3 {
		return nil
	}
	var in []*ir.Value
	for _, v := range n.In {
		in = append(in, b.last(v))
	}
	return b.done(b.node("", "Concat", n.Opset, in, map[string]*ir.Attr{"axis": ir.Int(lastAxis[axis])}))
}

func bytes(v *ir.Value) bool { return v.Type.DType == dtype.Uint8 || v.Type.DType == dtype.Int8 }

// transpose drops the two changes of layout that a network from elsewhere has.
func (b *builder) transpose() *ir.Patch {
	n := b.n
	f := fromLast(n.In[0])
	if f == nil || !slices.Equal(n.Ints("perm"), []int{0, 2, 3, 1}) {
		return nil
	}
	return &ir.Patch{Reason: fmt.Sprintf("%s undoes %s", n, f), Replace: []ir.Replacement{{Old: n.Out[0], New: f.In[0]}}}
}

// resize repeats pixels: constant scales or sizes are reordered.
func (b *builder) resize() *ir.Patch {
	n := b.n
	f := fromLast(n.In[0])
	if f == nil || n.Str("mode") != "nearest" || n.Has("axes") && n.Ints("axes") != nil || n.Input(1) != nil && !isEmpty(n.In[1]) {
		return nil
	}
	in := []*ir.Value{f.In[0], nil}
	for _, v := range n.In[2:] {
		if v == nil || isEmpty(v) {
			in = append(in, nil)
			continue
		}
		if !v.IsConst() || v.Const.Len() != 4 {
			b.c.Near(n, "%q is no constant of 4 numbers", v.Name)
			return nil
		}
		t := v.Const.Clone()
		size := len(t.Data) / 4
		for i, j := range lastAxis {
			copy(t.Data[j*size:][:size], v.Const.Data[i*size:])
		}
		in = append(in, ir.NewConst(b.c.Name(v.Name), t))
	}
	return b.done(b.node("", "Resize", n.Opset, in, maps.Clone(n.Attrs)))
}

// depthToSpace moves runs of the output's rows, where they are the input's channels too.
func (b *builder) depthToSpace() *ir.Patch {
	n := b.n
	f := fromLast(n.In[0])
	if f == nil || n.Str("mode") != "DCR" {
		return nil
	}
	side, x := n.Int("blocksize"), f.In[0].Type.Shape
	if side < 1 || len(x) != 4 {
		return nil
	}
	wide, known := x[2].Int()
	channels, has := x[3].Int()
	if !known || !has || channels%(side*side) != 0 {
		b.c.Near(n, "the width or the channels of %s are not known", f.In[0].Type)
		return nil
	}
	sizes := func(v ...int) *ir.Value {
		t := tensor.New(dtype.Int64, len(v))
		for i, x := range v {
			tensor.Of[int64](t)[i] = int64(x)
		}
		return ir.NewConst(b.c.Name(n.Out[0].Name+"_sizes"), t)
	}
	v := b.node("", "Reshape", 13, []*ir.Value{f.In[0], sizes(0, 0, 0, side, channels/side)}, nil)
	v = b.node("", "Transpose", 13, []*ir.Value{v}, map[string]*ir.Attr{"perm": ir.Ints(0, 1, 3, 2, 4)})
	return b.done(b.node("", "Reshape", 13, []*ir.Value{v, sizes(0, -1, wide*side, channels/side/side)}, nil))
}

func isEmpty(v *ir.Value) bool { return v.IsConst() && v.Const.Len() == 0 }
