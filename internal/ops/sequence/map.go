package sequence

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Name: "SequenceMap", Versions: []int{17}, Doc: "runs a graph on every item of sequences",
		In: op.Ports("input_sequence:S", "additional_inputs:V...?"), Out: op.Ports("out_sequence:S..."), Types: op.Types{"S": sequences},
		Attrs: op.Attrs{"body": op.Required(ir.KindGraph)},
		Infer: mapInfer, Ref: mapRef,
	})
}

func mapBody(n *ir.Node) (*ir.Graph, error) {
	g := n.Attr("body").Graph
	if g == nil || len(g.Inputs) != len(n.In) || len(g.Outputs) < len(n.Out) {
		return nil, fmt.Errorf("body: expected a graph of %d inputs and %d outputs", len(n.In), len(n.Out))
	}
	return g, nil
}

func mapInfer(c *op.Infer) error {
	g, err := mapBody(c.Node)
	if err != nil {
		return err
	}
	in := make([]op.Fact, len(c.In))
	for i, f := range c.In {
		in[i] = op.Fact{Type: f.Type, Present: true}
		if f.DType == dtype.Sequence {
			in[i].Type = elem(f)
		}
	}
	out, err := c.Subgraph(g, in)
	if err != nil {
		return fmt.Errorf("body: %w", err)
	}
	for i := range c.Out {
		setSequence(c, i, out[i].Type)
	}
	return nil
}

func mapRef(c *op.Call) error {
	g, err := mapBody(c.Node)
	if err != nil {
		return err
	}
	out := make([]*tensor.Tensor, len(g.Outputs))
	for i := range out {
		out[i] = tensor.New(dtype.Sequence)
	}
	for k := range c.In[0].Items {
		in := make([]*tensor.Tensor, len(c.In))
		for i, t := range c.In {
			in[i] = t
			if t.DType != dtype.Sequence {
				continue
			}
			if len(t.Items) != len(c.In[0].Items) {
				return fmt.Errorf("input %d has %d items, expected %d as input 0", i, len(t.Items), len(c.In[0].Items))
			}
			in[i] = t.Items[k]
		}
		results, err := c.Subgraph(g, in)
		if err != nil {
			return fmt.Errorf("body, item %d: %w", k, err)
		}
		for i, t := range results {
			out[i].Items = append(out[i].Items, t)
		}
	}
	for i, t := range out {
		c.Set(i, t)
	}
	return nil
}
