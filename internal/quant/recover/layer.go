package recover

import (
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/passes/match"
	"github.com/salver-ml/salver/internal/tensor"
)

// layer is a Conv, MatMul or Gemm with constant weights of float32.
type layer struct {
	n       *ir.Node
	out, in int // axes of the weights; of a convolution the inputs of one group
	groups  int
}

// layers lists those of a graph in order.
func layers(g *ir.Graph) []*layer {
	var list []*layer
	for _, n := range g.Nodes {
		if l := asLayer(n); l != nil {
			list = append(list, l)
		}
	}
	return list
}

func asLayer(n *ir.Node) *layer {
	w := n.Input(1)
	if !w.IsConst() || w.Const.DType != dtype.Float32 || w.Const.Len() == 0 {
		return nil
	}
	rank := w.Const.Rank()
	switch {
	case n.Is("Conv") && rank > 2:
		return &layer{n, 0, 1, n.Int("group")}
	case n.Is("MatMul") && rank == 2:
		return &layer{n, 1, 0, 1}
	case n.Is("Gemm") && rank == 2 && n.Float("alpha") == 1 && n.Float("beta") == 1 && !n.Bool("transA"):
		if n.Bool("transB") {
			return &layer{n, 0, 1, 1}
		}
		return &layer{n, 1, 0, 1}
	}
	return nil
}

func (l *layer) weights() *tensor.Tensor { return l.n.In[1].Const }

// outputs is how many channels the layer makes.
func (l *layer) outputs() int { return l.weights().Shape[l.out] }

// inputs is how many channels the layer reads.
func (l *layer) inputs() int { return l.weights().Shape[l.in] * l.groups }

// columns is how many weights an output channel has.
func (l *layer) columns() int { return l.weights().Len() / l.outputs() }

// matrix gives the weights as [outputs, columns], in the order in which patches
// gives what they are multiplied with.
func (l *layer) matrix() []float32 {
	w := tensor.Of[float32](l.weights())
	if l.out == 0 {
		return slices.Clone(w)
	}
	return transposed(w, l.weights().Shape[0])
}

// setMatrix replaces the weights.
func (l *layer) setMatrix(m []float32) {
	if l.out != 0 {
		m = transposed(m, l.outputs())
	}
	setConst(l.n, 1, tensor.FromSlice(m, l.weights().Shape...))
}

// transposed turns a matrix of so many rows around.
func transposed(m []float32, rows int) []float32 {
	cols := len(m) / rows
	t := make([]float32, len(m))
	for i, v := range m {
		t[i%cols*rows+i/cols] = v
	}
	return t
}

// setConst replaces a constant that a node reads; other readers keep theirs.
func setConst(n *ir.Node, input int, t *tensor.Tensor) {
	n.SetInput(input, ir.NewConst(n.In[input].Name, t))
}

// inputOf is the index of the channel that the layer reads with weight i, seen flat.
func (l *layer) inputOf(i int) int {
	shape := l.weights().Shape
	c := i / tensor.Count(shape[l.in+1:]) % shape[l.in]
	if l.groups > 1 {
		o := i / tensor.Count(shape[1:]) // the axis of outputs is the first
		c += o / (shape[0] / l.groups) * shape[1]
	}
	return c
}

// inputRanges are the largest magnitudes of weights by the channel that they read.
func (l *layer) inputRanges() []float32 {
	r := make([]float32, l.inputs())
	for i, v := range tensor.Of[float32](l.weights()) {
		c := l.inputOf(i)
		r[c] = max(r[c], v, -v)
	}
	return r
}

// multiplyInputs multiplies weights by a factor for the channel that they read.
func (l *layer) multiplyInputs(by []float32) {
	w := slices.Clone(tensor.Of[float32](l.weights()))
	for i := range w {
		w[i] *= by[l.inputOf(i)]
	}
	setConst(l.n, 1, tensor.FromSlice(w, l.weights().Shape...))
}

// bias is where a constant with one number for each output is added: an input of the
// layer or of an Add that alone reads it. node is nil if there is none; an input
// that is nil is free.
func (l *layer) bias() (node *ir.Node, input int) {
	if !l.n.Is("MatMul") {
		b := l.n.Input(2)
		if b == nil {
			return l.n, 2
		}
		if b.IsConst() && b.Const.DType == dtype.Float32 && b.Const.Rank() == 1 && b.Const.Len() == l.outputs() {
			return l.n, 2
		}
		return nil, 0
	}
	y := l.n.Out[0]
	if !match.Private(y) || !y.Uses()[0].Node.Is("Add") {
		return nil, 0
	}
	add := y.Uses()[0].Node
	for i, v := range add.In {
		if v.IsConst() && v.Const.DType == dtype.Float32 && v.Const.Rank() == 1 && v.Const.Len() == l.outputs() {
			return add, i
		}
	}
	return nil, 0
}
