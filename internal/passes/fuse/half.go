package fuse

import (
	"fmt"
	"maps"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
)

// Halves stores what matrix products pass to each other and to attention in bfloat16,
// where the precision is bf16. The readers would round it to the same bits.
var Halves = pass.Pass{
	Name: "half-products", Level: 3, Last: true,
	Doc:     "With `--precision bf16`, results of products with constant weights that only such products and fused attention read are stored in bfloat16.",
	Rewrite: halve,
}

func halve(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	switch {
	case c.Precision != op.BF16:
	case multipliesWeights(n) && !n.Bool("transA"):
		return halveProduct(c, n), nil
	case n.Domain == op.Salver && n.Op == "FusedAttention":
		return halveAttention(c, n), nil
	}
	return nil, nil
}

// halveAttention makes attention read Q, K and V as they are stored.
func halveAttention(c *pass.Context, n *ir.Node) *ir.Patch {
	in := slices.Clone(n.In)
	for i := range in[:3] {
		if in[i] = storedHalf(n.In[i]); in[i] == nil {
			return nil
		}
	}
	attrs := maps.Clone(n.Attrs)
	attrs["float32"] = ir.Int(1)
	y := c.Value(n.Out[0].Name)
	m := ir.NewNode(op.Salver, "FusedAttention", 1, in, []*ir.Value{y}, attrs)
	m.Name = n.Name
	return &ir.Patch{Reason: fmt.Sprintf("%s reads bfloat16", n), Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}
}

func halveProduct(c *pass.Context, n *ir.Node) *ir.Patch {
	stored := storedHalf(n.In[0])
	writes := writesHalf(c, n)
	if stored == nil && !writes {
		return nil
	}
	in, attrs := slices.Clone(n.In), maps.Clone(n.Attrs)
	if stored != nil {
		in[0] = stored
	}
	y := c.Value(n.Out[0].Name)
	if attrs == nil {
		attrs = map[string]*ir.Attr{}
	}
	m := ir.NewNode(op.Salver, "FusedMatMul", 1, in, []*ir.Value{y}, attrs)
	m.Name = n.Name
	patch := &ir.Patch{Reason: fmt.Sprintf("%s reads or writes bfloat16", n), Add: []*ir.Node{m}}
	if writes {
		attrs["bf16"] = ir.Int(1)
		wide := c.Value(y.Name + "_float")
		patch.Add = append(patch.Add, ir.NewNode("", "Cast", 13, []*ir.Value{y}, []*ir.Value{wide}, map[string]*ir.Attr{"to": ir.Int(int(dtype.Float32))}))
		y = wide
	}
	patch.Replace = []ir.Replacement{{Old: n.Out[0], New: y}}
	return patch
}

// storedHalf is what v was converted from, if that is bfloat16.
func storedHalf(v *ir.Value) *ir.Value {
	if p := match.Producer(v, "Cast"); p != nil && match.Float32(v) && p.In[0].Type.DType == dtype.BFloat16 {
		return p.In[0]
	}
	return nil
}

// multipliesWeights reports whether n is a product with constant weights.
func multipliesWeights(n *ir.Node) bool {
	return n != nil && (n.Is("MatMul") || n.Domain == op.Salver && n.Op == "FusedMatMul") && n.In[1].IsConst() && match.Float32(n.In[1])
}

// writesHalf reports whether n is a product whose result all readers may find in
// bfloat16.
func writesHalf(c *pass.Context, n *ir.Node) bool {
	y := n.Out[0]
	if !match.Float32(y) || y.IsOutput() {
		return false
	}
	var half, float *ir.Node
	for _, u := range y.Uses() {
		if u.Index == 0 && multipliesWeights(u.Node) && !u.Node.Bool("transA") || u.Index < 3 && attendsToProducts(u.Node) {
			half = u.Node
		} else {
			float = u.Node
		}
	}
	if half != nil && float != nil {
		c.Near(n, "its result is read by %s in float32", float)
	}
	return half != nil && float == nil
}

// attendsToProducts reports whether n is fused attention whose Q, K and V are results of
// products that nothing else reads, or are stored in bfloat16 already.
func attendsToProducts(n *ir.Node) bool {
	if n.Domain != op.Salver || n.Op != "FusedAttention" || !match.Float32(n.Out[0]) {
		return false
	}
	for _, v := range n.In[:3] {
		product := multipliesWeights(v.Producer) && !v.Producer.Bool("transA") && match.Float32(v) && !v.IsOutput()
		others := slices.ContainsFunc(v.Uses(), func(u ir.Use) bool { return u.Node != n || u.Index > 2 })
		if !product && storedHalf(v) == nil || others {
			return false
		}
	}
	return true
}
