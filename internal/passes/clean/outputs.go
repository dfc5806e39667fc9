package clean

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
)

// Outputs drops optional results that nothing reads.
var Outputs = pass.Pass{
	Name: "drop-unused-outputs", Level: 1, Portable: true,
	Doc:     "Optional results that nothing reads (indices of MaxPool, final states of LSTM) are no longer asked for.",
	Rewrite: outputs,
}

func outputs(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	o := op.Of(n)
	if o == nil || o.Random || len(n.Out) < 2 || len(n.Subgraphs()) > 0 || n.Bool("training_mode") {
		return nil, nil
	}
	live := func(v *ir.Value) bool { return v != nil && (len(v.Uses()) > 0 || v.IsOutput()) }
	drop, first := false, -1
	for i, v := range n.Out {
		if live(v) && first < 0 {
			first = i
		}
		if v != nil && !live(v) {
			if i >= len(o.Out) || !o.Out[i].Optional || o.Out[i].Variadic {
				return nil, nil
			}
			drop = true
		}
	}
	if !drop || first < 0 {
		return nil, nil
	}
	p := &ir.Patch{Reason: fmt.Sprintf("nothing reads some results of %s", n)}
	var out []*ir.Value
	for i, v := range n.Out {
		if !live(v) {
			out = append(out, nil)
			continue
		}
		y := c.Value(v.Name)
		out = append(out[:i:i], y)
		p.Replace = append(p.Replace, ir.Replacement{Old: v, New: y})
	}
	for len(out) > 0 && out[len(out)-1] == nil {
		out = out[:len(out)-1]
	}
	m := ir.NewNode(n.Domain, n.Op, n.Opset, n.In, out, n.Attrs)
	m.Name = n.Name
	p.Add = []*ir.Node{m}
	return p, nil
}
