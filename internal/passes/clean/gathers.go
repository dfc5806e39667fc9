package clean

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
)

// Gathers turns single elements of an axis into views.
var Gathers = pass.Pass{
	Name: "split-gathers", Level: 3,
	Doc:     "A Gather of the only element of an axis becomes a Squeeze. Gathers that each take one element of an axis, and together all of 8 or more, become a Split, whose parts are no copies: a Transpose makes the axis the outermost before.",
	Rewrite: gathersPass,
}

const (
	// squeezeOpset has the axes as an input, and Split its sizes.
	squeezeOpset = 13
	// fewestParts: of fewer the copies cost little, and passes that fuse
	// attention know them as they are.
	fewestParts  = 8
	mostSqueezed = 4096
)

func gathersPass(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	axis, at, size, ok := element(n)
	if !ok || n.Opset < squeezeOpset {
		return nil, nil
	}
	x := n.In[0]
	if size == 1 {
		y := squeeze(c, n, x, axis)
		return &ir.Patch{Reason: fmt.Sprintf("%s takes the only element of axis %d", n, axis), Add: []*ir.Node{y}, Replace: []ir.Replacement{{Old: n.Out[0], New: y.Out[0]}}}, nil
	}
	if at != 0 || size < fewestParts || size > mostSqueezed { // the one of the first element stands for all
		return nil, nil
	}
	gathers, taken := elements(c, n, axis)
	if taken < size {
		if 2*taken > size {
			c.Near(n, "Gathers take %d of the %d elements of axis %d", taken, size, axis)
		}
		return nil, nil
	}
	p := &ir.Patch{Reason: fmt.Sprintf("%d Gathers take all elements of axis %d of %q", len(gathers), axis, x.Name)}
	if !outermost(x, axis) {
		x, axis = toFront(c, p, n, axis), 0
	}
	parts := make([]*ir.Value, size)
	ones := make([]int, size)
	for i := range parts {
		parts[i], ones[i] = c.Value(n.In[0].Name+"_part"), 1
	}
	split := ir.NewNode("", "Split", n.Opset, []*ir.Value{x, intsConst(c, n.In[0].Name+"_ones", ones)}, parts, map[string]*ir.Attr{"axis": ir.Int(int64(axis))})
	split.Name = c.Name(n.Name + "_split")
	p.Add = append(p.Add, split)
	for _, g := range gathers {
		_, i, _, _ := element(g)
		y := squeeze(c, g, parts[i], axis)
		p.Add = append(p.Add, y)
		p.Replace = append(p.Replace, ir.Replacement{Old: g.Out[0], New: y.Out[0]})
	}
	return p, nil
}

// elements are the Gathers, n among them, of single elements of an axis of its
// input, and how many elements they take. Those in bodies don't count: what is
// made for them here would not be there.
func elements(c *pass.Context, n *ir.Node, axis int) (gathers []*ir.Node, taken int) {
	if len(n.In[0].Uses()) < fewestParts {
		return nil, 0
	}
	seen := map[int]bool{}
	here := nodesHere(c)
	for _, u := range n.In[0].Uses() {
		if a, i, _, ok := element(u.Node); ok && a == axis && u.Node.Opset == n.Opset && here[u.Node] {
			gathers = append(gathers, u.Node)
			seen[i] = true
		}
	}
	return gathers, len(seen)
}

type nodesKey struct{}

// nodesHere is the nodes of the graph as they are when a sweep first asks.
func nodesHere(c *pass.Context) map[*ir.Node]bool {
	nodes, ok := c.Memo[nodesKey{}].(map[*ir.Node]bool)
	if !ok {
		nodes = make(map[*ir.Node]bool, len(c.Graph.Nodes))
		for _, n := range c.Graph.Nodes {
			nodes[n] = true
		}
		c.Memo[nodesKey{}] = nodes
	}
	return nodes
}

// element tells whether n takes one element of an axis of known size of what
// is computed, and which.
func element(n *ir.Node) (axis, at, size int, ok bool) {
	if !n.Is("Gather") || n.In[0].IsConst() || !n.In[1].IsConst() || n.In[1].Const.Rank() != 0 {
		return 0, 0, 0, false
	}
	k, err := n.In[1].Const.Ints()
	if err != nil || n.In[0].Type.DType == dtype.String {
		return 0, 0, 0, false
	}
	if axis, err = op.Axis(n.Int("axis"), len(n.In[0].Type.Shape)); err != nil {
		return 0, 0, 0, false
	}
	if size, ok = n.In[0].Type.Shape[axis].Int(); !ok || k[0] < -size || k[0] >= size {
		return 0, 0, 0, false
	}
	if at = k[0]; at < 0 {
		at += size
	}
	return axis, at, size, true
}

// outermost reports whether parts along the axis are contiguous.
func outermost(x *ir.Value, axis int) bool {
	for _, d := range x.Type.Shape[:axis] {
		if n, ok := d.Int(); !ok || n != 1 {
			return false
		}
	}
	return true
}

// toFront adds a Transpose that makes the axis of n's input the first.
func toFront(c *pass.Context, p *ir.Patch, n *ir.Node, axis int) *ir.Value {
	perm := []int{axis}
	for i := range n.In[0].Type.Shape {
		if i != axis {
			perm = append(perm, i)
		}
	}
	y := c.Value(n.In[0].Name + "_front")
	t := ir.NewNode("", "Transpose", n.Opset, []*ir.Value{n.In[0]}, []*ir.Value{y}, map[string]*ir.Attr{"perm": ir.Ints(perm...)})
	t.Name = c.Name(n.Name + "_front")
	p.Add = append(p.Add, t)
	return y
}

// squeeze makes a node that drops the axis of x, for the result of n.
func squeeze(c *pass.Context, n *ir.Node, x *ir.Value, axis int) *ir.Node {
	y := c.Value(n.Out[0].Name)
	s := ir.NewNode("", "Squeeze", n.Opset, []*ir.Value{x, intsConst(c, n.Out[0].Name+"_axis", []int{axis})}, []*ir.Value{y}, nil)
	s.Name = n.Name
	return s
}
