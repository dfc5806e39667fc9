package quant

import (
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/passes/match"
)

// Moves reports whether n gives elements of its input 0, and zeros, in another
// order, or the largest of them: what it does to bytes of any format that has
// zero too. Its other inputs are indices, sizes and the like.
func Moves(n *ir.Node) bool {
	if n == nil || n.Domain != "" || !movers[n.Op] || !match.Float32(n.In[0]) {
		return false
	}
	switch n.Op {
	case "MaxPool":
		return n.Opset >= 12 && (n.Output(1) == nil || len(n.Out[1].Uses()) == 0 && !n.Out[1].IsOutput())
	case "Resize":
		return n.Str("mode") == "nearest" && n.Str("coordinate_transformation_mode") != "tf_crop_and_resize"
	case "Pad":
		fill := float32(0)
		if v := n.Input(2); v != nil {
			s, ok := match.Scalar(v)
			if fill = s; !ok {
				return false
			}
		}
		return n.Opset >= 11 && (n.Str("mode") != "constant" || fill == 0)
	}
	return true
}

// FunctionOf gives the input of which n computes a function, element by element,
// so that a table of all bytes can stand for n.
func FunctionOf(n *ir.Node) (x *ir.Value, ok bool) { return functionOf(n) }
