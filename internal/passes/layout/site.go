package layout

import (
	"fmt"
	"maps"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/blocked"
	"github.com/salver-ml/salver/internal/passes/match"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// site is a node that can compute in blocked layout.
type site struct {
	node    *ir.Node
	in      []int   // inputs that are blocked with it; the others are the same in either form
	neutral float32 // what constants hold in the channels beyond the last
	squeeze []int   // axes of [N,C,H,W] that the result lacks
	fast    bool    // faster in blocked layout
	// build makes the blocked results from the inputs, some of them blocked.
	build func(b *builder, in []*ir.Value) []*ir.Value
}

// size is that of the largest tensor that the site touches.
func (s *site) size() size {
	most := size{1, 0}
	for _, v := range s.node.Out {
		if v != nil {
			if z := sizeOf(v); z.count() > most.count() {
				most = z
			}
		}
	}
	return most
}

// maker describes a node as a site of a block, or says what forbids it.
type maker func(n *ir.Node, block int) (*site, string)

// makers are the operators with a blocked form.
var makers = map[string]maker{
	"Concat": concatSite, "Split": splitSite, "Slice": sliceSite, "Pad": padSite,
	"MaxPool": poolSite, "AveragePool": poolSite, "GlobalMaxPool": poolSite, "GlobalAveragePool": poolSite,
	"Resize": resizeSite, "Upsample": resizeSite,
	"ReduceMean": reduceSite, "ReduceMax": reduceSite, "ReduceMin": reduceSite, "ReduceSum": reduceSite,
	"BatchNormalization": batchNormSite,
}

func init() {
	for _, name := range []string{"Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "PRelu", "Pow"} {
		makers[name] = elementwiseSite
	}
	for name := range unary {
		makers[name] = elementwiseSite
	}
}

// couldBlock is a quick test that spares most nodes the whole one.
func couldBlock(n *ir.Node) bool {
	if n.Domain != "" || makers[n.Op] == nil || len(n.In) == 0 {
		return false
	}
	v := n.Output(0)
	return v != nil && v.Type.DType == dtype.Float32
}

// siteOf describes n's blocked form, or says what it lacks.
func siteOf(n *ir.Node, block int) (*site, string) {
	s, why := makers[n.Op](n, block)
	if why != "" {
		return nil, why
	}
	s.node = n
	return s, ""
}

// channelsOf gives C of a float32 tensor [N, C, H, W].
func channelsOf(v *ir.Value) (int, bool) {
	if v == nil || v.Type.DType != dtype.Float32 || len(v.Type.Shape) != 4 {
		return 0, false
	}
	c, ok := v.Type.Shape[1].Int()
	return c, ok && c > 0
}

func notImages(v *ir.Value) string {
	return fmt.Sprintf("%q is %s, no float32 tensor [N,C,H,W] with a known C", v.Name, v.Type)
}

// one makes the result of a blocked form with a single result.
func one(y *ir.Value) []*ir.Value { return []*ir.Value{y} }

// keep gives a node that computes the same as n its name and opset.
func (b *builder) keep(y *ir.Value, n *ir.Node) *ir.Value {
	y.Producer.Name, y.Producer.Opset = n.Name, n.Opset
	return y
}

// same makes the operator of n itself on other inputs.
func (b *builder) same(n *ir.Node, in []*ir.Value, attrs map[string]*ir.Attr) *ir.Value {
	return b.keep(b.node(n.Domain, n.Op, n.Out[0].Name, in, attrs), n)
}

// ints makes a constant vector.
func (b *builder) ints(name string, v ...int) *ir.Value {
	t := tensor.New(dtype.Int64, len(v))
	for i, x := range v {
		tensor.Of[int64](t)[i] = int64(x)
	}
	return ir.NewConst(b.c.Name(name), t)
}

// blocked gives the blocked form of v: what a reorder made plain, a constant
// that is reordered at once, or a reorder.
func (b *builder) blocked(v *ir.Value, neutral float32) *ir.Value {
	if f := fromBlocked(v); f != nil && f.Int("block") == b.block {
		return f.In[0]
	}
	if v.IsConst() {
		return ir.NewConst(b.c.Name(v.Name), blockedConst(v.Const, b.block, neutral))
	}
	return b.toBlocked(v)
}

// blockedConst reorders a constant [N, C, H, W]; its unused channels are neutral.
func blockedConst(t *tensor.Tensor, block int, neutral float32) *tensor.Tensor {
	s := append([]int(nil), t.Shape...)
	for len(s) < 4 {
		s = append([]int{1}, s...)
	}
	n, channels, area := s[0], s[1], s[2]*s[3]
	blocks := (channels + block - 1) / block
	out := tensor.New(dtype.Float32, n, blocks, s[2], s[3], block)
	src, dst := tensor.Of[float32](t), tensor.Of[float32](out)
	for i := range dst {
		lane, p, c := i%block, i/block%area, i/block/area%blocks*block
		if dst[i] = neutral; c+lane < channels {
			dst[i] = src[(i/block/area/blocks*channels+c+lane)*area+p]
		}
	}
	return out
}

// unary operators treat each element of input 0 alike; further inputs are
// scalars.
var unary = map[string]bool{
	"Relu": true, "LeakyRelu": true, "Clip": true, "Sigmoid": true, "Tanh": true, "HardSigmoid": true, "HardSwish": true, "Mish": true,
	"Swish": true, "Gelu": true, "Elu": true, "Selu": true, "Celu": true, "Softplus": true, "Softsign": true, "Abs": true, "Neg": true,
	"Exp": true, "Sqrt": true, "Erf": true, "Floor": true, "Ceil": true, "ThresholdedRelu": true, "Log": true, "Reciprocal": true,
	"Round": true, "Sign": true,
}

// neutrals are what constant operands hold in unused channels, so that these
// keep their value.
var neutrals = map[string]float32{"Mul": 1, "Div": 1, "Pow": 1}

// elementwiseSite takes operands of the result's channels in blocked form.
// Operands without a channel axis are repeated over the block.
func elementwiseSite(n *ir.Node, _ int) (*site, string) {
	channels, ok := channelsOf(n.Out[0])
	if !ok {
		return nil, notImages(n.Out[0])
	}
	s := &site{neutral: neutrals[n.Op]}
	var extend []int
	for i, v := range n.In {
		switch kind := operandKind(v, channels); {
		case v == nil || kind == scalarOperand:
		case unary[n.Op] && i > 0:
			return nil, fmt.Sprintf("operand %q of shape %s is no scalar", v.Name, v.Type.Shape)
		case kind == blockedOperand:
			s.in = append(s.in, i)
		case kind == pixelOperand:
			extend = append(extend, i)
		default:
			return nil, fmt.Sprintf("operand %q of shape %s has no blocked form", v.Name, v.Type.Shape)
		}
	}
	if len(s.in) == 0 {
		return nil, "no operand has the result's channels"
	}
	s.build = func(b *builder, in []*ir.Value) []*ir.Value {
		for _, i := range extend {
			in[i] = b.overLanes(in[i])
		}
		if y := b.perChannel(n, in, s.in); y != nil {
			return one(y)
		}
		for i, v := range n.In {
			if v.IsConst() && operandKind(v, channels) == scalarOperand {
				in[i] = ir.NewConst(b.c.Name(v.Name), v.Const.Reshape())
			}
		}
		return one(b.same(n, in, maps.Clone(n.Attrs)))
	}
	return s, ""
}

// perChannel computes a sum or product of an image and a number for each
// channel, both of them in blocked form: a gate, a bias. Broadcasting
// them would go through the image in steps of a block.
func (b *builder) perChannel(n *ir.Node, in []*ir.Value, both []int) *ir.Value {
	if len(n.In) != 2 || len(both) != 2 || n.Op != "Add" && n.Op != "Mul" {
		return nil
	}
	x, k := 0, 1
	if single(n.In[0]) {
		x, k = 1, 0
	}
	if !single(n.In[k]) || single(n.In[x]) || !n.In[x].Type.Shape.Equal(n.Out[0].Type.Shape) {
		return nil
	}
	operands := []*ir.Value{in[x], in[k]}
	if n.Op == "Add" {
		dims := []int{1, 1, 1, 1, b.block}
		dims[1], _ = blockedShape(n.Out[0], b.block)[1].Int()
		ones := tensor.New(dtype.Float32, dims...)
		for i := range tensor.Of[float32](ones) {
			tensor.Of[float32](ones)[i] = 1
		}
		operands = []*ir.Value{in[x], ir.NewConst(b.c.Name("ones"), ones), in[k]}
	}
	y := b.node(op.Salver, "BlockedAffine", n.Out[0].Name, operands, nil)
	y.Producer.Name = n.Name
	return y
}

func blockedShape(v *ir.Value, block int) shape.Shape { return blocked.Shape(v.Type.Shape, block) }

// single reports whether v has one pixel for each channel.
func single(v *ir.Value) bool {
	s := v.Type.Shape
	return len(s) >= 2 && s[len(s)-1].Is(1) && s[len(s)-2].Is(1)
}

type operand int

const (
	otherOperand   operand = iota
	scalarOperand          // one element that needs no more axes
	blockedOperand         // the result's channels
	pixelOperand           // the same for all channels
)

func operandKind(v *ir.Value, channels int) operand {
	if v == nil {
		return scalarOperand
	}
	s := v.Type.Shape
	if v.Type.DType != dtype.Float32 || s == nil || len(s) > 4 {
		return otherOperand
	}
	if v.IsConst() && v.Const.Len() == 1 || len(s) == 0 || len(s) == 1 && s[0].Is(1) {
		return scalarOperand
	}
	switch {
	case len(s) == 4 && s[1].Is(channels), len(s) == 3 && s[0].Is(channels) && v.IsConst() && channels > 1:
		return blockedOperand
	case len(s) < 3 || s[len(s)-3].Is(1):
		return pixelOperand
	}
	return otherOperand
}

// overLanes repeats v, which is the same for all channels, over a block of
// them: with a last axis of one element, an operator would broadcast in steps
// of a block.
func (b *builder) overLanes(v *ir.Value) *ir.Value {
	if !v.IsConst() {
		pixels := b.node("", "Unsqueeze", v.Name, []*ir.Value{v, b.ints("axes", len(v.Type.Shape))}, nil)
		return b.node("", "Expand", v.Name, []*ir.Value{pixels, b.ints("block", b.block)}, nil)
	}
	src := tensor.Of[float32](v.Const)
	t := tensor.New(dtype.Float32, append(append([]int(nil), v.Const.Shape...), b.block)...)
	for i := range tensor.Of[float32](t) {
		tensor.Of[float32](t)[i] = src[i/b.block]
	}
	return ir.NewConst(b.c.Name(v.Name), t)
}

// batchNormSite multiplies and adds: the operator itself wants all channels on
// one axis.
func batchNormSite(n *ir.Node, _ int) (*site, string) {
	channels, ok := channelsOf(n.Out[0])
	scale, shift, constant := match.NormAffine(n)
	switch {
	case !ok:
		return nil, notImages(n.Out[0])
	case !constant || n.Bool("training_mode") || len(scale) != channels:
		return nil, "its parameters are no constants"
	}
	return &site{in: []int{0}, build: func(b *builder, in []*ir.Value) []*ir.Value {
		factor := ir.NewConst(b.c.Name(n.Name+"_scale"), blockedConst(tensor.FromSlice(scale, channels, 1, 1), b.block, 1))
		term := ir.NewConst(b.c.Name(n.Name+"_shift"), blockedConst(tensor.FromSlice(shift, channels, 1, 1), b.block, 0))
		y := b.node(op.Salver, "BlockedAffine", n.Out[0].Name, []*ir.Value{in[0], factor, term}, nil)
		y.Producer.Name = n.Name
		return one(y)
	}}, ""
}

// pools maps poolings to their blocked form.
var pools = map[string]string{
	"MaxPool": "BlockedMaxPool", "AveragePool": "BlockedAveragePool",
	"GlobalMaxPool": "BlockedGlobalMaxPool", "GlobalAveragePool": "BlockedGlobalAveragePool",
}

func poolSite(n *ir.Node, _ int) (*site, string) {
	if _, ok := channelsOf(n.In[0]); !ok {
		return nil, notImages(n.In[0])
	}
	if n.Output(1) != nil && (len(n.Out[1].Uses()) > 0 || n.Out[1].IsOutput()) {
		return nil, "its indices are read"
	}
	return &site{in: []int{0}, fast: true, build: func(b *builder, in []*ir.Value) []*ir.Value {
		attrs := maps.Clone(n.Attrs)
		delete(attrs, "storage_order") // of the indices
		y := b.node(op.Salver, pools[n.Op], n.Out[0].Name, in[:1], attrs)
		y.Producer.Name = n.Name
		return one(y)
	}}, ""
}
