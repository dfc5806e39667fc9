package fuse

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/blockq"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/blockquant"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
	"github.com/salver-ml/salver/internal/tensor"
)

// Gates makes one operator of a gated network's first half.
var Gates = pass.Pass{
	Name: "fuse-gates", Level: 2,
	Doc:     "Two products of one input by block-quantized weights of one format, the result of one of which goes through an activation and is multiplied by that of the other, become one operator, with the same bits.",
	Rewrite: gates,
}

func gates(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if !n.Is("Mul") || !match.Float32(n.Out[0]) {
		return nil, nil
	}
	var patch *ir.Patch
	match.Either(n, func(y, z *ir.Value) bool {
		if y.Producer == nil || !match.Private(y) || !match.Private(z) {
			return false
		}
		name, params, ok := activationOf(y.Producer)
		if !ok || len(params) > 0 || !blockquant.HasGate(name) || !match.Private(y.Producer.In[0]) {
			return false
		}
		both := []*ir.Node{y.Producer.In[0].Producer, z.Producer}
		if !isBlockProduct(both[0]) || !isBlockProduct(both[1]) || !together(both[0], both[1]) {
			return false
		}
		if both[0].Str("format") != both[1].Str("format") || !both[0].Out[0].Type.Shape.Equal(both[1].Out[0].Type.Shape) {
			c.Near(n, "%s is of %s %s, %s of %s %s", both[0], both[0].Str("format"), both[0].Out[0].Type, both[1], both[1].Str("format"), both[1].Out[0].Type)
			return false
		}
		patch = fuseProducts(c, both, name, []*ir.Value{n.Out[0]})
		return true
	})
	return patch, nil
}

// Products makes one operator of several products of one input.
var Products = pass.Pass{
	Name: "fuse-products", Level: 2,
	Doc:     "Products of one input by block-quantized weights (Q, K and V) become one operator, with the same bits, which quantizes the input once.",
	Rewrite: products,
}

func products(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if !isBlockProduct(n) {
		return nil, nil
	}
	var all []*ir.Node
	var results []*ir.Value
	for _, u := range n.In[0].Uses() {
		if u.Index == 0 && isBlockProduct(u.Node) && together(n, u.Node) && slices.Contains(c.Graph.Nodes, u.Node) { // not of a body
			all, results = append(all, u.Node), append(results, u.Node.Out[0])
		}
	}
	if len(all) < 2 {
		return nil, nil
	}
	return fuseProducts(c, all, "", results), nil
}

// Inputs of BlockMatMul.
const (
	blockWeights   = 1
	blockBias      = 2
	blockResidual  = 3
	blockGenerated = 4
)

// isBlockProduct reports whether n is a product by constant block-quantized weights, and adds
// no more than a constant bias.
func isBlockProduct(n *ir.Node) bool {
	if n == nil || n.Domain != op.Salver || n.Op != "BlockMatMul" || !n.In[blockWeights].IsConst() || n.Input(blockResidual) != nil {
		return false
	}
	b := n.Input(blockBias)
	f, err := block.Parse(n.Str("format"))
	return err == nil && blockq.Quantizes(f) && (b == nil || b.IsConst())
}

// together reports whether two products have the same input, with the same roles of its rows,
// and biases both or not at all.
func together(a, b *ir.Node) bool {
	return a.In[0] == b.In[0] && a.Int("k") == b.Int("k") && a.Input(blockGenerated) == b.Input(blockGenerated) && (a.Input(blockBias) == nil) == (b.Input(blockBias) == nil)
}

// fuseProducts replaces results by those of one operator that computes all of the products.
func fuseProducts(c *pass.Context, all []*ir.Node, activation string, results []*ir.Value) *ir.Patch {
	in := []*ir.Value{all[0].In[0], nil, all[0].Input(blockGenerated)}
	var formats []string
	var bias []float32
	for _, m := range all {
		in, formats = append(in, m.In[blockWeights]), append(formats, m.Str("format"))
		if b := m.Input(blockBias); b != nil {
			bias = append(bias, tensor.Of[float32](b.Const)...)
		}
	}
	if bias != nil {
		in[1] = ir.NewConst(c.Name("bias"), tensor.FromSlice(bias, len(bias)))
	}
	attrs := map[string]*ir.Attr{"formats": ir.Strs(formats...), "k": ir.Int(all[0].Int("k")), "activation": ir.Str(activation)}
	patch := &ir.Patch{Reason: fmt.Sprintf("%d products of %q are one operator", len(all), all[0].In[0].Name)}
	var out []*ir.Value
	for _, v := range results {
		y := c.Value(v.Name)
		out = append(out, y)
		patch.Replace = append(patch.Replace, ir.Replacement{Old: v, New: y})
	}
	m := ir.NewNode(op.Salver, "BlockProducts", 1, in, out, attrs)
	m.Name = all[0].Name
	patch.Add = []*ir.Node{m}
	return patch
}
