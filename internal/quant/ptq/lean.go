package ptq

import (
	"maps"
	"reflect"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
)

// Lean takes attributes that say what holds without them off a graph that is
// going to be written: of a small quantized model they are a few percent.
func Lean(g *ir.Graph) {
	for _, n := range g.Nodes {
		o := op.Of(n)
		if o == nil {
			continue
		}
		n.Attrs = maps.Clone(n.Attrs)
		maps.DeleteFunc(n.Attrs, func(name string, a *ir.Attr) bool {
			d := o.Attrs[name].Default
			return d != nil && reflect.DeepEqual(d, a) || usual(n, name, a)
		})
		for _, sub := range n.Subgraphs() {
			Lean(sub)
		}
	}
}

// usual reports whether an attribute of a window has the value that it has when absent.
func usual(n *ir.Node, name string, a *ir.Attr) bool {
	switch n.Op {
	case "Conv", "QLinearConv", "ConvInteger", "MaxPool", "AveragePool":
	default:
		return false
	}
	want := int64(0)
	switch name {
	case "strides", "dilations":
		want = 1
	case "pads":
	default:
		return false
	}
	for _, v := range a.Ints {
		if v != want {
			return false
		}
	}
	return true
}
