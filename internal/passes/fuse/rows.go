package fuse

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// Rows moves what only permutes or regroups rows behind products with weights.
var Rows = pass.Pass{
	Name: "sink-rows", Level: 2,
	Doc: "A product with weights treats each row alike, so a Transpose of rows before it moves behind it, where it meets its opposite or attention, and rows that are " +
		"flattened before it and unflattened behind it stay as they are. So requests stay apart (torch's MultiheadAttention).",
	Rewrite: rows,
}

func rows(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	switch {
	case n.Is("Transpose"):
		return joinTransposes(c, n), nil
	case n.Is("Reshape"):
		if p := unflatten(c, n); p != nil {
			return p, nil
		}
		return sinkBelowReshape(c, n), nil
	case isRowProduct(n) || n.Is("Add") && addsBias(n):
		return sinkBelowProduct(c, n), nil
	case n.Domain == op.Salver && n.Op == "FusedAttention":
		return readThroughTranspose(c, n), nil
	}
	return nil, nil
}

// addsBias reports whether n adds a constant vector to each row of input 0.
func addsBias(n *ir.Node) bool {
	b := n.In[1]
	return b.IsConst() && b.Const.Rank() == 1 && len(n.In[0].Type.Shape) >= 2 && n.In[0].Type.Shape.Equal(n.Out[0].Type.Shape)
}

// readThroughTranspose lets attention read what a Transpose is made from: one
// that moved there from above a product.
func readThroughTranspose(c *pass.Context, n *ir.Node) *ir.Patch {
	in, attrs := slices.Clone(n.In), maps.Clone(n.Attrs)
	var moved []*ir.Node
	for i, name := range []string{"q_layout", "k_layout", "v_layout"} {
		t := match.Producer(in[i], "Transpose")
		dims, ok := layoutDims(n.Str(name))
		if t == nil || !ok || !keepsLast(t.Ints("perm")) || len(dims) != len(t.Ints("perm")) {
			continue
		}
		from := make([]string, len(dims))
		for j, p := range t.Ints("perm") {
			from[p] = dims[j]
		}
		in[i], attrs[name] = t.In[0], ir.Str(strings.Join(from, " "))
		moved = append(moved, t)
	}
	if moved == nil {
		return nil
	}
	y := c.Value(n.Out[0].Name)
	m := ir.NewNode(n.Domain, n.Op, n.Opset, in, []*ir.Value{y}, attrs)
	m.Name = n.Name
	return &ir.Patch{Reason: fmt.Sprintf("%s reads through %s", n, moved[0]), Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}
}

// isRowProduct reports whether n multiplies the rows of input 0 by constant
// weights and does no more than a bias and an activation.
func isRowProduct(n *ir.Node) bool {
	if !n.Is("MatMul") && !(n.Domain == op.Salver && n.Op == "FusedMatMul") {
		return false
	}
	w := n.Input(1)
	return w.IsConst() && w.Const.Rank() == 2 && n.Input(3) == nil && !n.Bool("transA") && len(n.In[0].Type.Shape) >= 2
}

// keepsLast reports whether a permutation leaves the last axis in place.
func keepsLast(perm []int) bool { return len(perm) > 0 && perm[len(perm)-1] == len(perm)-1 }

// joinTransposes makes one of two.
func joinTransposes(c *pass.Context, n *ir.Node) *ir.Patch {
	first := match.Producer(n.In[0], "Transpose")
	p, q := n.Ints("perm"), []int(nil)
	if first != nil {
		q = first.Ints("perm")
	}
	if p == nil || q == nil {
		return nil
	}
	perm := make([]int, len(p))
	same := true
	for i := range p {
		perm[i] = q[p[i]]
		same = same && perm[i] == i
	}
	patch := &ir.Patch{Reason: fmt.Sprintf("%s and %s are one", first, n)}
	y := first.In[0]
	if !same {
		y = c.Value(n.Out[0].Name)
		patch.Add = []*ir.Node{transposeNode(first.In[0], y, perm)}
	}
	patch.Replace = []ir.Replacement{{Old: n.Out[0], New: y}}
	return patch
}

func transposeNode(x, y *ir.Value, perm []int) *ir.Node {
	return ir.NewNode("", "Transpose", 13, []*ir.Value{x}, []*ir.Value{y}, map[string]*ir.Attr{"perm": ir.Ints(perm...)})
}

// sinkBelowProduct multiplies first and transposes afterwards.
func sinkBelowProduct(c *pass.Context, n *ir.Node) *ir.Patch {
	t := match.Producer(n.In[0], "Transpose")
	if t == nil || !keepsLast(t.Ints("perm")) || !match.Private(n.In[0]) {
		return nil
	}
	x, y := c.Value(n.Out[0].Name), c.Value(n.Out[0].Name)
	m := sameNode(n, t.In[0], x)
	return &ir.Patch{Reason: fmt.Sprintf("%s moves behind %s", t, n), Add: []*ir.Node{m, transposeNode(x, y, t.Ints("perm"))},
		Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}
}

// sameNode computes what n does of another input 0.
func sameNode(n *ir.Node, x, y *ir.Value) *ir.Node {
	in := slices.Clone(n.In)
	in[0] = x
	m := ir.NewNode(n.Domain, n.Op, n.Opset, in, []*ir.Value{y}, maps.Clone(n.Attrs))
	m.Name = n.Name
	return m
}

// sinkBelowReshape lets a Reshape that merges trailing axes go before the
// transposition of the axes before them.
func sinkBelowReshape(c *pass.Context, n *ir.Node) *ir.Patch {
	t := match.Producer(n.In[0], "Transpose")
	if t == nil || !match.Private(n.In[0]) {
		return nil
	}
	lead, ok := mergesTail(n)
	perm := t.Ints("perm")
	if !ok || lead < 2 || !keepsTail(perm, lead) {
		return nil
	}
	x, y := c.Value(n.Out[0].Name), c.Value(n.Out[0].Name)
	r := mergeTail(c, t.In[0], x, lead, n.Out[0].Type.Shape[lead])
	return &ir.Patch{Reason: fmt.Sprintf("%s moves behind %s", t, n), Add: []*ir.Node{r, transposeNode(x, y, append(slices.Clone(perm[:lead]), lead))},
		Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}
}

// mergesTail reports whether a Reshape keeps its first axes and makes one of
// known size of all others.
func mergesTail(n *ir.Node) (lead int, ok bool) {
	from, to := n.In[0].Type.Shape, n.Out[0].Type.Shape
	lead = len(to) - 1
	if from == nil || lead < 0 || len(from) <= len(to) {
		return 0, false
	}
	_, known := to[lead].Int()
	return lead, known && from[:lead].Equal(to[:lead])
}

// keepsTail reports whether a permutation leaves the axes from lead on in place.
func keepsTail(perm []int, lead int) bool {
	for i := lead; i < len(perm); i++ {
		if perm[i] != i {
			return false
		}
	}
	return len(perm) >= lead
}

// mergeTail makes the Reshape that keeps the first axes and merges the others.
func mergeTail(c *pass.Context, x, y *ir.Value, lead int, last shape.Dim) *ir.Node {
	to := make([]int64, lead+1) // 0 keeps an axis
	n, _ := last.Int()
	to[lead] = int64(n)
	s := ir.NewConst(c.Name("shape"), tensor.FromSlice(to, lead+1))
	return ir.NewNode("", "Reshape", 14, []*ir.Value{x, s}, []*ir.Value{y}, nil)
}

// unflatten finds rows that a Reshape makes one axis of for a product, and that
// n makes several again.
func unflatten(c *pass.Context, n *ir.Node) *ir.Patch {
	p := n.In[0].Producer
	if p == nil || !isRowProduct(p) || !match.Private(n.In[0]) {
		return nil
	}
	r := match.Producer(p.In[0], "Reshape")
	if r == nil || len(p.In[0].Type.Shape) != 2 {
		return nil
	}
	from, to := r.In[0].Type.Shape, n.Out[0].Type.Shape
	lead := len(to) - 1
	width, known := p.In[0].Type.Shape[1].Int()
	if lead < 2 || len(from) < len(to) || !known || !from[:lead].Equal(to[:lead]) || !to[lead].Equal(p.Out[0].Type.Shape[1]) {
		return nil
	}
	var nodes []*ir.Node
	x := r.In[0]
	if len(from) != len(to) || !from[lead].Is(width) {
		if !from[lead:].Count().Is(width) {
			return nil
		}
		x = c.Value(p.In[0].Name)
		nodes = append(nodes, mergeTail(c, r.In[0], x, lead, shape.Const(width)))
	}
	y := c.Value(n.Out[0].Name)
	nodes = append(nodes, sameNode(p, x, y))
	return &ir.Patch{Reason: fmt.Sprintf("%s multiplies the rows of %q without flattening them", p, r.In[0].Name), Add: nodes,
		Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}
}
