package ir

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/tensor"
)

// Kind is the type of an attribute.
type Kind uint8

// The kinds of attributes.
const (
	KindNone Kind = iota
	KindInt
	KindFloat
	KindString
	KindTensor
	KindGraph
	KindInts
	KindFloats
	KindStrings
	KindTensors
	KindGraphs
	KindType
)

var kindNames = [...]string{"none", "int", "float", "string", "tensor", "graph", "ints", "floats", "strings", "tensors", "graphs", "type"}

// String names the kind, e.g. "ints".
func (k Kind) String() string { return kindNames[k] }

// Attr is an attribute's value; Kind says which field holds it. Nodes share them: to change
// an attribute is to put another one in its place.
type Attr struct {
	Kind    Kind
	Int     int64
	Float   float32
	Str     string
	Tensor  *tensor.Tensor
	Graph   *Graph
	Ints    []int64
	Floats  []float32
	Strs    []string
	Tensors []*tensor.Tensor
	Graphs  []*Graph
	Type    *Type
}

// Int makes an integer attribute.
//
//go:noinline
func Int[T int | int64](v T) *Attr { return &Attr{Kind: KindInt, Int: int64(v)} }

// Float makes a float attribute.
//
//go:noinline
func Float(v float32) *Attr { return &Attr{Kind: KindFloat, Float: v} }

// Str makes a string attribute.
//
//go:noinline
func Str(v string) *Attr { return &Attr{Kind: KindString, Str: v} }

// Ints makes an attribute of integers.
//
//go:noinline
func Ints[T int | int64](v ...T) *Attr {
	a := &Attr{Kind: KindInts, Ints: make([]int64, len(v))}
	for i, x := range v {
		a.Ints[i] = int64(x)
	}
	return a
}

// Floats makes an attribute of floats.
func Floats(v ...float32) *Attr { return &Attr{Kind: KindFloats, Floats: v} }

// Strs makes an attribute of strings.
func Strs(v ...string) *Attr { return &Attr{Kind: KindStrings, Strs: v} }

// TensorAttr makes a tensor attribute.
func TensorAttr(t *tensor.Tensor) *Attr { return &Attr{Kind: KindTensor, Tensor: t} }

// GraphAttr makes a subgraph attribute.
func GraphAttr(g *Graph) *Attr { return &Attr{Kind: KindGraph, Graph: g} }

// Has reports whether n has the attribute. Attributes with a default in the
// operator's schema are always there once the node is completed.
func (n *Node) Has(name string) bool { _, ok := n.Attrs[name]; return ok }

// Attr gives an attribute, or one that holds nothing.
func (n *Node) Attr(name string) *Attr {
	if a := n.Attrs[name]; a != nil {
		return a
	}
	return &noAttr
}

var noAttr Attr

// Int gives an integer attribute, or 0.
//
//go:noinline
func (n *Node) Int(name string) int { return int(n.Attr(name).Int) }

// Bool gives an integer attribute as a flag.
//
//go:noinline
func (n *Node) Bool(name string) bool { return n.Attr(name).Int != 0 }

// Float gives a float attribute, or 0.
//
//go:noinline
func (n *Node) Float(name string) float32 { return n.Attr(name).Float }

// Str gives a string attribute, or "".
//
//go:noinline
func (n *Node) Str(name string) string { return n.Attr(name).Str }

// Ints gives an attribute of integers, or nil.
//
//go:noinline
func (n *Node) Ints(name string) []int {
	a := n.Attrs[name]
	if a == nil {
		return nil
	}
	out := make([]int, len(a.Ints))
	for i, v := range a.Ints {
		out[i] = int(v)
	}
	return out
}

// Floats gives an attribute of floats, or nil.
func (n *Node) Floats(name string) []float32 { return n.Attr(name).Floats }

// Strs gives an attribute of strings, or nil.
func (n *Node) Strs(name string) []string { return n.Attr(name).Strs }

// DType reads an integer attribute that names an element type.
func (n *Node) DType(name string) dtype.Type {
	v := n.Attr(name).Int
	if v < 0 || v > 200 {
		return dtype.Invalid
	}
	return dtype.Type(v)
}
