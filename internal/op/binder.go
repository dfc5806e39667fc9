package op

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// Binder binds one graph again and again: what follows from nothing that differs from the
// last time is not inferred anew. The graph must not change.
type Binder struct {
	g     *ir.Graph
	nodes []boundNode // as the graph's
	facts Facts       // of the last time, nil if there is none
}

type boundNode struct {
	op     *Op
	bodies bool // may read any value of the graphs around them
}

// NewBinder makes a binder for g.
func NewBinder(g *ir.Graph) *Binder {
	b := &Binder{g: g, nodes: make([]boundNode, len(g.Nodes))}
	for i, n := range g.Nodes {
		b.nodes[i] = boundNode{Of(n), len(n.Subgraphs()) > 0}
	}
	return b
}

// Node gives the operator of the graph's node i, and whether it has subgraphs.
func (b *Binder) Node(i int) (o *Op, bodies bool) { return b.nodes[i].op, b.nodes[i].bodies }

// Bind is Bind for the binder's graph. The facts are good until the next call; changed
// has the values whose facts differ from those of the last, nil if nothing is known of it.
func (b *Binder) Bind(inputs []Fact) (facts Facts, changed map[*ir.Value]bool, err error) {
	if b.facts == nil {
		b.facts, err = Bind(b.g, inputs)
		return b.facts, nil, err
	}
	if len(inputs) != len(b.g.Inputs) {
		return nil, nil, fmt.Errorf("graph %q has %d inputs, found %d", b.g.Name, len(b.g.Inputs), len(inputs))
	}
	inf := inferrer{facts: b.facts, changed: map[*ir.Value]bool{}}
	b.facts = nil // until all of them are those of these inputs
	for i, v := range b.g.Inputs {
		inf.note(v, inputs[i])
	}
	for i, n := range b.g.Nodes {
		if known := b.nodes[i]; known.bodies || inf.anyChanged(n.In) {
			if err := inf.known(n, known.op, known.bodies); err != nil {
				return nil, nil, err
			}
		}
	}
	b.facts = inf.facts
	return b.facts, inf.changed, nil
}

func (inf *inferrer) anyChanged(in []*ir.Value) bool {
	for _, v := range in {
		if v != nil && inf.changed[v] {
			return true
		}
	}
	return false
}

// note sets the fact of v, and remembers whether it is another one than before.
func (inf *inferrer) note(v *ir.Value, f Fact) {
	if inf.changed != nil {
		if old, ok := inf.facts[v]; ok && old.equal(f) {
			return
		}
		inf.changed[v] = true
	}
	inf.facts[v] = f
}

// equal reports whether two facts say the same.
func (f Fact) equal(g Fact) bool {
	return f.Present == g.Present && sameType(&f.Type, &g.Type) && sameConst(f.Const, g.Const) &&
		(f.Content == nil) == (g.Content == nil) && slices.EqualFunc(f.Content, g.Content, shape.Dim.Equal)
}

func sameType(a, b *ir.Type) bool {
	if a == b || a == nil || b == nil {
		return a == b
	}
	return a.DType == b.DType && (a.Shape == nil && b.Shape == nil || a.Shape.Equal(b.Shape)) && sameType(a.Elem, b.Elem)
}

// sameConst compares contents that Bind has computed; others are the same if they are one.
func sameConst(a, b *tensor.Tensor) bool {
	if a == b {
		return true
	}
	return a != nil && b != nil && a.Len() <= maxFold && b.Len() <= maxFold && a.DType == b.DType && slices.Equal(a.Shape, b.Shape) &&
		len(a.Items) == 0 && len(b.Items) == 0 && len(a.Data) == len(b.Data) && bytes.Equal(a.Data, b.Data) && slices.Equal(a.Strings, b.Strings)
}
