// Package control registers the operators that run subgraphs: If, Loop, Scan
// and SequenceMap. Bodies use values of the graphs around them directly; a Call
// runs them through Subgraph.
package control

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// typeOnly is a fact without contents.
func typeOnly(f op.Fact) op.Fact { return op.Fact{Type: f.Type, Present: true} }

// either is what is known of a value that is a or b.
func either(a, b op.Fact) (op.Fact, error) {
	out := typeOnly(a)
	switch {
	case a.DType == dtype.Invalid:
		return typeOnly(b), nil
	case b.DType == dtype.Invalid:
	case a.DType == dtype.Optional && a.Elem != nil && a.Elem.DType == b.DType: // b becomes an optional that has it
		return out, nil
	case a.DType != b.DType:
		return out, fmt.Errorf("expected %s, found %s", a.Type, b.Type)
	case a.Elem != nil && b.Elem != nil:
		elem, err := either(op.Fact{Type: *a.Elem}, op.Fact{Type: *b.Elem})
		if err != nil {
			return out, err
		}
		out.Elem = &elem.Type
	}
	out.Shape = eitherShape(a.Shape, b.Shape)
	return out, nil
}

func eitherShape(a, b shape.Shape) shape.Shape {
	if a == nil || b == nil || len(a) != len(b) {
		return nil
	}
	out := make(shape.Shape, len(a))
	for i := range out {
		switch {
		case a[i].Equal(b[i]) || a[i].IsUnknown():
			out[i] = a[i]
		default:
			out[i] = shape.Unknown()
		}
	}
	return out
}

// maxPasses bounds how often a loop's body is inferred before every dimension
// that it changes is taken to be unknown.
const maxPasses = 8

// fixpoint infers the state of a loop: the facts that hold before and after
// every iteration. body infers one iteration and gives all its outputs, of
// which the first len(state) after skip are the new state.
func fixpoint(state []op.Fact, skip int, body func([]op.Fact) ([]op.Fact, error)) (fixed, out []op.Fact, err error) {
	for pass := 0; ; pass++ {
		if out, err = body(state); err != nil {
			return nil, nil, err
		}
		if len(out) < skip+len(state) {
			return nil, nil, fmt.Errorf("the body has %d outputs, expected at least %d", len(out), skip+len(state))
		}
		same := true
		next := make([]op.Fact, len(state))
		for i, f := range state {
			if next[i], err = either(f, out[skip+i]); err != nil {
				return nil, nil, fmt.Errorf("state %d changes its type in the body: %w", i, err)
			}
			same = same && next[i].DType == f.DType && (next[i].Shape.Equal(f.Shape) || next[i].Shape == nil && f.Shape == nil)
			if pass >= maxPasses {
				next[i].Shape = nil
			}
		}
		if same {
			return next, out, nil
		}
		state = next
	}
}

// body gives a subgraph attribute.
func body(n *ir.Node, name string) (*ir.Graph, error) {
	g := n.Attr(name).Graph
	if g == nil {
		return nil, fmt.Errorf("attribute %q holds no graph", name)
	}
	return g, nil
}

// stack joins the values of a loop's iterations along a new axis.
func stack(items []*tensor.Tensor, axis int, empty ir.Type) (*tensor.Tensor, error) {
	if len(items) == 0 {
		return stackNothing(axis, empty)
	}
	first := items[0]
	axis, err := op.Axis(axis, first.Rank()+1)
	if err != nil {
		return nil, err
	}
	dims := append([]int{}, first.Shape[:axis]...)
	dims = append(dims, len(items))
	dims = append(dims, first.Shape[axis:]...)
	out := tensor.New(first.DType, dims...)
	inner := tensor.Count(first.Shape[axis:])
	for i, t := range items {
		if t.DType != first.DType || !shape.Of(t.Shape...).Equal(shape.Of(first.Shape...)) {
			return nil, fmt.Errorf("iteration %d gives %s, expected %s as the first", i, t, first)
		}
		for o := range tensor.Count(first.Shape[:axis]) {
			out.CopyElements((o*len(items)+i)*inner, t, o*inner, inner)
		}
	}
	return out, nil
}

// gathered is what the outputs of a loop's iterations take so far, in bytes: a
// state that grows and scan outputs of any number must not take the memory.
type gathered []int

// add counts an iteration's outputs: the state as it is now, and one item more of
// each scan output.
func (g *gathered) add(c *op.Call, state, items []*tensor.Tensor) error {
	if *g == nil {
		*g = make(gathered, len(items))
	}
	for i, t := range state {
		if err := c.Holds(i, bytesOf(t), t); err != nil {
			return err
		}
	}
	for k, t := range items {
		(*g)[k] += bytesOf(t)
		if err := c.Holds(len(state)+k, (*g)[k], t); err != nil {
			return err
		}
	}
	return nil
}

// bytesOf is what a tensor takes, with the tensors of a sequence and the text of strings.
func bytesOf(t *tensor.Tensor) int {
	if t == nil {
		return 0
	}
	n := t.DType.Bytes(t.Len())
	for _, item := range t.Items {
		n += bytesOf(item)
	}
	for _, s := range t.Strings {
		n += len(s)
	}
	return n
}

// stackNothing is the output of a loop that ran no iteration: unknown
// dimensions are 0.
func stackNothing(axis int, empty ir.Type) (*tensor.Tensor, error) {
	axis, err := op.Axis(axis, len(empty.Shape)+1)
	if err != nil {
		return nil, err
	}
	if empty.DType == dtype.Invalid {
		return nil, fmt.Errorf("the loop ran no iteration and the type of its output is not known")
	}
	var dims []int
	for i, d := range empty.Shape {
		if i == axis {
			dims = append(dims, 0)
		}
		n, _ := d.Int()
		dims = append(dims, n)
	}
	if axis == len(empty.Shape) {
		dims = append(dims, 0)
	}
	return tensor.New(empty.DType, dims...), nil
}
