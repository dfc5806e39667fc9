package fuse

import (
	"fmt"
	"maps"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/blocked"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
)

// ConvResidual adds a residual in the convolution that computes the other operand.
var ConvResidual = pass.Pass{
	Name: "fuse-conv-residual", Level: 2,
	Doc:     "Conv followed by Add of a tensor of the same shape becomes one fused convolution.",
	Rewrite: convResidual,
}

func convResidual(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if !n.Is("Add") || !match.Float32(n.Out[0]) {
		return nil, nil
	}
	var patch *ir.Patch
	match.Either(n, func(y, z *ir.Value) bool {
		f := y.Producer
		if !isConv(f) || f.Input(3) != nil || f.Str("activation") != "" {
			return false
		}
		switch {
		case !match.Private(y):
			c.Near(n, "the result of %s is read elsewhere too", f)
		case !y.Type.Shape.Equal(z.Type.Shape):
			c.Near(n, "%s gives %s, the other operand is %s", f, y.Type, z.Type)
		default:
			patch = fuseConv(c, f, n, z, f.Attrs)
		}
		return patch != nil
	})
	return patch, nil
}

// ConvActivation applies an activation in the convolution before it.
var ConvActivation = pass.Pass{
	Name: "fuse-conv-activation", Level: 2,
	Doc:     "Conv followed by Relu, Clip with constant bounds, LeakyRelu, HardSwish, Sigmoid or SiLU becomes one fused convolution.",
	Rewrite: convActivation,
}

func convActivation(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	name, params, ok := activationOf(n)
	if !ok || !blocked.HasActivation(name) || !match.Float32(n.In[0]) {
		return nil, nil
	}
	f := n.In[0].Producer
	if !isConv(f) || f.Str("activation") != "" {
		return nil, nil
	}
	if !match.Private(n.In[0]) {
		c.Near(n, "the result of %s is read elsewhere too", f)
		return nil, nil
	}
	return fuseConv(c, f, n, f.Input(3), withActivation(f.Attrs, name, params)), nil
}

// isConv reports whether f is a convolution that can still be fused into.
func isConv(f *ir.Node) bool {
	return f.Is("Conv") || f != nil && f.Domain == op.Salver && f.Op == "FusedConv"
}

// withActivation adds the attributes of an activation.
func withActivation(attrs map[string]*ir.Attr, name string, params []float32) map[string]*ir.Attr {
	out := maps.Clone(attrs)
	out["activation"] = ir.Str(name)
	if len(params) > 0 {
		out["activation_params"] = ir.Floats(params...)
	}
	return out
}

// fuseConv replaces convolution f and its reader n by a fused convolution.
func fuseConv(c *pass.Context, f, n *ir.Node, residual *ir.Value, attrs map[string]*ir.Attr) *ir.Patch {
	in := []*ir.Value{f.In[0], f.In[1], f.Input(2)}
	if residual != nil {
		in = append(in, residual)
	}
	y := c.Value(n.Out[0].Name)
	m := ir.NewNode(op.Salver, "FusedConv", 1, in, []*ir.Value{y}, maps.Clone(attrs))
	m.Name = f.Name
	return &ir.Patch{Reason: fmt.Sprintf("fuse %s into %s", n, f), Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}
}

// activationOf names the activation that a node computes of its input 0, in
// the vocabulary of the fused operators, with its parameters.
func activationOf(n *ir.Node) (name string, params []float32, ok bool) {
	if n.Domain == op.Microsoft && len(n.In) == 1 {
		return contribActivationOf(n)
	}
	if n.Domain != "" {
		return "", nil, false
	}
	switch n.Op {
	case "Relu", "Sigmoid", "Tanh", "HardSwish", "Mish":
		return map[string]string{"Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "HardSwish": "hardswish", "Mish": "mish"}[n.Op], nil, true
	case "LeakyRelu":
		return "leakyrelu", []float32{n.Float("alpha")}, true
	case "HardSigmoid":
		return "hardsigmoid", []float32{n.Float("alpha"), n.Float("beta")}, true
	case "Elu":
		return "elu", []float32{n.Float("alpha")}, true
	case "Swish":
		if alpha := n.Float("alpha"); alpha != 1 {
			return "swish", []float32{alpha}, true
		}
		return "silu", nil, true
	case "Gelu":
		if n.Str("approximate") == "tanh" {
			return "gelu_tanh", nil, true
		}
		return "gelu", nil, true
	case "Clip":
		return clipBounds(n)
	}
	return "", nil, false
}

// contribActivationOf is activationOf for onnxruntime's operators.
func contribActivationOf(n *ir.Node) (name string, params []float32, ok bool) {
	switch n.Op {
	case "Gelu":
		return "gelu", nil, true
	case "FastGelu":
		return "gelu_tanh", nil, true
	case "QuickGelu":
		return "swish", []float32{n.Float("alpha")}, true
	}
	return "", nil, false
}
