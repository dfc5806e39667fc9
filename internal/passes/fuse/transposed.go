package fuse

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
)

// TransposedWeights runs before constants are folded: weights are packed from
// either order, and a transposed copy of them would cost time and memory.
var TransposedWeights = pass.Pass{
	Name: "transposed-weights", Level: 1,
	Doc:     "MatMul by constant weights that a Transpose turns multiplies by the weights as they are stored.",
	Rewrite: transposedWeights,
}

func transposedWeights(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if !n.Is("MatMul") || !match.Float32(n.Out[0]) {
		return nil, nil
	}
	t := match.Producer(n.In[1], "Transpose")
	if t == nil || !t.In[0].IsConst() || t.In[0].Const.Rank() != 2 {
		return nil, nil
	}
	if perm := t.Ints("perm"); perm != nil && !slices.Equal(perm, []int{1, 0}) {
		return nil, nil
	}
	y := c.Value(n.Out[0].Name)
	m := ir.NewNode(op.Salver, "FusedMatMul", 1, []*ir.Value{n.In[0], t.In[0]}, []*ir.Value{y}, map[string]*ir.Attr{"transB": ir.Int(1)})
	m.Name = n.Name
	return &ir.Patch{Reason: fmt.Sprintf("%s reads the weights %q before %s", n, t.In[0].Name, t), Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}, nil
}
