package ir

import (
	"fmt"
	"slices"
)

// Patch is a change to a graph, the only way in which passes make one. Each
// replaced value keeps its readers and its place among the graph's outputs;
// nodes that nothing reads any more are removed when the patch is applied.
type Patch struct {
	Reason  string // what it does, e.g. `fold "bn1" into "conv1"`
	Add     []*Node
	Replace []Replacement
}

// Replacement redirects the readers of Old to New.
type Replacement struct{ Old, New *Value }

// Check reports what forbids the patch: a changed element type, or shapes that
// contradict each other.
func (p *Patch) Check() error {
	if len(p.Replace) == 0 {
		return fmt.Errorf("patch %q replaces nothing", p.Reason)
	}
	for _, r := range p.Replace {
		if r.Old.Type.DType != r.New.Type.DType {
			return fmt.Errorf("patch %q: %q is %s, its replacement %q is %s", p.Reason, r.Old.Name, r.Old.Type, r.New.Name, r.New.Type)
		}
		if !r.Old.Type.Shape.Compatible(r.New.Type.Shape) {
			return fmt.Errorf("patch %q: %q has shape %s, its replacement %q has %s", p.Reason, r.Old.Name, r.Old.Type.Shape, r.New.Name, r.New.Type.Shape)
		}
	}
	return nil
}

// Discard takes the added nodes of a patch that is not applied off the use
// lists of what they read.
func (p *Patch) Discard() {
	for _, n := range p.Add {
		n.unlink()
	}
}

// Apply checks p and changes g; it gives the nodes that nothing reads any more
// and that are therefore removed. Added nodes stand at the end of g.Nodes and
// removed ones are still there until Sort: a pass sweeps over a snapshot and
// sorts once.
func (g *Graph) Apply(p *Patch) (removed []*Node, err error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	var orphans []*Node
	for _, r := range p.Replace {
		ReplaceUses(r.Old, r.New)
		if r.Old.Producer != nil {
			orphans = append(orphans, r.Old.Producer)
		}
	}
	g.Nodes = append(g.Nodes, p.Add...)
	return removeDead(orphans), nil
}

// RemoveDead removes every node whose outputs nothing reads.
func (g *Graph) RemoveDead() []*Node {
	removed := removeDead(g.Nodes)
	if len(removed) > 0 {
		g.compact()
	}
	return removed
}

// removeDead removes those of candidates, and then their producers, whose
// outputs nothing reads.
func removeDead(candidates []*Node) (removed []*Node) {
	candidates = append([]*Node(nil), candidates...)
	for len(candidates) > 0 {
		n := candidates[len(candidates)-1]
		candidates = candidates[:len(candidates)-1]
		if n.removed || n.IsLive() {
			continue
		}
		candidates = append(candidates, dependencies(n)...)
		n.unlink()
		n.removed = true
		removed = append(removed, n)
	}
	return removed
}

// compact drops removed nodes from the list, and from those of subgraphs.
func (g *Graph) compact() {
	g.Nodes = slices.DeleteFunc(g.Nodes, func(n *Node) bool { return n.removed })
	for _, n := range g.Nodes {
		for _, sub := range n.Subgraphs() {
			sub.compact()
		}
	}
}
