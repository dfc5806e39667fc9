package ir

import (
	"maps"
	"slices"
)

// Clone copies a graph with its subgraphs, which may then be changed without
// changing the original. The contents of constants are shared.
func (g *Graph) Clone() *Graph { return g.clone(map[*Value]*Value{}) }

func (g *Graph) clone(known map[*Value]*Value) *Graph {
	c := &Graph{Name: g.Name, Doc: g.Doc, Opsets: maps.Clone(g.Opsets), Meta: maps.Clone(g.Meta), Nodes: make([]*Node, 0, len(g.Nodes))}
	for _, v := range g.Inputs {
		c.Inputs = append(c.Inputs, cloneValue(v, known))
	}
	for _, n := range g.Nodes {
		c.Nodes = append(c.Nodes, n.clone(known))
	}
	for _, o := range g.Outputs {
		c.AddOutput(o.Name, cloneValue(o.Value, known))
	}
	return c
}

func cloneValue(v *Value, known map[*Value]*Value) *Value {
	if v == nil {
		return nil
	}
	if c := known[v]; c != nil {
		return c
	}
	c := &Value{Name: v.Name, Type: v.Type, Const: v.Const, Again: v.Again, Content: v.Content}
	known[v] = c
	return c
}

func (n *Node) clone(known map[*Value]*Value) *Node {
	values := func(vs []*Value) []*Value {
		c := make([]*Value, len(vs))
		for i, v := range vs {
			c[i] = cloneValue(v, known)
		}
		return c
	}
	c := NewNode(n.Domain, n.Op, n.Opset, values(n.In), values(n.Out), maps.Clone(n.Attrs))
	c.Name = n.Name
	for name, shared := range c.Attrs {
		if shared.Graph == nil && len(shared.Graphs) == 0 {
			continue
		}
		a := *shared
		if a.Graph != nil {
			a.Graph = a.Graph.clone(known)
		}
		a.Graphs = slices.Clone(a.Graphs)
		for i, sub := range a.Graphs {
			a.Graphs[i] = sub.clone(known)
		}
		c.Attrs[name] = &a
	}
	return c
}
