package clean

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
)

// Expands removes Expands that an operator does by itself.
var Expands = pass.Pass{
	Name: "remove-expand", Level: 1, Portable: true,
	Doc:     "An elementwise operator that broadcasts takes the operand of an Expand whose shape the other operands have anyway.",
	Rewrite: expands,
}

var broadcasts = []string{"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Sum", "Mean", "Where", "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual",
	"And", "Or", "Xor", "Mod"}

func expands(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if n.Domain != "" || !slices.Contains(broadcasts, n.Op) || n.Output(0) == nil {
		return nil, nil
	}
	for i, v := range n.In {
		e := match.Producer(v, "Expand")
		if e == nil {
			continue
		}
		in := slices.Clone(n.In)
		in[i] = e.In[0]
		facts := make([]op.Fact, len(in))
		for j, x := range in {
			facts[j] = op.FactOf(x)
		}
		if s, err := op.BroadcastShapes(facts); err != nil || !s.Equal(n.Out[0].Type.Shape) {
			c.Near(n, "without %s its shape would be %s, not %s", e, s, n.Out[0].Type.Shape)
			continue
		}
		y := c.Value(n.Out[0].Name)
		m := ir.NewNode("", n.Op, n.Opset, in, []*ir.Value{y}, n.Attrs)
		m.Name = n.Name
		return &ir.Patch{Reason: fmt.Sprintf("%s broadcasts without %s", n, e), Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}, nil
	}
	return nil, nil
}
