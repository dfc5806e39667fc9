package ml

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	attrs := op.Attrs{"aggregate_function": op.Default(ir.Int(1)), "post_transform": op.Default(ir.Int(0)), "n_targets": op.Required(ir.KindInt),
		"nodes_hitrates": op.Opt(ir.KindTensor), "nodes_missing_value_tracks_true": op.Opt(ir.KindInts), "membership_values": op.Opt(ir.KindTensor)}
	for _, name := range []string{"nodes_modes", "nodes_splits", "leaf_weights"} {
		attrs[name] = op.Required(ir.KindTensor)
	}
	for _, name := range []string{"tree_roots", "leaf_targetids", "nodes_falsenodeids", "nodes_falseleafs", "nodes_truenodeids", "nodes_trueleafs", "nodes_featureids"} {
		attrs[name] = op.Required(ir.KindInts)
	}
	op.Register(&op.Op{
		Domain: domain, Name: "TreeEnsemble", Versions: []int{5}, Doc: "decision trees; a branch may test membership of a set",
		In: op.Ports("X:T"), Out: op.Ports("Y:T"), Types: op.Types{"T": {dtype.Float32, dtype.Float64, dtype.Float16}}, Attrs: attrs,
		Infer: inferTreeEnsemble, Ref: ref(newTreeEnsemble), Compile: compile(newTreeEnsemble), Rows: rowsMatrix, Cases: treeEnsembleCases{},
	})
}

type treeEnsembleCases struct{}

func (treeEnsembleCases) Cases() []op.Case {
	splits, weights := tensor.FromSlice([]float32{3.14, 1.2, 4.2}), tensor.FromSlice([]float32{5.23, 12.12, -12.23, 7.21})
	return []op.Case{{
		Name: "one tree", In: []*tensor.Tensor{tensor.FromSlice([]float32{1.2, 3.4, -.12, 1.66, 4.14, 1.77}, 3, 2)},
		Out: []*tensor.Tensor{tensor.FromSlice([]float32{5.23, 0, 5.23, 0, 0, 12.12}, 3, 2)},
		Attrs: map[string]*ir.Attr{
			"n_targets": ir.Int(2), "tree_roots": ir.Ints(0), "nodes_modes": ir.TensorAttr(tensor.FromSlice([]uint8{0, 0, 0})),
			"nodes_splits": ir.TensorAttr(splits), "leaf_weights": ir.TensorAttr(weights),
			"leaf_targetids": ir.Ints(0, 1, 0, 1), "nodes_featureids": ir.Ints(0, 0, 0), "nodes_truenodeids": ir.Ints(1, 0, 1), "nodes_trueleafs": ir.Ints(0, 1, 1),
			"nodes_falsenodeids": ir.Ints(2, 2, 3), "nodes_falseleafs": ir.Ints(0, 1, 1),
		},
	}}
}

func inferTreeEnsemble(c *op.Infer) error {
	rows, err := rowCount(c.In[0])
	if err != nil {
		return err
	}
	if n := c.Node.Int("n_targets"); n < 1 || n > maxTargets {
		return fmt.Errorf("n_targets is %d, expected 1 to %d", n, maxTargets)
	}
	c.Set(0, c.In[0].DType, shape.Shape{rows, shape.Const(c.Node.Int("n_targets"))})
	return nil
}

// maxTargets bounds the targets and classes of an ensemble.
const maxTargets = 1 << 20

func newTreeEnsemble(n *ir.Node) (op.Kernel, error) {
	f, err := readForest(n)
	if err != nil {
		return nil, err
	}
	how, post := n.Int("aggregate_function"), n.Int("post_transform")
	if how < 0 || how >= len(aggregations) || post < 0 || post >= len(postTransforms) {
		return nil, fmt.Errorf("aggregate_function %d and post_transform %d, expected at most %d and %d", how, post, len(aggregations)-1, len(postTransforms)-1)
	}
	e := &ensemble{forest: f, targets: n.Int("n_targets"), how: aggregations[how]}
	return newRegressor(e, postTransforms[post])
}

// readForest reads TreeEnsemble's attributes, which list branches and leaves
// apart.
func readForest(n *ir.Node) (*forest, error) {
	splits, modes, weights := n.Attr("nodes_splits").Tensor, n.Attr("nodes_modes").Tensor, n.Attr("leaf_weights").Tensor
	features, ids := n.Ints("nodes_featureids"), n.Ints("leaf_targetids")
	if !splits.DType.IsFloat() || !weights.DType.IsFloat() || modes.DType != dtype.Uint8 || weights.Len() != len(ids) {
		return nil, fmt.Errorf("nodes_splits is %s, nodes_modes %s and leaf_weights %s, expected floats, uint8 and %d floats", splits, modes, weights, len(ids))
	}
	count := len(features)
	yes, yesLeaf, no, noLeaf := n.Ints("nodes_truenodeids"), n.Ints("nodes_trueleafs"), n.Ints("nodes_falsenodeids"), n.Ints("nodes_falseleafs")
	missing := n.Ints("nodes_missing_value_tracks_true")
	for _, l := range []int{splits.Len(), modes.Len(), len(yes), len(yesLeaf), len(no), len(noLeaf)} {
		if l != count {
			return nil, fmt.Errorf("an attribute of the nodes has %d elements, expected %d as nodes_featureids", l, count)
		}
	}
	if len(missing) > 0 && len(missing) != count {
		return nil, fmt.Errorf("nodes_missing_value_tracks_true has %d elements, expected %d", len(missing), count)
	}
	f := &forest{}
	for i, w := range num.Floats(weights) {
		f.leaves = append(f.leaves, []vote{{ids[i], w}})
	}
	for _, r := range n.Ints("tree_roots") {
		f.roots = append(f.roots, link{at: r})
	}
	sets := memberSets(n)
	for i, v := range num.Floats(splits) {
		b := branch{mode: mode(modes.Data[i]), feature: features[i], value: v, missing: len(missing) > 0 && missing[i] != 0,
			yes: link{yesLeaf[i] != 0, yes[i]}, no: link{noLeaf[i] != 0, no[i]}}
		if b.mode == member {
			if len(sets) == 0 {
				return nil, fmt.Errorf("node %d: membership_values has too few sets", i)
			}
			b.members, sets = sets[0], sets[1:]
		}
		f.nodes = append(f.nodes, b)
	}
	return f, nil
}

// memberSets splits membership_values at its NaNs.
func memberSets(n *ir.Node) [][]float64 {
	a, ok := n.Attrs["membership_values"]
	if !ok || !a.Tensor.DType.IsFloat() {
		return nil
	}
	var sets [][]float64
	var set []float64
	for _, v := range num.Floats(a.Tensor) {
		if math.IsNaN(v) {
			sets, set = append(sets, set), nil
		} else {
			set = append(set, v)
		}
	}
	if set != nil {
		sets = append(sets, set)
	}
	return sets
}
