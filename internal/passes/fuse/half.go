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

// Halves stores what matrix products pass to each other in bfloat16, where the
// precision is bf16. The readers would round it to the same bits.
var Halves = pass.Pass{
	Name: "half-products", Level: 3, Last: true,
	Doc:     "With `--precision bf16`, results of products with constant weights that only such products read are stored in bfloat16.",
	Rewrite: halve,
}

func halve(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if c.Precision != op.BF16 || !multipliesWeights(n) || n.Bool("transA") {
		return nil, nil
	}
	stored := storedHalf(n.In[0])
	writes := writesHalf(c, n)
	if stored == nil && !writes {
		return nil, nil
	}
	in, attrs := slices.Clone(n.In), maps.Clone(n.Attrs)
	if stored != nil {
		in[0] = stored
	}
	y := c.Value(n.Out[0].Name)
	if attrs == nil {
		attrs = map[string]ir.Attr{}
	}
	m := ir.NewNode(op.Salver, "FusedMatMul", 1, in, []*ir.Value{y}, attrs)
	m.Name = n.Name
	patch := &ir.Patch{Reason: fmt.Sprintf("%s reads or writes bfloat16", n), Add: []*ir.Node{m}}
	if writes {
		attrs["bf16"] = ir.Int(1)
		wide := c.Value(y.Name + "_float")
		patch.Add = append(patch.Add, ir.NewNode("", "Cast", 13, []*ir.Value{y}, []*ir.Value{wide}, map[string]ir.Attr{"to": ir.Int(int(dtype.Float32))}))
		y = wide
	}
	patch.Replace = []ir.Replacement{{Old: n.Out[0], New: y}}
	return patch, nil
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
		if u.Index == 0 && multipliesWeights(u.Node) && !u.Node.Bool("transA") {
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
