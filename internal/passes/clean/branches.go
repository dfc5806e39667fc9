package clean

import (
	"fmt"
	"maps"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/pass"
)

// Branches takes the branch of an If whose condition is constant.
var Branches = pass.Pass{
	Name: "inline-branch", Level: 1, Portable: true,
	Doc:     "An If with a constant condition is replaced by the branch that it takes.",
	Rewrite: branches,
}

func branches(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if !n.Is("If") || !n.In[0].IsConst() || n.In[0].Const.DType != dtype.Bool || n.In[0].Const.Len() != 1 {
		return nil, nil
	}
	name := "else_branch"
	if n.In[0].Const.Data[0] != 0 {
		name = "then_branch"
	}
	body := n.Attr(name).Graph
	if body == nil || len(body.Outputs) != len(n.Out) {
		return nil, nil
	}
	for i, v := range n.Out {
		if v != nil && v.Type.DType != body.Outputs[i].Value.Type.DType {
			return nil, nil // sequences and optionals, whose element types the If joins
		}
	}
	if !n.IsLive() {
		return nil, nil
	}
	cp := copier{c: c, values: map[*ir.Value]*ir.Value{}}
	p := &ir.Patch{Reason: fmt.Sprintf("%s always takes its %s", n, name)}
	for _, m := range body.Nodes {
		p.Add = append(p.Add, cp.node(m))
	}
	for i, v := range n.Out {
		if v == nil || len(v.Uses()) == 0 && !v.IsOutput() {
			continue
		}
		p.Replace = append(p.Replace, ir.Replacement{Old: v, New: cp.value(body.Outputs[i].Value)})
	}
	return p, nil
}

// copier copies nodes with new names for what they compute: two bodies may use
// the same names.
type copier struct {
	c      *pass.Context
	values map[*ir.Value]*ir.Value
}

// value gives the copy of a value, or itself where it is of an outer graph.
func (cp copier) value(v *ir.Value) *ir.Value {
	if w, ok := cp.values[v]; ok {
		return w
	}
	return v
}

func (cp copier) define(v *ir.Value) *ir.Value {
	if v == nil {
		return nil
	}
	w := ir.NewValue(cp.c.Name(v.Name), v.Type)
	w.Content = v.Content
	cp.values[v] = w
	return w
}

func (cp copier) node(n *ir.Node) *ir.Node {
	var in, out []*ir.Value
	for _, v := range n.In {
		in = append(in, cp.value(v))
	}
	attrs := maps.Clone(n.Attrs)
	for _, name := range slices.Sorted(maps.Keys(attrs)) { // the same names in every run
		if a := attrs[name]; a.Graph != nil {
			attrs[name] = ir.GraphAttr(cp.graph(a.Graph))
		}
	}
	for _, v := range n.Out {
		out = append(out, cp.define(v))
	}
	m := ir.NewNode(n.Domain, n.Op, n.Opset, in, out, attrs)
	m.Name = n.Name
	return m
}

func (cp copier) graph(g *ir.Graph) *ir.Graph {
	out := &ir.Graph{Name: g.Name, Doc: g.Doc, Opsets: g.Opsets, Meta: g.Meta}
	for _, v := range g.Inputs {
		out.Inputs = append(out.Inputs, cp.define(v))
	}
	for _, n := range g.Nodes {
		out.Nodes = append(out.Nodes, cp.node(n))
	}
	for _, o := range g.Outputs {
		out.AddOutput(o.Name, cp.value(o.Value))
	}
	return out
}
