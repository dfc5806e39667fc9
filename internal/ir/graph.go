// Package ir is the intermediate representation: a graph of nodes in single
// static assignment form. ONNX files are read into it, language models are
// built in it, passes rewrite it through patches, and the executor runs it.
//
// A Value is made once, by a node, as a graph input, or as a constant. Nodes
// point to their values and values to their producer and uses, so that a
// pattern is matched by following pointers. Subgraphs (bodies of If, Loop and
// Scan) are attributes; they use values of the graphs around them directly.
package ir

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// Type is what is known of a value before it is computed.
type Type struct {
	DType dtype.Type
	Shape shape.Shape
	Elem  *Type // element of a Sequence or an Optional
}

// String writes e.g. "float32[n,3]".
func (t Type) String() string {
	switch {
	case t.Elem != nil:
		return t.DType.String() + "(" + t.Elem.String() + ")"
	case t.DType == dtype.Invalid:
		return "?" + t.Shape.String()
	}
	return t.DType.String() + t.Shape.String()
}

// Use is one place where a node reads a value: Node.In[Index].
type Use struct {
	Node  *Node
	Index int
}

// Value is an edge of the graph.
type Value struct {
	Name     string
	Type     Type
	Const    *tensor.Tensor                 // the contents, if they are known for good
	Again    func() (*tensor.Tensor, error) // computes Const once more; nil for constants of the file
	Content  []shape.Dim                    // elements of a small integer vector or scalar, as far as shape arithmetic knows them; nil if not
	Producer *Node                          // nil for inputs and constants
	Index    int                            // Producer.Out[Index] == this
	uses     []Use
	outputs  []outputRef
}

// outputRef is one graph output: Graph.Outputs[Index].
type outputRef struct {
	Graph *Graph
	Index int
}

// Uses lists the nodes that read v, subgraphs included. Graph outputs are not uses.
func (v *Value) Uses() []Use { return v.uses }

// IsConst reports whether the contents are known.
func (v *Value) IsConst() bool { return v != nil && v.Const != nil }

// Node is one operator application.
type Node struct {
	Name   string
	Domain string // "" is ai.onnx
	Op     string
	Opset  int      // the opset version of Domain under which Op is read
	In     []*Value // nil where an optional input is absent; change with SetInput
	Out    []*Value // nil where an optional output is not wanted
	Attrs  map[string]*Attr

	removed bool // by a patch; dropped from the node list at the next Sort
}

// Removed reports whether a patch has removed n from its graph.
func (n *Node) Removed() bool { return n.removed }

// Graph is a list of nodes with inputs and outputs.
type Graph struct {
	Name    string
	Doc     string
	Inputs  []*Value
	Outputs []Output // change with AddOutput and SetOutput
	Nodes   []*Node  // in topological order
	Opsets  map[string]int
	Meta    map[string]string // metadata_props of the model
}

// Output names a value for the caller. Names stay when passes replace values.
type Output struct {
	Name  string
	Value *Value
}

// AddOutput appends a graph output.
func (g *Graph) AddOutput(name string, v *Value) {
	g.Outputs = append(g.Outputs, Output{name, v})
	if v != nil {
		v.outputs = append(v.outputs, outputRef{g, len(g.Outputs) - 1})
	}
}

// SetOutput makes output i give v.
func (g *Graph) SetOutput(i int, v *Value) {
	ref := outputRef{g, i}
	if old := g.Outputs[i].Value; old != nil {
		if j := slices.Index(old.outputs, ref); j >= 0 {
			old.outputs = slices.Delete(old.outputs, j, j+1)
		}
	}
	g.Outputs[i].Value = v
	if v != nil {
		v.outputs = append(v.outputs, ref)
	}
}

// NewValue makes a value that nothing produces yet.
func NewValue(name string, t Type) *Value { return &Value{Name: name, Type: t} }

// NewConst makes a constant value.
func NewConst(name string, t *tensor.Tensor) *Value {
	return &Value{Name: name, Const: t, Type: TypeOf(t), Content: contentOf(t)}
}

// MakeConst turns v, which its readers keep, into a constant.
func (v *Value) MakeConst(t *tensor.Tensor) {
	v.Const, v.Again, v.Type, v.Content, v.Producer, v.Index = t, nil, TypeOf(t), contentOf(t), nil, 0
}

// maxContent bounds the vectors whose elements shape arithmetic follows.
const maxContent = 64

// contentOf reads a small integer tensor as dimensions.
func contentOf(t *tensor.Tensor) []shape.Dim {
	if t.Rank() > 1 || t.Len() > maxContent {
		return nil
	}
	ints, err := t.Ints()
	if err != nil {
		return nil
	}
	c := make([]shape.Dim, len(ints))
	for i, v := range ints {
		c[i] = shape.Const(v)
	}
	return c
}

// TypeOf is the exact type of a tensor.
func TypeOf(t *tensor.Tensor) Type {
	ty := Type{DType: t.DType, Shape: shape.Of(t.Shape...)}
	if t.DType == dtype.Sequence || t.DType == dtype.Optional {
		ty.Shape = nil
		ty.Elem = &Type{}
		for i, item := range t.Items {
			e := TypeOf(item)
			if i > 0 && !e.Shape.Equal(ty.Elem.Shape) {
				e.Shape = nil // items of one sequence may differ
			}
			ty.Elem = &e
		}
	}
	return ty
}

// NewNode makes a node that reads in and gives out, and links them.
func NewNode(domain, op string, opset int, in, out []*Value, attrs map[string]*Attr) *Node {
	if attrs == nil {
		attrs = map[string]*Attr{}
	}
	n := &Node{Domain: domain, Op: op, Opset: opset, Out: out, Attrs: attrs}
	for i, v := range out {
		if v != nil {
			v.Producer, v.Index = n, i
			if n.Name == "" {
				n.Name = op + "_" + v.Name
			}
		}
	}
	for _, v := range in {
		n.AddInput(v)
	}
	return n
}

// AddInput appends an input; v may be nil for an absent one.
func (n *Node) AddInput(v *Value) {
	n.In = append(n.In, v)
	if v != nil {
		v.uses = append(v.uses, Use{n, len(n.In) - 1})
	}
}

// SetInput replaces input i, keeping the use lists right.
func (n *Node) SetInput(i int, v *Value) {
	if old := n.In[i]; old != nil {
		old.removeUse(Use{n, i})
	}
	n.In[i] = v
	if v != nil {
		v.uses = append(v.uses, Use{n, i})
	}
}

func (v *Value) removeUse(u Use) {
	if i := slices.Index(v.uses, u); i >= 0 {
		v.uses = slices.Delete(v.uses, i, i+1)
	}
}

// ReplaceUses makes every reader of old, in subgraphs too, read v instead, and
// v take old's place among graph outputs.
func ReplaceUses(old, v *Value) {
	for _, o := range slices.Clone(old.outputs) {
		o.Graph.SetOutput(o.Index, v)
	}
	for _, u := range slices.Clone(old.uses) {
		u.Node.SetInput(u.Index, v)
	}
}

// unlink removes n from its inputs' use lists, its subgraphs' nodes included.
func (n *Node) unlink() {
	for i, v := range n.In {
		if v != nil {
			v.removeUse(Use{n, i})
		}
	}
	for _, g := range n.Subgraphs() {
		for _, m := range g.Nodes {
			m.unlink()
		}
		for i := range g.Outputs {
			g.SetOutput(i, nil)
		}
	}
}

// Input gives input i, or nil if it is absent.
func (n *Node) Input(i int) *Value {
	if i < len(n.In) {
		return n.In[i]
	}
	return nil
}

// Output gives output i, or nil if it is not wanted.
func (n *Node) Output(i int) *Value {
	if i < len(n.Out) {
		return n.Out[i]
	}
	return nil
}

// Is reports whether n is the ONNX operator op.
func (n *Node) Is(op string) bool { return n != nil && n.Domain == "" && n.Op == op }

// FullName is the operator with its domain, e.g. "com.microsoft::Gelu".
func (n *Node) FullName() string {
	if n.Domain == "" {
		return n.Op
	}
	return n.Domain + "::" + n.Op
}

// String names the node for messages, e.g. `Conv "conv1"`.
func (n *Node) String() string { return fmt.Sprintf("%s %q", n.FullName(), n.Name) }

// Subgraphs lists the graphs among n's attributes, by attribute name.
func (n *Node) Subgraphs() []*Graph {
	var names []string
	for k, a := range n.Attrs {
		if a.Graph != nil {
			names = append(names, k)
		}
	}
	if len(names) == 0 {
		return nil // of nearly all nodes, which every pass asks
	}
	slices.Sort(names)
	gs := make([]*Graph, len(names))
	for i, k := range names {
		gs[i] = n.Attrs[k].Graph
	}
	return gs
}

// Captures lists the values of outer graphs that g and its subgraphs read,
// each once, in order of first use.
func (g *Graph) Captures() []*Value {
	own := map[*Value]bool{}
	var free []*Value
	seen := map[*Value]bool{}
	note := func(v *Value) {
		if v != nil && !own[v] && !seen[v] && v.Const == nil {
			seen[v] = true
			free = append(free, v)
		}
	}
	for _, v := range g.Inputs {
		own[v] = true
	}
	for _, n := range g.Nodes {
		for _, v := range n.In {
			note(v)
		}
		for _, sub := range n.Subgraphs() {
			for _, v := range sub.Captures() {
				note(v)
			}
		}
		for _, v := range n.Out {
			own[v] = true
		}
	}
	for _, o := range g.Outputs {
		note(o.Value)
	}
	return free
}

// IsOutput reports whether v is an output of a graph or subgraph.
func (v *Value) IsOutput() bool { return len(v.outputs) > 0 }

// IsLive reports whether anything reads one of n's outputs.
func (n *Node) IsLive() bool {
	for _, v := range n.Out {
		if v != nil && (len(v.uses) > 0 || len(v.outputs) > 0) {
			return true
		}
	}
	return false
}
