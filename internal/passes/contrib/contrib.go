// Package contrib writes graphs with the operators of onnxruntime's domain
// com.microsoft, for models that only onnxruntime (or this program) is to run.
// Which activations and operands its kernels take is from the schemas and
// kernels of onnxruntime 1.32.
package contrib

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/fuse"
	"github.com/salver-ml/salver/internal/passes/match"
)

// Passes are the passes of this package in their order. They are to run after
// all portable ones.
var Passes = []pass.Pass{
	adapted(fuse.LayerNorm, "contrib-layernorm", "Spelled-out normalizations become LayerNormalization or SimplifiedLayerNormalization."),
	adapted(fuse.Activations, "contrib-activations", "Spelled-out GELU and SiLU become Gelu, FastGelu and QuickGelu."),
	BiasGelu, SkipNorm, Conv, Gemm, MatMul,
}

// adapted is a pass whose results are written in operators that onnxruntime has
// at the graph's opset.
func adapted(p pass.Pass, name, doc string) pass.Pass {
	return pass.Pass{Name: name, Level: 2, Doc: doc, Rewrite: func(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
		patch, err := p.Rewrite(c, n)
		if patch == nil || err != nil {
			return nil, err
		}
		for _, m := range patch.Add {
			if !translate(m, c.Graph.Opsets[""]) {
				c.Near(n, "onnxruntime has no %s at opset %d", m.FullName(), c.Graph.Opsets[""])
				patch.Discard()
				return nil, nil
			}
		}
		return patch, nil
	}}
}

// translate makes m an operator that onnxruntime has at an opset.
func translate(m *ir.Node, opset int) bool {
	if m.Domain != "" {
		return false
	}
	if m.Opset <= opset || m.Op == "LayerNormalization" { // which it has at any opset
		m.Opset = opset
		return true
	}
	switch m.Op {
	case "Gelu":
		name := "Gelu"
		if m.Str("approximate") == "tanh" {
			name = "FastGelu"
		}
		m.Domain, m.Op, m.Opset, m.Attrs = op.Microsoft, name, 1, map[string]*ir.Attr{}
	case "Swish":
		alpha := float32(1)
		if m.Has("alpha") {
			alpha = m.Float("alpha")
		}
		m.Domain, m.Op, m.Opset, m.Attrs = op.Microsoft, "QuickGelu", 1, map[string]*ir.Attr{"alpha": ir.Float(alpha)}
	case "RMSNormalization":
		m.Op, m.Opset = "SimplifiedLayerNormalization", opset
	default:
		return false
	}
	return true
}

// one makes a patch of a single node in the place of n's result.
func one(c *pass.Context, n *ir.Node, why, name string, in []*ir.Value, attrs map[string]*ir.Attr) *ir.Patch {
	y := c.Value(n.Out[0].Name)
	m := ir.NewNode(op.Microsoft, name, 1, in, []*ir.Value{y}, attrs)
	m.Name = n.Name
	return &ir.Patch{Reason: why, Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}
}

// private reports near misses of a value that others read too.
func private(c *pass.Context, n *ir.Node, v *ir.Value) bool {
	if match.Private(v) {
		return true
	}
	c.Near(n, "the result of %s is read elsewhere too", v.Producer)
	return false
}

// activation gives onnxruntime's name and parameters of an activation that its
// fused kernels apply.
func activation(n *ir.Node) (name string, params []float32, ok bool) {
	if n.Domain != "" || len(n.In) == 0 || n.Output(0) == nil || !match.Float32(n.Out[0]) {
		return "", nil, false
	}
	switch n.Op {
	case "Relu", "Sigmoid", "Tanh":
		return n.Op, nil, true
	case "LeakyRelu":
		return n.Op, []float32{n.Float("alpha")}, true
	case "HardSigmoid":
		return n.Op, []float32{n.Float("alpha"), n.Float("beta")}, true
	}
	return "", nil, false
}

// clip gives the bounds of a Clip with constant bounds on both sides.
func clip(n *ir.Node) ([]float32, bool) {
	if !n.Is("Clip") || !match.Float32(n.Out[0]) {
		return nil, false
	}
	if n.Has("min") && n.Has("max") {
		return []float32{n.Float("min"), n.Float("max")}, true
	}
	lo, hasLo := scalar(n.Input(1))
	hi, hasHi := scalar(n.Input(2))
	return []float32{lo, hi}, hasLo && hasHi
}

func scalar(v *ir.Value) (float32, bool) {
	if v == nil {
		return 0, false
	}
	return match.Scalar(v)
}

// producer gives the com.microsoft operator that makes v, if it is called name.
func producer(v *ir.Value, name string) *ir.Node {
	if v == nil || v.Producer == nil || v.Producer.Domain != op.Microsoft || v.Producer.Op != name {
		return nil
	}
	return v.Producer
}

func follows(n, f *ir.Node) string { return fmt.Sprintf("fuse %s into %s", n, f) }
