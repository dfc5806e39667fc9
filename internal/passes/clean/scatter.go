package clean

import (
	"fmt"
	"maps"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
	"github.com/salver-ml/salver/internal/tensor"
)

// ScatterRows replaces whole rows where an exporter replaces their elements one by one.
var ScatterRows = pass.Pass{
	Name: "scatter-rows", Level: 1, Portable: true,
	Doc:     "A ScatterElements along axis 0, whose indices an Expand repeats over whole rows, is a ScatterND with an index for each row.",
	Rewrite: scatterRows,
}

func scatterRows(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if !n.Is("ScatterElements") || n.Int("axis") != 0 {
		return nil, nil
	}
	e := match.Producer(n.In[1], "Expand")
	if e == nil {
		return nil, nil
	}
	data, indices, updates, each := n.In[0].Type.Shape, n.In[1].Type.Shape, n.In[2].Type.Shape, e.In[0].Type
	switch {
	case len(data) < 2 || len(indices) != len(data) || len(updates) != len(data) || each.DType != dtype.Int64:
		return nil, nil
	case len(each.Shape) != len(data) || !each.Shape[1:].Count().Is(1) || !each.Shape[0].Equal(updates[0]): // which are as many as the indices
		c.Near(n, "%q has shape %s, expected one index for each row of %s", e.In[0].Name, each.Shape, updates)
		return nil, nil
	case !updates[1:].Equal(data[1:]):
		c.Near(n, "the rows of %s are not known to be as long as those of %s", updates, data)
		return nil, nil
	}
	column, y := c.Value(e.In[0].Name), c.Value(n.Out[0].Name)
	to := ir.NewConst(c.Name(e.In[0].Name+"_shape"), tensor.FromSlice([]int64{-1, 1}, 2))
	attrs := maps.Clone(n.Attrs)
	delete(attrs, "axis")
	rows := ir.NewNode("", "Reshape", 14, []*ir.Value{e.In[0], to}, []*ir.Value{column}, nil)
	m := ir.NewNode("", "ScatterND", n.Opset, []*ir.Value{n.In[0], column, n.In[2]}, []*ir.Value{y}, attrs)
	m.Name = n.Name
	return &ir.Patch{Reason: fmt.Sprintf("%s replaces whole rows", n), Add: []*ir.Node{rows, m}, Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}, nil
}
