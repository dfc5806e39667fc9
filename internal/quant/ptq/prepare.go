package ptq

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes"
	"github.com/salver-ml/salver/internal/passes/fold"
	"github.com/salver-ml/salver/internal/passes/upgrade"
	"github.com/salver-ml/salver/internal/tensor"
)

// perChannelOpset is the opset from which DequantizeLinear has an axis.
const perChannelOpset = 13

// Prepare simplifies a graph in place by the passes whose results are standard
// ONNX, folds normalization into weights, moves it to opset 13 if its operators
// allow that, and gives each node a name of its own. It fails where the graph is
// quantized already.
func Prepare(ctx context.Context, g *ir.Graph, o Options) error {
	if n := quantized(g); n != nil {
		return fmt.Errorf("the model is quantized already: %s; quantize the model that it was made from", n)
	}
	shareConstants(g)
	// Weights that are stored in 16 bits are floats to what follows, however large.
	if _, err := pass.Run(g, []pass.Pass{fold.Halves}, pass.Options{Level: pass.MaxLevel, Pool: o.Pool, Context: ctx}); err != nil {
		return err
	}
	if _, err := pass.Run(g, passes.All, pass.Options{Level: pass.MaxLevel, Portable: true, Pool: o.Pool, Context: ctx}); err != nil {
		return err
	}
	if v := g.Opsets[""]; v < perChannelOpset {
		// What can't move stays, quantized with one scale for each tensor.
		_ = upgrade.Opset(g, perChannelOpset)
	}
	nameNodes(g)
	return nil
}

// shareConstants makes constants that are equal one, before passes compute different
// ones from them.
func shareConstants(g *ir.Graph) {
	known := map[constKey][]*ir.Value{}
	for _, n := range g.Nodes {
		for _, v := range slices.Clone(n.In) {
			if !v.IsConst() || v.Const.DType == dtype.String || v.Const.Len() < leastShared || v.IsOutput() {
				continue
			}
			key := constKey{v.Const.DType, maphash.Bytes(seed, v.Const.Data)}
			if same := equal(known[key], v.Const); same == nil {
				known[key] = append(known[key], v)
			} else if same != v {
				ir.ReplaceUses(v, same)
			}
		}
	}
}

// leastShared is the number of elements from which shareConstants looks at constants:
// less is nothing to a file.
const leastShared = 64

// equal gives the constant of a list that holds what t does; nil if none does.
func equal(list []*ir.Value, t *tensor.Tensor) *ir.Value {
	for _, v := range list {
		if slices.Equal(v.Const.Shape, t.Shape) && bytes.Equal(v.Const.Data, t.Data) {
			return v
		}
	}
	return nil
}

// integerOps are the operators that quantized models consist of.
var integerOps = []string{"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "MatMulInteger", "ConvInteger",
	"MatMulNBits", "QGemm", "QLinearAdd", "QAttention", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "DynamicQuantizeLSTM"}

// quantized gives a node of a quantized model, nil if there is none.
func quantized(g *ir.Graph) *ir.Node {
	for _, n := range g.Nodes {
		if slices.Contains(integerOps, n.Op) {
			return n
		}
		for _, sub := range n.Subgraphs() {
			if m := quantized(sub); m != nil {
				return m
			}
		}
	}
	return nil
}

// nameNodes gives each node of g a name that no other has.
func nameNodes(g *ir.Graph) {
	taken := map[string]bool{}
	for _, n := range g.Nodes {
		name := n.Name
		for i := 1; taken[name] || name == ""; i++ {
			name = fmt.Sprintf("%s_%d", n.Name, i)
			if n.Name == "" {
				name = fmt.Sprintf("%s_%d", n.Op, i)
			}
		}
		n.Name = name
		taken[name] = true
	}
}
