package exec

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
)

// ProveRows shows that requests can be joined along the first dimension: all
// inputs and outputs begin with one symbol, and every output row depends on
// the same row of the inputs alone. The error names what forbids it.
func ProveRows(g *ir.Graph) error {
	batch, err := batchSymbol(g)
	if err != nil {
		return err
	}
	p := rowProof{batch: batch, axis: map[*ir.Value]int{}, counts: map[*ir.Value]bool{}}
	for _, v := range g.Inputs {
		p.axis[v] = 0
	}
	for _, n := range g.Nodes {
		if err := p.node(n); err != nil {
			return err
		}
	}
	for _, o := range g.Outputs {
		axis, ok := p.axis[o.Value]
		if !ok || axis != 0 || p.counts[o.Value] {
			return fmt.Errorf("output %q does not carry the batch in its first dimension", o.Name)
		}
	}
	return nil
}

// batchSymbol gives the symbol with which every input begins.
func batchSymbol(g *ir.Graph) (shape.Dim, error) {
	var batch shape.Dim
	for i, v := range g.Inputs {
		s := v.Type.Shape
		if len(s) == 0 {
			return batch, fmt.Errorf("input %q has no first dimension", v.Name)
		}
		if _, fixed := s[0].Int(); fixed {
			return batch, fmt.Errorf("the first dimension of input %q is fixed at %v", v.Name, s[0])
		}
		if i > 0 && !s[0].Equal(batch) {
			return batch, fmt.Errorf("inputs %q and %q begin with different dimensions, %v and %v", g.Inputs[0].Name, v.Name, batch, s[0])
		}
		batch = s[0]
	}
	if len(g.Inputs) == 0 {
		return batch, fmt.Errorf("the model has no inputs")
	}
	return batch, nil
}

type rowProof struct {
	batch  shape.Dim
	axis   map[*ir.Value]int  // through which axis a value carries rows; absent: it carries none
	counts map[*ir.Value]bool // the value follows from the number of rows (shape arithmetic)
}

func (p *rowProof) node(n *ir.Node) error {
	o := op.Of(n)
	if o == nil {
		return fmt.Errorf("%s is unknown", n)
	}
	in := make([]int, len(n.In))
	carries, counts := false, false
	for i, v := range n.In {
		in[i] = op.NoRows
		if a, ok := p.axis[v]; ok && v != nil {
			in[i], carries = a, true
		}
		counts = counts || v != nil && p.counts[v]
	}
	if len(n.Subgraphs()) > 0 {
		return fmt.Errorf("%s has subgraphs", n)
	}
	switch {
	case n.Is("Shape") || n.Is("Size"):
		p.markCounts(n)
		return nil
	case !carries:
		if axis, ok := p.repeated(n); ok {
			p.axis[n.Out[0]] = axis
		} else if counts {
			p.markCounts(n)
		}
		return nil
	case counts && !p.shapesOnly(n):
		return fmt.Errorf("%s computes with the number of rows", n)
	case o.Random:
		return fmt.Errorf("%s is random", n)
	case o.Rows == nil:
		return fmt.Errorf("%s mixes rows", n)
	}
	out, ok := o.Rows(n, in)
	if !ok {
		return fmt.Errorf("%s mixes rows", n)
	}
	for i, v := range n.Out {
		if v == nil || i >= len(out) || out[i] == op.NoRows {
			continue
		}
		s := v.Type.Shape
		if out[i] >= len(s) || !s[out[i]].Equal(p.batch) {
			return fmt.Errorf("%s: dimension %d of its output %s is not the batch", n, out[i], v.Type)
		}
		p.axis[v] = out[i]
	}
	return nil
}

// repeated tells the axis along which n repeats something without rows once for
// each row: an initial state filled with zeros, or a class token.
func (p *rowProof) repeated(n *ir.Node) (axis int, ok bool) {
	if !n.Is("ConstantOfShape") && !(n.Is("Expand") && !p.counts[n.In[0]]) {
		return 0, false
	}
	for i, d := range n.Out[0].Type.Shape {
		switch {
		case d.Equal(p.batch) && !ok:
			axis, ok = i, true
		case d.Mentions(p.batch):
			return 0, false
		}
	}
	if n.Is("Expand") && ok { // what is repeated must not itself have that many rows
		from := len(n.Out[0].Type.Shape) - len(n.In[0].Type.Shape)
		ok = axis < from || n.In[0].Type.Shape[axis-from].Is(1)
	}
	return axis, ok
}

// markCounts notes that n's outputs may follow from the number of rows, unless
// their elements are known not to.
func (p *rowProof) markCounts(n *ir.Node) {
	for _, v := range n.Out {
		if v == nil {
			continue
		}
		mentions := v.Content == nil
		for _, d := range v.Content {
			mentions = mentions || d.Mentions(p.batch)
		}
		if mentions {
			p.counts[v] = true
		}
	}
}

// shapesOnly reports whether n reads values that follow from the number of
// rows only as a shape, which the check of its output's dimension covers.
func (p *rowProof) shapesOnly(n *ir.Node) bool {
	if p.counts[n.In[0]] {
		return false
	}
	return n.Is("Reshape") || n.Is("Expand") || n.Is("Resize") || n.Is("Slice") || n.Is("Tile")
}
