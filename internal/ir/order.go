package ir

import "fmt"

// Sort puts the nodes in topological order, keeping the given order where it
// can, and drops removed ones. A cycle is an error that names a node on it.
func (g *Graph) Sort() error {
	g.compact()
	const (
		white = iota
		grey
		black
	)
	inside := make(map[*Node]bool, len(g.Nodes))
	for _, n := range g.Nodes {
		inside[n] = true
	}
	state := make(map[*Node]int, len(g.Nodes))
	order := make([]*Node, 0, len(g.Nodes))
	type frame struct {
		n    *Node
		deps []*Node
	}
	for _, root := range g.Nodes {
		if state[root] == black {
			continue
		}
		state[root] = grey
		stack := []frame{{root, dependencies(root)}}
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			if len(top.deps) == 0 {
				state[top.n] = black
				order = append(order, top.n)
				stack = stack[:len(stack)-1]
				continue
			}
			d := top.deps[0]
			top.deps = top.deps[1:]
			switch {
			case !inside[d] || state[d] == black:
			case state[d] == grey:
				return fmt.Errorf("the graph has a cycle through node %s", d)
			default:
				state[d] = grey
				stack = append(stack, frame{d, dependencies(d)})
			}
		}
	}
	g.Nodes = order
	return nil
}

// dependencies lists the producers of what n and its subgraphs read.
func dependencies(n *Node) []*Node {
	var deps []*Node
	for _, v := range n.In {
		if v != nil && v.Producer != nil {
			deps = append(deps, v.Producer)
		}
	}
	for _, g := range n.Subgraphs() {
		for _, v := range g.Captures() {
			if v.Producer != nil {
				deps = append(deps, v.Producer)
			}
		}
	}
	return deps
}

// Verify checks that links and order are consistent: each input is produced
// before it is read, use lists match, and output values exist.
func (g *Graph) Verify() error { return g.verify(map[*Value]bool{}) }

func (g *Graph) verify(known map[*Value]bool) error {
	defined := make([]*Value, 0, len(g.Inputs)+len(g.Nodes))
	define := func(v *Value) error {
		if v == nil {
			return nil
		}
		if known[v] {
			return fmt.Errorf("value %q is defined twice", v.Name)
		}
		known[v] = true
		defined = append(defined, v)
		return nil
	}
	defer func() { // values of a subgraph are not visible outside it
		for _, v := range defined {
			delete(known, v)
		}
	}()
	for _, v := range g.Inputs {
		if err := define(v); err != nil {
			return err
		}
	}
	for _, n := range g.Nodes {
		if err := n.verify(known); err != nil {
			return err
		}
		for i, v := range n.Out {
			if v != nil && (v.Producer != n || v.Index != i) {
				return fmt.Errorf("%s: output %d (%q) does not point back to its node", n, i, v.Name)
			}
			if err := define(v); err != nil {
				return fmt.Errorf("%s: %w", n, err)
			}
		}
	}
	for _, o := range g.Outputs {
		if o.Value == nil || (!known[o.Value] && o.Value.Const == nil) {
			return fmt.Errorf("graph output %q is produced by no node", o.Name)
		}
	}
	return nil
}

func (n *Node) verify(known map[*Value]bool) error {
	for i, v := range n.In {
		if v == nil {
			continue
		}
		if !known[v] && v.Const == nil {
			return fmt.Errorf("%s: input %d (%q) is read before it is produced", n, i, v.Name)
		}
		found := false
		for _, u := range v.uses {
			found = found || u == Use{n, i}
		}
		if !found {
			return fmt.Errorf("%s: input %d (%q) does not list its use", n, i, v.Name)
		}
	}
	for _, g := range n.Subgraphs() {
		if err := g.verify(known); err != nil {
			return fmt.Errorf("%s: subgraph %q: %w", n, g.Name, err)
		}
	}
	return nil
}
