// Package upgrade moves graphs to a newer opset of ai.onnx.
package upgrade

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/tensor"
)

// Opset moves g to opset `to` of ai.onnx. An operator moves as it is if both
// opsets read it alike: the newer schema has the same inputs, results and
// attributes, or more that are optional. Attributes that became inputs become
// constants. Any other change is an error that names the node, and leaves g as
// it was.
func Opset(g *ir.Graph, to int) error {
	from := g.Opsets[""]
	switch {
	case to == from:
		return nil
	case to < from:
		return fmt.Errorf("opset %d: the model has %d, and only newer opsets can be asked for", to, from)
	case to > op.MaxOpset:
		return fmt.Errorf("opset %d: the newest that is known is %d", to, op.MaxOpset)
	}
	if err := check(g, to); err != nil {
		return err
	}
	if err := move(g, to); err != nil {
		return err
	}
	g.Opsets[""] = to
	return nil
}

// becameInputs lists the attributes that became inputs, and from which opset on.
var becameInputs = map[string]struct {
	since int
	attrs []string // of inputs 1, 2, …
}{
	"Squeeze": {13, []string{"axes"}}, "Unsqueeze": {13, []string{"axes"}}, "ReduceSum": {13, []string{"axes"}}, "Split": {13, []string{"split"}},
	"ReduceMean": {18, []string{"axes"}}, "ReduceMax": {18, []string{"axes"}}, "ReduceMin": {18, []string{"axes"}}, "ReduceProd": {18, []string{"axes"}},
	"ReduceL1": {18, []string{"axes"}}, "ReduceL2": {18, []string{"axes"}}, "ReduceLogSum": {18, []string{"axes"}},
	"ReduceLogSumExp": {18, []string{"axes"}}, "ReduceSumSquare": {18, []string{"axes"}},
	"Pad": {11, []string{"pads", "value"}}, "Clip": {11, []string{"min", "max"}}, "Slice": {10, []string{"starts", "ends", "axes"}},
	"TopK": {10, []string{"k"}}, "Dropout": {12, []string{"ratio"}},
}

// crosses reports whether the attributes of n become inputs on the way.
func crosses(n *ir.Node, to int) bool {
	c, ok := becameInputs[n.Op]
	return ok && n.Opset < c.since && to >= c.since
}

// changed lists operators whose meaning changes at an opset though the schema
// hardly shows it, or that end there.
var changed = map[string]int{
	"Softmax": 13, "LogSoftmax": 13, "Hardmax": 13, // along one axis, not all from it on
	"GroupNormalization": 21,                // scales for channels, not for groups
	"Upsample":           10, "Scatter": 11, // give way to Resize and ScatterElements
}

func check(g *ir.Graph, to int) error {
	for _, n := range g.Nodes {
		for _, sub := range n.Subgraphs() {
			if err := check(sub, to); err != nil {
				return err
			}
		}
		if n.Domain != "" {
			continue
		}
		if err := checkNode(n, to); err != nil {
			return fmt.Errorf("opset %d: %s is read otherwise there than at opset %d: %w", to, n, n.Opset, err)
		}
	}
	return nil
}

func checkNode(n *ir.Node, to int) error {
	if at, ok := changed[n.Op]; ok && n.Opset < at && to >= at && !alongLast(n) {
		return fmt.Errorf("it changes at opset %d", at)
	}
	now, then := op.Of(n), op.Find("", n.Op, to)
	if then == nil || now == nil {
		return fmt.Errorf("it is not known there")
	}
	if now == then {
		return nil
	}
	moved := map[string]bool{}
	given := len(n.In)
	if crosses(n, to) {
		for _, name := range becameInputs[n.Op].attrs {
			moved[name] = true
		}
		given += len(moved)
	}
	for i := range n.In {
		if i >= len(then.In) || then.In[i].Name != now.In[min(i, len(now.In)-1)].Name {
			return fmt.Errorf("its input %d is another", i)
		}
	}
	for i, p := range then.In {
		if i >= given && !p.Optional && !p.Variadic {
			return fmt.Errorf("it needs an input %q", p.Name)
		}
	}
	if len(n.Out) > 1 && len(now.Out) != len(then.Out) {
		return fmt.Errorf("its results differ")
	}
	for name, a := range n.Attrs {
		if spec, ok := then.Attrs[name]; !moved[name] && (!ok || spec.Kind != a.Kind) {
			return fmt.Errorf("it has no attribute %q", name)
		}
	}
	for name, spec := range then.Attrs {
		if spec.Required && !n.Has(name) {
			return fmt.Errorf("it needs an attribute %q", name)
		}
	}
	return nil
}

// alongLast reports whether a Softmax or the like works along the last axis, as
// which both readings of its axis agree.
func alongLast(n *ir.Node) bool {
	rank := len(n.In[0].Type.Shape)
	return changed[n.Op] == 13 && rank > 0 && (n.Int("axis")+rank)%rank == rank-1
}

func move(g *ir.Graph, to int) error {
	for _, n := range g.Nodes {
		for _, sub := range n.Subgraphs() {
			if err := move(sub, to); err != nil {
				return err
			}
		}
		if n.Domain != "" {
			continue
		}
		if crosses(n, to) {
			attributesToInputs(n)
		}
		const counted = 18 // from which a Split without sizes says how many parts there are
		if n.Op == "Split" && n.Opset < counted && to >= counted && (len(n.In) < 2 || n.In[1] == nil) {
			if n.Attrs == nil {
				n.Attrs = map[string]*ir.Attr{}
			}
			n.Attrs["num_outputs"] = ir.Int(len(n.Out))
		}
		n.Opset = to
		if err := op.Complete(n); err != nil {
			return fmt.Errorf("opset %d: %w", to, err)
		}
	}
	return nil
}

// attributesToInputs turns the attributes that became inputs into constants.
func attributesToInputs(n *ir.Node) {
	missing := 0 // inputs before this one that are absent
	for _, name := range becameInputs[n.Op].attrs {
		a, ok := n.Attrs[name]
		delete(n.Attrs, name)
		if !ok {
			missing++
			continue
		}
		for ; missing > 0; missing-- {
			n.AddInput(nil)
		}
		n.AddInput(ir.NewConst(fmt.Sprintf("%s_%s", n.Name, name), tensorOf(n, name, a)))
	}
}

// tensorOf is an attribute as a constant of the input's type.
func tensorOf(n *ir.Node, name string, a *ir.Attr) *tensor.Tensor {
	switch a.Kind {
	case ir.KindInts:
		return tensor.FromSlice(append([]int64(nil), a.Ints...), len(a.Ints))
	case ir.KindInt: // k
		return tensor.FromSlice([]int64{a.Int}, 1)
	}
	dt := n.In[0].Type.DType
	if name == "ratio" || dt == dtype.Invalid {
		dt = dtype.Float32
	}
	t := tensor.New(dt)
	num.SetFloats(t, []float64{float64(a.Float)})
	return t
}
