package clean

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
)

// Transposes merges Transposes.
var Transposes = pass.Pass{
	Name: "merge-transposes", Level: 1, Portable: true,
	Doc:     "Two Transposes in a row become one or none.",
	Rewrite: transposes,
}

// Views makes views of Transposes that move nothing. It is not portable: a
// runtime that computes channels last cancels such a Transpose with its own.
var Views = pass.Pass{
	Name: "transpose-views", Level: 3,
	Doc:     "A Transpose that moves only axes of size 1 becomes a Reshape.",
	Rewrite: views,
}

func views(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if !n.Is("Transpose") || n.In[0].Type.Shape == nil || !keepsElements(n, permOf(n)) {
		return nil, nil
	}
	return reshapeTo(c, n, n.In[0], fmt.Sprintf("%s moves only axes of size 1", n)), nil
}

func transposes(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if !n.Is("Transpose") || n.In[0].Type.Shape == nil {
		return nil, nil
	}
	perm := permOf(n)
	if t := match.Producer(n.In[0], "Transpose"); t != nil {
		both := compose(permOf(t), perm)
		why := fmt.Sprintf("%s follows %s", n, t)
		if isIdentity(both) {
			return &ir.Patch{Reason: why, Replace: []ir.Replacement{{Old: n.Out[0], New: t.In[0]}}}, nil
		}
		y := c.Value(n.Out[0].Name)
		m := ir.NewNode("", "Transpose", n.Opset, []*ir.Value{t.In[0]}, []*ir.Value{y}, map[string]*ir.Attr{"perm": ir.Ints(both...)})
		m.Name = n.Name
		return &ir.Patch{Reason: why, Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}, nil
	}
	return nil, nil
}

// permOf is the permutation of a Transpose; the default reverses the axes.
func permOf(n *ir.Node) []int {
	if p := n.Ints("perm"); p != nil {
		return p
	}
	p := make([]int, len(n.In[0].Type.Shape))
	for i := range p {
		p[i] = len(p) - 1 - i
	}
	return p
}

// compose is the permutation of a Transpose by p followed by one by q.
func compose(p, q []int) []int {
	out := make([]int, len(q))
	for i, a := range q {
		out[i] = p[a]
	}
	return out
}

func inverse(p []int) []int {
	out := make([]int, len(p))
	for i, a := range p {
		out[a] = i
	}
	return out
}

func isIdentity(p []int) bool {
	for i, a := range p {
		if i != a {
			return false
		}
	}
	return true
}

// keepsElements reports whether the axes that are larger than 1 keep their order.
func keepsElements(n *ir.Node, perm []int) bool {
	last := -1
	for _, a := range perm {
		if n.In[0].Type.Shape[a].Is(1) {
			continue
		}
		if a < last {
			return false
		}
		last = a
	}
	return !slices.Equal(perm, []int{0})
}
