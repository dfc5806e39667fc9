package tensorops

import (
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
)

// mixes is the answer of a moveRows function where rows do not stay apart.
const mixes = -2

// moveRows makes the row rule of operators whose input 0 alone may carry rows:
// to gives the axis of the output for that of the input, or mixes.
func moveRows(to func(n *ir.Node, axis int) int) func(*ir.Node, []int) ([]int, bool) {
	return func(n *ir.Node, in []int) ([]int, bool) {
		for _, a := range in[1:] {
			if a != op.NoRows {
				return nil, false
			}
		}
		out := op.NoRows
		if in[0] != op.NoRows {
			if n.In[0].Type.Shape == nil {
				return nil, false
			}
			if out = to(n, in[0]); out == mixes {
				return nil, false
			}
		}
		return every(n, out), true
	}
}

// every gives all outputs of n the same row axis.
func every(n *ir.Node, axis int) []int {
	out := make([]int, len(n.Out))
	for i := range out {
		out[i] = axis
	}
	return out
}

// rowsByProduct finds the axis of a reshaped output that runs over the same
// elements as axis of the input.
func rowsByProduct(n *ir.Node, axis int) int {
	in, out := n.In[0].Type.Shape, n.Out[0].Type.Shape
	before := in[:axis].Count()
	for i, d := range out {
		if d.Equal(in[axis]) && out[:i].Count().Equal(before) {
			return i
		}
	}
	return mixes
}

// sameAxis keeps the axis unless work says that the operator works along it.
func sameAxis(works func(n *ir.Node, axis int) bool) func(*ir.Node, []int) ([]int, bool) {
	return moveRows(func(n *ir.Node, axis int) int {
		if works(n, axis) {
			return mixes
		}
		return axis
	})
}

// changesSize reports whether an operator that keeps the number of dimensions
// changes the size of one, or may.
func changesSize(n *ir.Node, axis int) bool {
	in, out := n.In[0].Type.Shape, n.Out[0].Type.Shape
	return axis >= len(out) || !in[axis].Equal(out[axis])
}

// attrAxis reports whether the axis named by an attribute is the given one.
func attrAxis(name string) func(n *ir.Node, axis int) bool {
	return func(n *ir.Node, axis int) bool {
		a, err := op.Axis(n.Int(name), len(n.In[0].Type.Shape))
		return err != nil || a == axis
	}
}

// noRows is the rule of operators that may only run on what is the same for
// every request.
func noRows(n *ir.Node, in []int) ([]int, bool) {
	for _, a := range in {
		if a != op.NoRows {
			return nil, false
		}
	}
	return every(n, op.NoRows), true
}
