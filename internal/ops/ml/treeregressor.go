package ml

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	for _, versions := range [][]int{{1}, {3, 5}} {
		attrs := treeAttrs("target", versions[0])
		attrs["n_targets"], attrs["aggregate_function"] = op.Required(ir.KindInt), op.Default(ir.Str("SUM"))
		op.Register(&op.Op{
			Domain: domain, Name: "TreeEnsembleRegressor", Versions: versions, Doc: "the sum, average, least or greatest of what decision trees say",
			In: op.Ports("X:T"), Out: op.Ports("Y:float32"), Types: op.Types{"T": features}, Attrs: attrs,
			Infer: inferTreeRegressor, Ref: ref(newTreeRegressor), Compile: compile(newTreeRegressor), Rows: rowsMatrix, Cases: treeRegressorCases{},
		})
	}
}

func inferTreeRegressor(c *op.Infer) error {
	rows, err := rowCount(c.In[0])
	if err != nil {
		return err
	}
	if n := c.Node.Int("n_targets"); n < 1 || n > maxTargets {
		return fmt.Errorf("n_targets is %d, expected 1 to %d", n, maxTargets)
	}
	c.Set(0, dtype.Float32, shape.Shape{rows, shape.Const(c.Node.Int("n_targets"))})
	return nil
}

func newTreeRegressor(n *ir.Node) (op.Kernel, error) {
	f, err := listForest(n, "target")
	if err != nil {
		return nil, err
	}
	base, err := floatList(n, "base_values")
	if err != nil {
		return nil, err
	}
	r, err := newRegressor(&ensemble{forest: f, targets: n.Int("n_targets"), base: base, how: n.Str("aggregate_function")}, n.Str("post_transform"))
	if err != nil {
		return nil, err
	}
	r.dt = dtype.Float32
	return r, nil
}

// stumps are the node attributes of two trees with one branch each.
func stumps() map[string]*ir.Attr {
	return map[string]*ir.Attr{
		"nodes_treeids": ir.Ints(0, 0, 0, 1, 1, 1), "nodes_nodeids": ir.Ints(0, 1, 2, 0, 1, 2), "nodes_featureids": ir.Ints(0, 0, 0, 1, 0, 0),
		"nodes_values": ir.Floats(.5, 0, 0, 2, 0, 0), "nodes_modes": ir.Strs("BRANCH_LEQ", "LEAF", "LEAF", "BRANCH_GT", "LEAF", "LEAF"),
		"nodes_truenodeids": ir.Ints(1, 0, 0, 1, 0, 0), "nodes_falsenodeids": ir.Ints(2, 0, 0, 2, 0, 0),
	}
}

type treeRegressorCases struct{}

func (treeRegressorCases) Cases() []op.Case {
	attrs := stumps()
	attrs["n_targets"], attrs["base_values"] = ir.Int(1), ir.Floats(100)
	attrs["target_treeids"], attrs["target_nodeids"] = ir.Ints(0, 0, 1, 1), ir.Ints(1, 2, 1, 2)
	attrs["target_ids"], attrs["target_weights"] = ir.Ints(0, 0, 0, 0), ir.Floats(1, 2, 10, 20)
	x := tensor.FromSlice([]float32{0, 0, 0, 3, 1, 0, 1, 3}, 4, 2)
	return []op.Case{{Name: "sum", In: []*tensor.Tensor{x}, Attrs: attrs, Out: []*tensor.Tensor{tensor.FromSlice([]float32{121, 111, 122, 112}, 4, 1)}}}
}
