package control

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Name: "If", Versions: []int{1, 11, 13, 16, 19, 21, 23, 24, 25}, Doc: "runs one of two graphs",
		In: op.Ports("cond:bool"), Out: op.Ports("outputs:V..."),
		Attrs: op.Attrs{"then_branch": op.Required(ir.KindGraph), "else_branch": op.Required(ir.KindGraph)},
		Infer: ifInfer, Ref: ifRef,
	})
}

func ifInfer(c *op.Infer) error {
	branches := []string{"then_branch", "else_branch"}
	if t := c.In[0].Const; t != nil && t.Len() == 1 {
		branches = branches[:1]
		if !tensor.Of[bool](t)[0] {
			branches[0] = "else_branch"
		}
	}
	var known []op.Fact
	var failure error
	for _, name := range branches {
		g, err := body(c.Node, name)
		if err != nil {
			return err
		}
		out, err := c.Subgraph(g, nil)
		if err != nil { // a branch that does not fit these shapes may be the one that isn't taken
			failure = fmt.Errorf("%s: %w", name, err)
			continue
		}
		if len(out) != len(c.Out) {
			return fmt.Errorf("%s has %d outputs, expected %d", name, len(out), len(c.Out))
		}
		if known == nil {
			known = out
			continue
		}
		for i := range known {
			if known[i], err = either(known[i], out[i]); err != nil {
				return fmt.Errorf("output %d differs between the branches: %w", i, err)
			}
		}
	}
	if known == nil {
		return failure
	}
	for i, f := range known {
		if len(branches) > 1 {
			f = typeOnly(f)
		}
		c.Out[i] = f
	}
	return nil
}

func ifRef(c *op.Call) error {
	if c.In[0].Len() != 1 {
		return fmt.Errorf("cond: expected one element, found %s", c.In[0])
	}
	name := "else_branch"
	if tensor.Of[bool](c.In[0])[0] {
		name = "then_branch"
	}
	g, err := body(c.Node, name)
	if err != nil {
		return err
	}
	out, err := c.Subgraph(g, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for i, t := range out {
		c.Set(i, t)
	}
	return nil
}
