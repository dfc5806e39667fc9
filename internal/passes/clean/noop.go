// Package clean removes what does not change any result.
package clean

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/pass"
)

// Noop removes operators that give their input unchanged.
var Noop = pass.Pass{
	Name: "remove-noop", Level: 1, Portable: true,
	Doc: "Removes Identity, inference-time Dropout, Cast to the same type, Transpose that keeps the order, Reshape, Expand and Slice to the same shape, " +
		"Concat of one tensor, and Pad by nothing.",
	Rewrite: noop,
}

func noop(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	keeps, ok := keepers[n.Op]
	if n.Domain != "" || !ok || len(n.In) == 0 || n.In[0] == nil || n.Output(0) == nil || !keeps(n) {
		return nil, nil
	}
	for _, v := range n.Out[1:] {
		if v != nil && (len(v.Uses()) > 0 || v.IsOutput()) {
			c.Near(n, "output %q is used too", v.Name)
			return nil, nil
		}
	}
	return &ir.Patch{Reason: fmt.Sprintf("%s changes nothing", n), Replace: []ir.Replacement{{Old: n.Out[0], New: n.In[0]}}}, nil
}

// keepers tell when an operator's output 0 equals its input 0.
var keepers = map[string]func(n *ir.Node) bool{
	"Identity":  func(*ir.Node) bool { return true },
	"Dropout":   inference,
	"Cast":      func(n *ir.Node) bool { return n.In[0].Type.DType == n.DType("to") },
	"Transpose": keepsOrder,
	"Reshape":   sameShape,
	"Expand":    sameShape,
	"Flatten":   sameShape,
	"Squeeze":   sameShape,
	"Slice":     func(n *ir.Node) bool { return sameShape(n) && positiveSteps(n) },
	"Concat":    func(n *ir.Node) bool { return len(n.In) == 1 },
	"Sum":       func(n *ir.Node) bool { return len(n.In) == 1 },
	"Max":       func(n *ir.Node) bool { return len(n.In) == 1 },
	"Min":       func(n *ir.Node) bool { return len(n.In) == 1 },
	"Mean":      func(n *ir.Node) bool { return len(n.In) == 1 },
	"Pad":       func(n *ir.Node) bool { return sameShape(n) && noPads(n) },
}

// inference reports whether a Dropout drops nothing: training mode is off.
func inference(n *ir.Node) bool {
	mode := n.Input(2)
	if mode == nil {
		return true
	}
	return mode.Const != nil && len(mode.Const.Data) == 1 && mode.Const.Data[0] == 0
}

func keepsOrder(n *ir.Node) bool {
	perm := n.Ints("perm")
	if perm == nil {
		return len(n.In[0].Type.Shape) == 1
	}
	for i, p := range perm {
		if i != p {
			return false
		}
	}
	return true
}

// sameShape compares shapes by their formulas, so that it holds for all sizes.
func sameShape(n *ir.Node) bool { return n.In[0].Type.Shape.Equal(n.Out[0].Type.Shape) }

func positiveSteps(n *ir.Node) bool {
	steps := n.Input(4)
	if steps == nil {
		return true
	}
	if steps.Const == nil {
		return false
	}
	vals, err := steps.Const.Ints()
	for _, s := range vals {
		if s < 1 {
			return false
		}
	}
	return err == nil
}

// noPads excludes a Pad whose negative pads crop as much as the others add.
func noPads(n *ir.Node) bool {
	pads := n.Ints("pads")
	if in := n.Input(1); in != nil {
		if in.Const == nil {
			return false
		}
		pads, _ = in.Const.Ints()
	}
	for _, p := range pads {
		if p != 0 {
			return false
		}
	}
	return true
}
