package clean

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/pass"
)

// Chains shortens chains of an operator with itself.
var Chains = pass.Pass{
	Name: "shorten-chains", Level: 1, Portable: true,
	Doc: "Cast after a Cast that loses nothing becomes one; Not of Not and Neg of Neg vanish; " +
		"a second Relu, Abs, Ceil, Floor, Round or Sign does too; Concat of a Concat along the same axis takes its operands.",
	Rewrite: chains,
}

func chains(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if n.Domain != "" || len(n.In) == 0 || n.In[0] == nil || len(n.Out) != 1 {
		return nil, nil
	}
	if n.Op == "Concat" {
		return concats(c, n), nil
	}
	before := n.In[0].Producer
	if !before.Is(n.Op) {
		return nil, nil
	}
	why := fmt.Sprintf("%s follows %s", n, before)
	switch n.Op {
	case "Not", "Neg":
		return &ir.Patch{Reason: why, Replace: []ir.Replacement{{Old: n.Out[0], New: before.In[0]}}}, nil
	case "Relu", "Abs", "Ceil", "Floor", "Round", "Sign":
		return &ir.Patch{Reason: why, Replace: []ir.Replacement{{Old: n.Out[0], New: n.In[0]}}}, nil
	case "Cast":
		return casts(c, n, before, why), nil
	}
	return nil, nil
}

// wider lists, for each type, those that hold all of its numbers.
var wider = map[dtype.Type][]dtype.Type{
	dtype.Bool:     {dtype.Uint8, dtype.Int8, dtype.Uint16, dtype.Int16, dtype.Uint32, dtype.Int32, dtype.Uint64, dtype.Int64, dtype.Float16, dtype.BFloat16, dtype.Float32, dtype.Float64},
	dtype.Uint8:    {dtype.Uint16, dtype.Int16, dtype.Uint32, dtype.Int32, dtype.Uint64, dtype.Int64, dtype.Float16, dtype.BFloat16, dtype.Float32, dtype.Float64},
	dtype.Int8:     {dtype.Int16, dtype.Int32, dtype.Int64, dtype.Float16, dtype.BFloat16, dtype.Float32, dtype.Float64},
	dtype.Uint16:   {dtype.Uint32, dtype.Int32, dtype.Uint64, dtype.Int64, dtype.Float32, dtype.Float64},
	dtype.Int16:    {dtype.Int32, dtype.Int64, dtype.Float32, dtype.Float64},
	dtype.Uint32:   {dtype.Uint64, dtype.Int64, dtype.Float64},
	dtype.Int32:    {dtype.Int64, dtype.Float64},
	dtype.Float16:  {dtype.Float32, dtype.Float64},
	dtype.BFloat16: {dtype.Float32, dtype.Float64},
	dtype.Float32:  {dtype.Float64},
}

func casts(c *pass.Context, n, before *ir.Node, why string) *ir.Patch {
	x := before.In[0]
	from, through, to := x.Type.DType, before.DType("to"), n.DType("to")
	_, numeric := wider[to]
	if !numeric && to != dtype.Float64 && to != dtype.Int64 && to != dtype.Uint64 {
		return nil // strings and tiny floats convert in their own ways
	}
	if !slices.Contains(wider[from], through) {
		c.Near(n, "%s may not hold all numbers of %s", through, from)
		return nil
	}
	if from == to {
		return &ir.Patch{Reason: why, Replace: []ir.Replacement{{Old: n.Out[0], New: x}}}
	}
	y := c.Value(n.Out[0].Name)
	m := ir.NewNode("", "Cast", n.Opset, []*ir.Value{x}, []*ir.Value{y}, n.Attrs)
	m.Name = n.Name
	return &ir.Patch{Reason: why, Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}
}

// concats takes in the operands of Concats along the same axis that only n reads.
func concats(c *pass.Context, n *ir.Node) *ir.Patch {
	rank := len(n.Out[0].Type.Shape)
	if rank == 0 {
		return nil
	}
	axis := func(m *ir.Node) int { return (m.Int("axis") + rank) % rank }
	var in []*ir.Value
	for _, v := range n.In {
		if p := v.Producer; p.Is("Concat") && axis(p) == axis(n) && len(v.Uses()) == 1 && !v.IsOutput() {
			in = append(in, p.In...)
		} else {
			in = append(in, v)
		}
	}
	if len(in) == len(n.In) {
		return nil
	}
	y := c.Value(n.Out[0].Name)
	m := ir.NewNode("", "Concat", n.Opset, in, []*ir.Value{y}, n.Attrs)
	m.Name = n.Name
	return &ir.Patch{Reason: fmt.Sprintf("%s takes the operands of the Concats before it", n), Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}
}
