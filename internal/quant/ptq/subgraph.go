package ptq

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/passes/match"
	"github.com/salver-ml/salver/internal/quant/report"
)

// insideReason is what the report says of nodes whose weights quantizeInside stored.
const insideReason = "it is inside a branch or a loop: its weights are stored in 8 bits and computed with in floating point"

// quantizeInside stores the large weights of nodes in branches and loops in 8 bits.
// Activations there stay as they are: which branch runs, and how often, is not known.
// What they are dequantized by stands outside, where runtimes compute it once. It gives
// the number of nodes.
func (e *emitter) quantizeInside(g *ir.Graph, rep *report.Report) (done int, err error) {
	err = inside(g, func(n *ir.Node) error {
		l := report.Layer{Name: n.Name, Op: n.Op, Reason: insideReason}
		if why := e.excluded(n); why != "" {
			l.Precision, l.Reason = Float32.String(), why
			rep.Layers = append(rep.Layers, l)
			return nil
		}
		for _, i := range weightsInside(n) {
			w, err := e.store(n, i, channelsOf(n))
			if err != nil {
				return err
			}
			l.SQNR, l.Bits = w.sqnr, 8+float64(32*len(w.maps))/float64(w.data.Len())
		}
		l.Precision = Int8.String()
		rep.Layers = append(rep.Layers, l)
		done++
		return nil
	})
	return done, err
}

// inside visits the nodes in the branches and loops of a graph that have weights worth
// storing.
func inside(g *ir.Graph, visit func(*ir.Node) error) error {
	for _, n := range g.Nodes {
		for _, sub := range n.Subgraphs() {
			for _, m := range sub.Nodes {
				if len(weightsInside(m)) > 0 {
					if err := visit(m); err != nil {
						return err
					}
				}
			}
			if err := inside(sub, visit); err != nil {
				return err
			}
		}
	}
	return nil
}

// weightsInside lists the inputs of a node that are large constant weights.
func weightsInside(n *ir.Node) (list []int) {
	switch n.Op {
	case "Conv", "ConvTranspose", "LSTM", "GRU", "RNN":
		if n.Domain == "" {
			return stored(n)
		}
	case "MatMul", "Gemm":
		if v := n.In[1]; n.Domain == "" && v.IsConst() && match.Float32(v) && v.Const.Rank() == 2 && v.Const.Len() >= leastEmbedding {
			return []int{1}
		}
	}
	return nil
}

// channelsOf is the axis of stored weights along which a node's results run.
func channelsOf(n *ir.Node) int {
	if n.Op == "MatMul" || n.Op == "Gemm" {
		return channelAxis(n)
	}
	if n.Op == "Conv" {
		return 0
	}
	return 1
}

// store puts one input of a node, constant weights, in 8 bits.
func (e *emitter) store(n *ir.Node, input, axis int) (*weights, error) {
	v := n.In[input]
	w, err := quantizeWeights(v.Const, axis, e.perChannel(), nil, e.o)
	if err != nil {
		return nil, fmt.Errorf("%s: the weights %q: %w", n, v.Name, err)
	}
	n.SetInput(input, e.dequantized(v.Name, w.data, w.scales(), w.zeros(), axis))
	return w, nil
}

// excluded says why Options leave a node with weights as it is.
func (e *emitter) excluded(n *ir.Node) string {
	if !e.wanted(n, roleStored) {
		return notWanted
	}
	if p, why := e.o.precision(n); p == Float32 {
		return why
	}
	return ""
}
