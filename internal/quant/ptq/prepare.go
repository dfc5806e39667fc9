package ptq

import (
	"context"
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes"
	"github.com/salver-ml/salver/internal/passes/upgrade"
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
