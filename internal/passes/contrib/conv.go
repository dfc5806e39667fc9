package contrib

import (
	"maps"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
)

// Conv fuses what follows convolutions.
var Conv = pass.Pass{
	Name: "contrib-conv", Level: 2,
	Doc:     "Conv followed by the addition of a tensor of its result's shape, or by Relu, Sigmoid, Tanh, LeakyRelu, HardSigmoid or Clip, becomes FusedConv.",
	Rewrite: fuseConv,
}

func fuseConv(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if n.Is("Add") && match.Float32(n.Out[0]) {
		return convResidual(c, n), nil
	}
	name, params, ok := activation(n)
	if !ok {
		if params, ok = clip(n); !ok {
			return nil, nil
		}
		name = "Clip"
	}
	f := n.In[0].Producer
	if fused := producer(n.In[0], "FusedConv"); fused != nil && fused.Str("activation") == "" {
		f = fused
	} else if !images(f) {
		return nil, nil
	}
	if !private(c, n, n.In[0]) {
		return nil, nil
	}
	attrs := maps.Clone(f.Attrs)
	attrs["activation"] = ir.Str(name)
	if params != nil {
		attrs["activation_params"] = ir.Floats(params...)
	}
	return one(c, n, follows(n, f), "FusedConv", f.In, attrs), nil
}

// images reports whether f is a convolution of float32 images, for which the
// kernel adds and activates in place.
func images(f *ir.Node) bool {
	return f.Is("Conv") && match.Float32(f.Out[0]) && len(f.Out[0].Type.Shape) == 4
}

func convResidual(c *pass.Context, n *ir.Node) (p *ir.Patch) {
	match.Either(n, func(y, z *ir.Value) bool {
		f := y.Producer
		if !images(f) || !y.Type.Shape.Equal(z.Type.Shape) || z.IsConst() || !private(c, n, y) {
			return false
		}
		p = one(c, n, follows(n, f), "FusedConv", []*ir.Value{f.In[0], f.In[1], f.Input(2), z}, maps.Clone(f.Attrs))
		return true
	})
	return p
}
