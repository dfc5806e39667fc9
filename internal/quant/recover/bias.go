package recover

import (
	"context"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/quant/samples"
	"github.com/salver-ml/salver/internal/tensor"
)

// Bias corrects the biases of a graph for what rounding its weights does to the mean
// of each output: with weights W that become Ŵ and inputs whose mean over the samples
// is E[x], b becomes b - (Ŵ - W)·E[x] (section 4.2 of arXiv 1906.04721, with the mean
// measured). W is read from exact, which has g's nodes before weights were rounded, and Ŵ
// from quantized, the graph as it is to be. Layers
// without a bias get one where the operator has it. It gives how many were corrected.
// told, if not nil, hears how many runs of how many are done.
func Bias(ctx context.Context, g, exact, quantized *ir.Graph, set samples.Set, p *pool.Pool, told func(done, all int)) (corrected int, err error) {
	rounded, weights := roundedWeights(quantized), map[string][]float32{}
	for _, l := range layers(exact) {
		weights[l.n.Name] = l.matrix()
	}
	var list []*layer
	for _, l := range layers(g) {
		if node, _ := l.bias(); node != nil && rounded[l.n.Name] != nil && len(weights[l.n.Name]) == l.weights().Len() && slices.Equal(rounded[l.n.Name].Shape, l.weights().Shape) {
			list = append(list, l)
		}
	}
	err = gather(ctx, g, list, set, 0, p, told, func(l *layer, s *seen) error {
		l.correct(weights[l.n.Name], rounded[l.n.Name], s)
		corrected++
		return nil
	})
	return corrected, err
}

// correct changes the layer's bias for weights that are rounded.
func (l *layer) correct(w []float32, rounded *tensor.Tensor, s *seen) {
	after := *l.n
	after.In = slices.Clone(l.n.In)
	after.In[1] = ir.NewConst("", rounded)
	r := (&layer{&after, l.out, l.in, l.groups}).matrix()
	node, input := l.bias()
	b := make([]float32, l.outputs())
	if v := node.Input(input); v != nil {
		copy(b, tensor.Of[float32](v.Const))
	}
	cols, each := l.columns(), l.outputs()/l.groups
	for o := range b {
		shift := 0.
		for k, m := range s.mean[o/each] {
			shift += (float64(r[o*cols+k]) - float64(w[o*cols+k])) * m
		}
		b[o] -= float32(shift)
	}
	v := ir.NewConst(l.n.Name+"_bias", tensor.FromSlice(b, len(b)))
	if input == len(node.In) {
		node.AddInput(v)
	} else {
		if old := node.In[input]; old != nil {
			v.Name = old.Name
		}
		node.SetInput(input, v)
	}
}

// roundedWeights gives the weights of the quantized nodes of a graph, by the nodes'
// names, as the floats that they stand for.
func roundedWeights(g *ir.Graph) map[string]*tensor.Tensor {
	m := map[string]*tensor.Tensor{}
	for _, n := range g.Nodes {
		if len(n.In) < 2 || n.In[1] == nil || !n.In[1].Producer.Is("DequantizeLinear") {
			continue
		}
		if t := dequantize(n.In[1].Producer); t != nil {
			m[n.Name] = t
		}
	}
	return m
}

// dequantize computes a DequantizeLinear of constants; nil of others.
func dequantize(n *ir.Node) *tensor.Tensor {
	in := make([]*tensor.Tensor, len(n.In))
	for i, v := range n.In {
		switch {
		case v == nil:
		case v.IsConst():
			in[i] = v.Const
		default:
			return nil
		}
	}
	out, err := op.Evaluate(n, in, nil)
	if err != nil || out[0].DType != dtype.Float32 {
		return nil
	}
	return out[0]
}
