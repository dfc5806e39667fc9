package quant

import (
	"fmt"
	"maps"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
	"github.com/salver-ml/salver/internal/tensor"
)

// Move lets operators that only move elements, or take the largest, work on bytes.
var Move = pass.Pass{
	Name: "sink-dequantize", Level: 2,
	Doc:     "Reshape, Transpose, Slice, Split, Gather, Pad, MaxPool, Resize to the nearest and the like move bytes, and DequantizeLinear follows them.",
	Rewrite: move,
}

// movers are the operators whose outputs hold elements of input 0 only.
var movers = map[string]bool{
	"Reshape": true, "Flatten": true, "Squeeze": true, "Unsqueeze": true, "Transpose": true, "Slice": true, "Split": true, "Gather": true,
	"GatherElements": true, "GatherND": true, "Expand": true, "Tile": true, "DepthToSpace": true, "SpaceToDepth": true, "Pad": true, "MaxPool": true, "Resize": true, "Identity": true,
}

func move(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if n.Domain != "" || len(n.In) == 0 || n.In[0] == nil {
		return nil, nil
	}
	if n.Op == "Concat" {
		return moveConcat(c, n), nil
	}
	if !movers[n.Op] {
		return nil, nil
	}
	q, f, ok := dequantized(n.In[0])
	if !ok {
		return nil, nil
	}
	in, why := moved(c, n, q, f)
	if why != "" {
		c.Near(n, "%s", why)
		return nil, nil
	}
	return movePatch(c, n, f, in), nil
}

// moved gives the inputs of n on bytes, or what forbids it.
func moved(c *pass.Context, n *ir.Node, q *ir.Value, f format) (in []*ir.Value, why string) {
	in = append([]*ir.Value{q}, n.In[1:]...)
	switch n.Op {
	case "MaxPool":
		if n.Output(1) != nil && (len(n.Out[1].Uses()) > 0 || n.Out[1].IsOutput()) {
			return nil, "its indices are read"
		}
	case "Resize":
		if n.Str("mode") != "nearest" || n.Str("coordinate_transformation_mode") == "tf_crop_and_resize" {
			return nil, fmt.Sprintf("the mode %q interpolates", n.Str("mode"))
		}
	case "Pad":
		if n.Opset < 11 {
			return nil, fmt.Sprintf("opset %d pads no integers", n.Opset)
		}
		if n.Str("mode") != "constant" {
			break
		}
		x := float32(0)
		if v := n.Input(2); v != nil {
			s, ok := match.Scalar(v)
			if x = s; !ok {
				return nil, "it pads with what is not constant"
			}
		}
		b := f.quantize(x)
		if float32(b-f.zero)*f.scale != x {
			return nil, fmt.Sprintf("it pads with %g, which is no number of the format", x)
		}
		t := tensor.New(f.dt)
		t.Data[0] = byte(b)
		for len(in) < 3 {
			in = append(in, nil)
		}
		in[2] = ir.NewConst(c.Name(n.Out[0].Name+"_fill"), t)
	}
	if !takes(n, f.dt) {
		return nil, fmt.Sprintf("at opset %d it takes no %s", n.Opset, f.dt)
	}
	return in, ""
}

// takes reports whether input 0 of an operator may have a type.
func takes(n *ir.Node, dt dtype.Type) bool {
	o := op.Of(n)
	return o != nil && len(o.In) > 0 && slices.Contains(o.Types[o.In[0].Type], dt)
}

// movePatch computes n on bytes and dequantizes each of its outputs.
func movePatch(c *pass.Context, n *ir.Node, f format, in []*ir.Value) *ir.Patch {
	p := &ir.Patch{Reason: fmt.Sprintf("%s moves bytes", n)}
	m := &ir.Node{}
	var out []*ir.Value
	var after []*ir.Node
	first := n.In[0].Producer
	for i, v := range n.Out {
		if v == nil || i > 0 && n.Op == "MaxPool" {
			out = append(out, nil)
			continue
		}
		b := c.Value(v.Name + "_quantized")
		y := c.Value(v.Name)
		out = append(out, b)
		d := ir.NewNode(first.Domain, "DequantizeLinear", first.Opset, append([]*ir.Value{b}, first.In[1:]...), []*ir.Value{y}, scalarAttrs(first.Attrs))
		d.Name = first.Name
		after = append(after, d)
		p.Replace = append(p.Replace, ir.Replacement{Old: v, New: y})
	}
	if n.Op == "MaxPool" {
		out = out[:1]
	}
	m = ir.NewNode("", n.Op, n.Opset, in, out, maps.Clone(n.Attrs))
	m.Name = n.Name
	p.Add = append([]*ir.Node{m}, after...)
	return p
}

// scalarAttrs leaves out the axis, which means nothing for one scale.
func scalarAttrs(a map[string]*ir.Attr) map[string]*ir.Attr {
	b := maps.Clone(a)
	delete(b, "axis")
	return b
}

// moveConcat joins bytes of one format.
func moveConcat(c *pass.Context, n *ir.Node) *ir.Patch {
	var in []*ir.Value
	var format0 format
	for i, v := range n.In {
		q, f, ok := dequantized(v)
		if i == 0 {
			format0 = f
		}
		if !ok || f != format0 {
			return nil
		}
		in = append(in, q)
	}
	if !takes(n, format0.dt) {
		return nil
	}
	return movePatch(c, n, format0, in)
}

// Weights makes floating point of the quantized constants that no integer operator
// reads.
var Weights = pass.Pass{
	Name: "fold-dequantize", Level: 2,
	Doc:     "DequantizeLinear of constants that no integer operator reads is computed once.",
	Rewrite: foldWeights,
}

func foldWeights(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if !isOp(n, "DequantizeLinear") {
		return nil, nil
	}
	in := make([]*tensor.Tensor, len(n.In))
	for i, v := range n.In {
		if v == nil {
			continue
		}
		if in[i] = v.Const; in[i] == nil {
			return nil, nil
		}
	}
	out, err := op.Evaluate(n, in, nil)
	if err != nil {
		return nil, err
	}
	return &ir.Patch{Reason: fmt.Sprintf("compute %s", n), Replace: []ir.Replacement{{Old: n.Out[0], New: ir.NewConst(c.Name(n.Out[0].Name), out[0])}}}, nil
}
