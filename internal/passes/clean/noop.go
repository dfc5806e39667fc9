// Package clean removes what does not change any result.
package clean

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/tensor"
)

// Noop removes operators that give their input unchanged.
var Noop = pass.Pass{
	Name: "remove-noop", Level: 1, Portable: true,
	Doc: "Removes Identity, inference-time Dropout, Cast to the same type, Transpose that keeps the order, Reshape, Expand, Slice, Tile and Resize to the same shape, " +
		"Concat of one tensor, Split into one, Pad by nothing, Clip without bounds, pooling of single pixels, reductions over axes of size 1, " +
		"Where with equal or constant choices, and adding 0, multiplying by 1 and the like.",
	Rewrite: noop,
}

func noop(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if v := unchanged(n); v != nil {
		return &ir.Patch{Reason: fmt.Sprintf("%s gives %q", n, v.Name), Replace: []ir.Replacement{{Old: n.Out[0], New: v}}}, nil
	}
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

// unchanged gives the operand other than the first that a node passes on.
func unchanged(n *ir.Node) *ir.Value {
	if n.Domain != "" || len(n.Out) != 1 || n.Out[0] == nil {
		return nil
	}
	pick := func(v *ir.Value) *ir.Value {
		if v != nil && v.Type.Shape.Equal(n.Out[0].Type.Shape) {
			return v
		}
		return nil
	}
	switch n.Op {
	case "Add", "Mul", "Or", "And":
		k := n.In[0]
		if !k.IsConst() || n.In[1].IsConst() || k.Const.DType != n.In[1].Type.DType || k.Const.Len() == 0 {
			return nil
		}
		want := map[string]float64{"Add": 0, "Mul": 1, "Or": 0, "And": 1}[n.Op]
		vals := valuesOf(k.Const)
		if len(vals) == 0 || slices.ContainsFunc(vals, func(x float64) bool { return x != want }) {
			return nil
		}
		return pick(n.In[1])
	case "Where":
		if n.In[1] == n.In[2] {
			return pick(n.In[1])
		}
		if cond := n.In[0]; cond.IsConst() && cond.Const.Len() > 0 && !slices.ContainsFunc(cond.Const.Data, func(b byte) bool { return b != cond.Const.Data[0] }) {
			if cond.Const.Data[0] != 0 {
				return pick(n.In[1])
			}
			return pick(n.In[2])
		}
	}
	return nil
}

// keepers tell when an operator's output 0 equals its input 0.
var keepers = map[string]func(n *ir.Node) bool{
	"Identity":  always,
	"Dropout":   inference,
	"Cast":      func(n *ir.Node) bool { return n.In[0].Type.DType == n.DType("to") },
	"Transpose": keepsOrder,
	"Reshape":   sameShape,
	"Expand":    sameShape,
	"Flatten":   sameShape,
	"Squeeze":   sameShape,
	"Tile":      onlyOnes,
	"Slice":     func(n *ir.Node) bool { return sameShape(n) && positiveSteps(n) },
	"Resize":    keepsPixels,
	"Upsample":  keepsPixels,
	"Concat":    oneInput,
	"Sum":       oneInput,
	"Max":       oneInput,
	"Min":       oneInput,
	"Mean":      oneInput,
	"Split":     func(n *ir.Node) bool { return len(n.Out) == 1 && sameShape(n) },
	"Pad":       func(n *ir.Node) bool { return sameShape(n) && noPads(n) },
	"Clip":      func(n *ir.Node) bool { return !n.Has("min") && !n.Has("max") && n.Input(1) == nil && n.Input(2) == nil },
	"MaxPool":   singlePixels, "AveragePool": singlePixels,
	"ReduceMean": sizeOne, "ReduceMax": sizeOne, "ReduceMin": sizeOne, "ReduceSum": sizeOne, "ReduceProd": sizeOne,
	"DepthToSpace": sameShape, "SpaceToDepth": sameShape,
	"Add": neutral(0), "Sub": neutral(0), "Mul": neutral(1), "Div": neutral(1), "Pow": neutral(1), "And": neutral(1), "Or": neutral(0),
}

func always(*ir.Node) bool { return true }

func oneInput(n *ir.Node) bool { return len(n.In) == 1 }

// neutral tells when input 1 is filled with a number that changes nothing.
func neutral(number float64) func(*ir.Node) bool {
	return func(n *ir.Node) bool {
		k := n.Input(1)
		if !k.IsConst() || k.Const.Len() == 0 || k.Const.DType != n.In[0].Type.DType && n.Op != "Pow" || !sameShape(n) {
			return false
		}
		for _, x := range valuesOf(k.Const) {
			if x != number {
				return false
			}
		}
		return len(valuesOf(k.Const)) > 0
	}
}

// valuesOf reads the contents of the common types; nil for others.
func valuesOf(t *tensor.Tensor) []float64 {
	if t.Len() > maxNeutral {
		return nil
	}
	out := make([]float64, t.Len())
	ints, err := t.Ints()
	for i := range out {
		switch t.DType {
		case dtype.Float32:
			out[i] = float64(tensor.Of[float32](t)[i])
		case dtype.Float64:
			out[i] = tensor.Of[float64](t)[i]
		case dtype.Bool:
			out[i] = float64(t.Data[i])
		default:
			if err != nil {
				return nil
			}
			out[i] = float64(ints[i])
		}
	}
	return out
}

// maxNeutral bounds the constants that are looked through for other numbers.
const maxNeutral = 1 << 16

// onlyOnes tells when a Tile repeats nothing, also where sizes are unknown.
func onlyOnes(n *ir.Node) bool {
	k := n.Input(1)
	if !k.IsConst() || !sameShape(n) {
		return false
	}
	ints, err := k.Const.Ints()
	return err == nil && !slices.ContainsFunc(ints, func(v int) bool { return v != 1 })
}

// keepsPixels tells when a Resize has scales of one; cropping is another matter.
func keepsPixels(n *ir.Node) bool {
	if !sameShape(n) || n.Str("coordinate_transformation_mode") == "tf_crop_and_resize" {
		return false
	}
	scales := n.Floats("scales")
	for _, v := range n.In[1:] {
		if v == nil || v.IsConst() && v.Const.Len() == 0 || n.Opset >= 11 && n.Op == "Resize" && v == n.In[1] {
			continue
		}
		if !v.IsConst() {
			return false
		}
		if v.Const.DType == dtype.Float32 {
			scales = tensor.Of[float32](v.Const)
		}
	}
	return !slices.ContainsFunc(scales, func(s float32) bool { return s != 1 })
}

// singlePixels tells when a pooling's windows are single pixels.
func singlePixels(n *ir.Node) bool {
	differs := func(least int) func(int) bool { return func(v int) bool { return v != least } }
	return sameShape(n) && !slices.ContainsFunc(n.Ints("kernel_shape"), differs(1)) && !slices.ContainsFunc(n.Ints("strides"), differs(1)) &&
		!slices.ContainsFunc(n.Ints("pads"), differs(0))
}

// sizeOne tells when a reduction's axes have one element each.
func sizeOne(n *ir.Node) bool {
	axes := axesOf(n, 1)
	rank := len(n.In[0].Type.Shape)
	if !n.Bool("keepdims") || len(axes) == 0 || !sameShape(n) {
		return false
	}
	for _, a := range axes {
		if a += rank; !n.In[0].Type.Shape[a%rank].Is(1) {
			return false
		}
	}
	return true
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
