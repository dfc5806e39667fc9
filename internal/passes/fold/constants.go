// Package fold computes at load time what does not depend on the inputs, and
// folds arithmetic on constants into the weights of its neighbours.
package fold

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// Constants replaces nodes whose inputs are all constants by their results.
var Constants = pass.Pass{
	Name: "fold-constants", Level: 1, Portable: true,
	Doc:     "Computes nodes whose inputs are constants, unless the result would be much larger than what it is computed from.",
	Rewrite: constants,
}

// maxGrowth bounds results: a folded node may not give more than this many
// bytes beyond those of its inputs. The driver bounds the growth of the whole
// graph, see pass.Context.Grow.
const maxGrowth = 1 << 20

func constants(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	o := op.Of(n)
	if o == nil || o.Random || len(n.Subgraphs()) > 0 || isDequantize(n) || op.IsZipMap(n) { // a constant has no labels
		return nil, nil
	}
	in := make([]*tensor.Tensor, len(n.In))
	size := 0
	for i, v := range n.In {
		if v == nil {
			continue
		}
		if v.Const == nil {
			return nil, nil
		}
		in[i] = v.Const
		size += len(v.Const.Data)
	}
	want := 0
	for _, v := range n.Out {
		if v != nil {
			b, ok := bytesOf(v.Type)
			if !ok {
				c.Near(n, "the size of output %q is unknown", v.Name)
				return nil, nil
			}
			want += b
		}
	}
	if want > size+maxGrowth {
		c.Near(n, "the result has %d bytes, its inputs only %d", want, size)
		return nil, nil
	}
	if !c.Grow(want - freed(n)) {
		c.Near(n, "the graph's constants would grow beyond their bound with %d bytes more", want)
		return nil, nil
	}
	out, err := op.Evaluate(n, in, c.Pool)
	if err != nil {
		c.Near(n, "%s", err) // reported where the node runs, if it ever does
		return nil, nil
	}
	p := &ir.Patch{Reason: fmt.Sprintf("compute %s", n)}
	for i, v := range n.Out {
		if v == nil {
			continue
		}
		if i >= len(out) || out[i] == nil || out[i].DType >= dtype.Sequence {
			return nil, nil
		}
		p.Replace = append(p.Replace, ir.Replacement{Old: v, New: ir.NewDerived(c.Name(v.Name), out[i], evaluation(n, i, c.Pool))})
	}
	if len(p.Replace) == 0 {
		return nil, nil
	}
	return p, nil
}

// Halves computes at load time what stores weights in 16 bits only.
var Halves = pass.Pass{
	Name: "fold-halves", Level: 2,
	Doc:     "Casts of float16 and bfloat16 constants to float32 are computed once, however large.",
	Rewrite: halves,
}

func halves(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if !n.Is("Cast") || !n.In[0].IsConst() || !match.Float32(n.Out[0]) {
		return nil, nil
	}
	if dt := n.In[0].Const.DType; dt != dtype.Float16 && dt != dtype.BFloat16 {
		return nil, nil
	}
	out, err := op.Evaluate(n, []*tensor.Tensor{n.In[0].Const}, c.Pool)
	if err != nil {
		return nil, err
	}
	v := ir.NewDerived(c.Name(n.Out[0].Name), out[0], evaluation(n, 0, c.Pool))
	return &ir.Patch{Reason: fmt.Sprintf("compute %s", n), Replace: []ir.Replacement{{Old: n.Out[0], New: v}}}, nil
}

// freed is the size of the constants that only n reads.
func freed(n *ir.Node) int {
	size := 0
	for _, v := range n.In {
		if v != nil && match.Private(v) {
			size += len(v.Const.Data)
		}
	}
	return size
}

// evaluation gives a function that computes output i of n once more.
func evaluation(n *ir.Node, i int, p *pool.Pool) func() (*tensor.Tensor, error) {
	sources := make([]func() (*tensor.Tensor, error), len(n.In))
	for j, v := range n.In {
		if v != nil {
			sources[j] = v.Source()
		}
	}
	n = n.Detached()
	return func() (*tensor.Tensor, error) {
		in := make([]*tensor.Tensor, len(sources))
		for j, source := range sources {
			if source == nil {
				continue
			}
			var err error
			if in[j], err = source(); err != nil {
				return nil, err
			}
		}
		out, err := op.Evaluate(n, in, p)
		if err != nil {
			return nil, err
		}
		return out[i], nil
	}
}

// isDequantize is true for what belongs to the integer operator that reads it, and
// would only grow.
func isDequantize(n *ir.Node) bool {
	return n.Op == "DequantizeLinear" && (n.Domain == "" || n.Domain == op.Microsoft)
}

// bytesOf is the size of a value, if it is known.
func bytesOf(t ir.Type) (int, bool) {
	n, ok := t.Shape.Count().Int()
	if t.Shape == nil || !ok || t.DType == dtype.Invalid || t.Elem != nil {
		return 0, false
	}
	if t.DType == dtype.String {
		return 16 * n, true
	}
	return t.DType.Bytes(n), true
}

// Shapes replaces integer values that follow from shapes alone by constants.
var Shapes = pass.Pass{
	Name: "fold-shapes", Level: 1, Portable: true,
	Doc:     "Replaces shape arithmetic (Shape, Gather, Concat, …) whose result is known from fixed dimensions by a constant.",
	Rewrite: shapes,
}

func shapes(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if len(n.Out) != 1 || n.Out[0] == nil || len(n.Out[0].Uses()) == 0 && !n.Out[0].IsOutput() {
		return nil, nil
	}
	v := n.Out[0]
	ints, known := shape.Shape(v.Content).Ints()
	dims, fixed := v.Type.Shape.Ints()
	if v.Content == nil || !known || !fixed || tensor.Count(dims) != len(ints) {
		return nil, nil
	}
	t := tensor.New(v.Type.DType, dims...)
	for i, x := range ints {
		switch v.Type.DType {
		case dtype.Int64:
			tensor.Of[int64](t)[i] = int64(x)
		case dtype.Int32:
			tensor.Of[int32](t)[i] = int32(x)
		default:
			return nil, nil
		}
	}
	return &ir.Patch{Reason: fmt.Sprintf("%s gives %v whatever the inputs", n, ints),
		Replace: []ir.Replacement{{Old: v, New: ir.NewConst(c.Name(v.Name), t)}}}, nil
}
