package op

import "github.com/salver-ml/salver/internal/ir"

// RowsBroadcast is the row rule of elementwise operators: inputs that carry
// rows agree on the axis, counted from the end.
func RowsBroadcast(n *ir.Node, in []int) ([]int, bool) {
	rank := 0
	for _, v := range n.In {
		if v != nil {
			if v.Type.Shape == nil {
				return nil, false
			}
			rank = max(rank, len(v.Type.Shape))
		}
	}
	out := NoRows
	for i, v := range n.In {
		if v == nil {
			continue
		}
		lead := rank - len(v.Type.Shape)
		if in[i] == NoRows {
			continue
		}
		axis := in[i] + lead
		if out != NoRows && axis != out {
			return nil, false
		}
		out = axis
	}
	// An input without rows must not stretch along the batch axis.
	for i, v := range n.In {
		if v == nil || in[i] != NoRows || out == NoRows {
			continue
		}
		if j := out - (rank - len(v.Type.Shape)); j >= 0 && !v.Type.Shape[j].Is(1) {
			return nil, false
		}
	}
	return repeat(out, len(n.Out)), true
}

// RowsFirst is the row rule of operators that treat each index of input 0's
// leading dimension alone (convolution, pooling); other inputs carry no rows.
func RowsFirst(n *ir.Node, in []int) ([]int, bool) {
	for i, a := range in {
		if i > 0 && a != NoRows {
			return nil, false
		}
	}
	if in[0] > 0 {
		return nil, false
	}
	return repeat(in[0], len(n.Out)), true
}

// RowsExceptAxis is the row rule of operators that work along one axis, named
// by an attribute, and treat all others elementwise.
func RowsExceptAxis(attr string) func(*ir.Node, []int) ([]int, bool) {
	return func(n *ir.Node, in []int) ([]int, bool) {
		if in[0] == NoRows {
			return repeat(NoRows, len(n.Out)), true
		}
		if n.In[0].Type.Shape == nil {
			return nil, false
		}
		axis, err := Axis(n.Int(attr), len(n.In[0].Type.Shape))
		if err != nil || axis == in[0] {
			return nil, false
		}
		return repeat(in[0], len(n.Out)), true
	}
}

func repeat(v, n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = v
	}
	return out
}
