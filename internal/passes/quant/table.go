package quant

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/passes/match"
	"github.com/salver-ml/salver/internal/tensor"
)

// functions are the operators that give each element of their output from one of
// an input alone, if all others are single constants.
var functions = map[string]bool{
	"Relu": true, "LeakyRelu": true, "Clip": true, "Sigmoid": true, "Tanh": true, "HardSigmoid": true, "HardSwish": true, "Mish": true, "Swish": true,
	"Gelu": true, "Elu": true, "Selu": true, "Celu": true, "Softplus": true, "Softsign": true, "Abs": true, "Neg": true, "Exp": true, "Sqrt": true,
	"Erf": true, "Floor": true, "Ceil": true, "Round": true, "Sign": true, "Reciprocal": true, "Log": true, "ThresholdedRelu": true,
	"Add": true, "Sub": true, "Mul": true, "Div": true, "Pow": true, "Min": true, "Max": true,
}

// table replaces functions of one dequantized tensor by a table of all 256
// results.
func (s *site) table() (*ir.Patch, error) {
	w := &chain{seen: map[*ir.Node]bool{}}
	if !w.walk(s.n.In[0]) || !w.private(s.n) {
		return nil, nil
	}
	if len(w.nodes) == 0 && w.f == s.y {
		return &ir.Patch{Reason: fmt.Sprintf("%s gives back what was dequantized", s.n), Replace: []ir.Replacement{{Old: s.n.Out[0], New: w.q}}}, nil
	}
	t, err := tabulate(w.nodes, w.f, s.y)
	if err != nil {
		return nil, err
	}
	s.f = s.n
	if len(w.nodes) > 0 {
		s.f = w.nodes[len(w.nodes)-1]
	}
	return s.patch("QTable", []*ir.Value{w.q, s.constant(s.n.Out[0].Name+"_table", t)}, nil), nil
}

// chain are the nodes that compute a function of one dequantized tensor, element
// by element, in their order: x · sigmoid(x) too.
type chain struct {
	nodes []*ir.Node
	seen  map[*ir.Node]bool
	q     *ir.Value
	f     format
}

// longest bounds chains.
const longest = 32

// walk collects what computes v and reports whether all of it begins with the
// same bytes.
func (w *chain) walk(v *ir.Value) bool {
	if q, f, ok := dequantized(v); ok {
		if w.q == nil {
			w.q, w.f = q, f
		}
		return w.q == q && w.f == f
	}
	n := v.Producer
	if n == nil || len(w.seen) >= longest {
		return false
	}
	if w.seen[n] {
		return true
	}
	w.seen[n] = true
	if x, ok := functionOf(n); ok {
		if !w.walk(x) {
			return false
		}
	} else if !pairs(n) || !w.walk(n.In[0]) || !w.walk(n.In[1]) {
		return false
	}
	w.nodes = append(w.nodes, n)
	return true
}

// pairs reports whether n computes each element from the same one of two tensors.
func pairs(n *ir.Node) bool {
	switch n.Op {
	case "Add", "Sub", "Mul", "Div":
	default:
		return false
	}
	return n.Domain == "" && match.Float32(n.Out[0]) && !n.In[0].IsConst() && !n.In[1].IsConst() && n.In[0].Type.Shape.Equal(n.In[1].Type.Shape)
}

// private reports whether nothing but the chain, and n, reads what it computes.
func (w *chain) private(n *ir.Node) bool {
	for _, m := range w.nodes {
		for _, u := range m.Out[0].Uses() {
			if u.Node != n && !w.seen[u.Node] {
				return false
			}
		}
		if m.Out[0].IsOutput() {
			return false
		}
	}
	return true
}

// functionOf gives the input of which n computes a function, element by element.
func functionOf(n *ir.Node) (x *ir.Value, ok bool) {
	if n == nil || n.Domain != "" || !functions[n.Op] || len(n.Out) != 1 {
		return nil, false
	}
	for _, v := range n.In {
		switch {
		case v == nil:
		case v.IsConst() && v.Const.Len() == 1:
		case x != nil || v.IsConst():
			return nil, false
		default:
			x = v
		}
	}
	return x, x != nil && match.Float32(x) && match.Float32(n.Out[0]) && len(x.Type.Shape) == len(n.Out[0].Type.Shape)
}

// tabulate computes a chain of functions for all numbers of a format.
func tabulate(chain []*ir.Node, from, to format) (*tensor.Tensor, error) {
	x := make([]float32, 256)
	for i := range x {
		q := i
		if from.dt == dtype.Int8 {
			q = int(int8(i))
		}
		x[i] = float32(q-from.zero) * from.scale
	}
	t := tensor.FromSlice(x, 256)
	known, first := map[*ir.Value]*tensor.Tensor{}, t
	for _, n := range chain {
		in := make([]*tensor.Tensor, len(n.In))
		for j, v := range n.In {
			switch {
			case v == nil:
			case v.IsConst():
				in[j] = v.Const.Reshape()
			case known[v] != nil:
				in[j] = known[v]
			default:
				in[j] = first
			}
		}
		out, err := op.Evaluate(n, in, nil)
		if err != nil {
			return nil, err
		}
		t = out[0]
		known[n.Out[0]] = t
	}
	y := tensor.New(to.dt, 256)
	for i, v := range tensor.Of[float32](t) {
		if v != v {
			v = float32(-1e30) // as QuantizeLinear does
		}
		y.Data[i] = byte(to.quantize(v))
	}
	return y, nil
}

// requantize is the table from one format to another.
func requantize(from, to format) *tensor.Tensor {
	t, _ := tabulate(nil, from, to) // nothing to evaluate
	return t
}
