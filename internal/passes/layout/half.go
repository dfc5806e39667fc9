package layout

import (
	"fmt"
	"maps"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/conv"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/blocked"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
)

// Half stores activations between convolutions in bfloat16, where the precision is
// bf16. A value is stored so if a convolution makes it, or an operator that only
// moves or compares numbers, and all that read it take it so: convolutions as input,
// which but for depthwise ones would round it anyway, or as residual, and such
// operators. Operators that move have their operands and results in one type.
var Half = pass.Pass{
	Name: "half-activations", Level: 3, Last: true,
	Doc: "With `--precision bf16`, blocked activations that convolutions make and that only convolutions read, " +
		"also by way of max pooling and of operators that move numbers, are stored in bfloat16.",
	Rewrite: halve,
}

func halve(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if c.Precision != op.BF16 {
		return nil, nil
	}
	p, ok := c.Memo[halfKey{}].(*halfPlan)
	if !ok {
		p = newHalfPlan(c.Graph)
		c.Memo[halfKey{}] = p
	}
	if u := p.refused[n]; u != nil {
		c.Near(n, "its result is read by %s in float32", u)
	}
	ports := p.ports[n]
	if ports == nil {
		return nil, nil
	}
	b := newBuilder(c, blockSize())
	in := slices.Clone(n.In)
	for _, i := range ports.in {
		in[i] = b.cast(n.In[i], dtype.BFloat16)
	}
	attrs := maps.Clone(n.Attrs)
	if len(ports.out) > 0 && halfWriter(n) {
		attrs["bf16"] = ir.Int(1)
	}
	out := make([]*ir.Value, len(n.Out))
	for i, v := range n.Out {
		if v != nil {
			out[i] = c.Value(v.Name)
		}
	}
	m := ir.NewNode(n.Domain, n.Op, max(n.Opset, 1), in, out, attrs)
	m.Name = n.Name
	b.nodes = append(b.nodes, m)
	patch := &ir.Patch{Reason: fmt.Sprintf("%s reads or writes bfloat16", n)}
	for i, v := range n.Out {
		if v == nil {
			continue
		}
		wide := out[i]
		if slices.Contains(ports.out, i) {
			wide = b.cast(out[i], dtype.Float32)
		}
		patch.Replace = append(patch.Replace, ir.Replacement{Old: v, New: wide})
	}
	patch.Add = b.nodes
	return patch, nil
}

// AddLast adds, with `--precision bf16`, in a convolution.
var AddLast = pass.Pass{
	Name: "add-after-activation", Level: 3,
	Doc:     "With `--precision bf16`, an Add to the result of a convolution's activation, both blocked, is the convolution's last step.",
	Rewrite: addLast,
}

func addLast(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if c.Precision != op.BF16 || !n.Is("Add") || !isBlocked(n.In[0]) || !isBlocked(n.In[1]) || !n.In[0].Type.Shape.Equal(n.In[1].Type.Shape) {
		return nil, nil
	}
	for i, v := range n.In {
		p := v.Producer
		if p == nil || p.Op != "BlockedConv" || !halfWriter(p) || p.Int("group") > 1 || p.Input(3) != nil || !match.Private(v) {
			continue
		}
		attrs := maps.Clone(p.Attrs)
		attrs["residual_last"] = ir.Int(1)
		b := newBuilder(c, p.Int("block"))
		y := b.node(op.Salver, "BlockedConv", n.Out[0].Name, []*ir.Value{p.In[0], p.In[1], p.Input(2), n.In[1-i]}, attrs)
		y.Producer.Name = p.Name
		return b.replace(fmt.Sprintf("%s is the last step of %s", n, p), n.Out[0], y), nil
	}
	return nil, nil
}

// cast converts v, or gives what v was converted from.
func (b *builder) cast(v *ir.Value, to dtype.Type) *ir.Value {
	if p := v.Producer; p != nil && p.Is("Cast") && p.In[0].Type.DType == to {
		return p.In[0]
	}
	return b.node("", "Cast", v.Name+"_"+to.String(), []*ir.Value{v}, map[string]*ir.Attr{"to": ir.Int(int(to))})
}

// halfPlan says which operands and results become bfloat16.
type halfPlan struct {
	ports   map[*ir.Node]*halfPorts
	refused map[*ir.Node]*ir.Node // what reads a convolution's result in float32
}

type halfPorts struct{ in, out []int }

type halfKey struct{}

func newHalfPlan(g *ir.Graph) *halfPlan {
	p := &halfPlan{ports: map[*ir.Node]*halfPorts{}, refused: map[*ir.Node]*ir.Node{}}
	half := map[*ir.Value]bool{}
	var movers []*ir.Node
	for _, n := range g.Nodes {
		moves := halfMover(n)
		if moves {
			movers = append(movers, n)
		}
		if !moves && !halfWriter(n) {
			continue
		}
		for _, v := range n.Out {
			if v == nil || v.IsOutput() || !isBlocked(v) {
				continue
			}
			if reader := floatReader(v); reader == nil {
				half[v] = true
			} else if !moves {
				p.refused[n] = reader
			}
		}
	}
	for changed := true; changed; {
		changed = false
		for _, n := range movers {
			if all := tensorsOf(n); slices.ContainsFunc(all, func(v *ir.Value) bool { return !half[v] }) {
				for _, v := range all {
					changed = changed || half[v]
					delete(half, v)
				}
			}
		}
	}
	for _, n := range g.Nodes {
		x := &halfPorts{}
		for i, v := range n.In {
			if half[v] {
				x.in = append(x.in, i)
			}
		}
		for i, v := range n.Out {
			if half[v] {
				x.out = append(x.out, i)
			}
		}
		if len(x.in)+len(x.out) > 0 {
			p.ports[n] = x
		}
	}
	return p
}

// isBlocked reports whether v is a float32 tensor in blocked layout.
func isBlocked(v *ir.Value) bool {
	s := v.Type.Shape
	return v.Type.DType == dtype.Float32 && len(s) == 5 && s[4].Is(blockSize())
}

// floatReader is an operator that reads v in no other type than float32, or nil.
func floatReader(v *ir.Value) *ir.Node {
	for _, u := range v.Uses() {
		switch {
		case halfMover(u.Node):
		case halfWriter(u.Node) && (u.Index == 0 || u.Index == 3):
		default:
			return u.Node
		}
	}
	return nil
}

// halfWriter reports whether n is a convolution that is computed in bfloat16, or a
// depthwise one, which may read and write it.
func halfWriter(n *ir.Node) bool {
	if n.Domain != op.Salver || !convs[n.Op] || n.In[1].Const == nil {
		return false
	}
	if n.Op == "BlockedConvTranspose" {
		p, err := blocked.TransposeParams(n, n.In[1].Const.Shape)
		p.BF16 = true
		return err == nil && conv.HalfFitsTranspose(p, level())
	}
	p, why := convParams(n)
	p.BF16 = true
	return why == "" && (conv.HalfFits(p, level()) || conv.DepthFits(p, level()))
}

// halfMover reports whether n only moves or compares the numbers of blocked tensors.
func halfMover(n *ir.Node) bool {
	if n.Domain == op.Salver {
		return n.Op == "BlockedMaxPool"
	}
	switch {
	case n.Is("Concat"), n.Is("Split"), n.Is("Slice"):
	case n.Is("Resize"):
		if n.Str("mode") != "nearest" {
			return false
		}
	default:
		return false
	}
	return !slices.ContainsFunc(tensorsOf(n), func(v *ir.Value) bool { return !isBlocked(v) })
}

// tensorsOf are the operands and results of a mover that have one type.
func tensorsOf(n *ir.Node) []*ir.Value {
	in := n.In[:1]
	if n.Is("Concat") {
		in = n.In
	}
	return slices.DeleteFunc(slices.Concat(in, n.Out), func(v *ir.Value) bool { return v == nil })
}
