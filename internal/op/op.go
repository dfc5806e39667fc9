// Package op is the registry of operators. One file per operator under
// internal/ops registers its schema by opset version, type and shape
// inference, a reference implementation, fast kernels, and its test cases;
// tests, the conformance of providers, documentation and benchmarks are all
// made from that registration.
//
//	func init() {
//		op.Register(&op.Op{
//			Name: "Softmax", Versions: []int{13},
//			In: op.Ports("input:T"), Out: op.Ports("output:T"),
//			Types: op.Types{"T": op.Floats},
//			Attrs: op.Attrs{"axis": op.Default(ir.Int(-1))},
//			Infer: op.SameAsInput, Ref: softmaxRef, Compile: compileSoftmax, Rows: op.RowsExceptAxis("axis"),
//			Cases: softmaxCases{},
//		})
//	}
package op

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
)

// Domains of operators beside ONNX's own, which is "".
const (
	ML        = "ai.onnx.ml"    // ONNX's operators of classical machine learning
	Microsoft = "com.microsoft" // onnxruntime's contributed operators
	Salver    = "salver"        // fused operators that our passes make
)

// Op describes an operator in one or more versions of its schema.
type Op struct {
	Domain   string
	Name     string
	Versions []int // opset versions at which the schema changed that this registration serves
	Doc      string

	In, Out []Port
	Types   Types
	Attrs   Attrs

	// Infer gives the outputs' types from the inputs' (required). It reports
	// contradictions as errors and leaves unknown what it cannot know.
	Infer func(*Infer) error
	// Ref computes the outputs simply and rightly (required): it is the
	// specification of the fast kernels.
	Ref func(*Call) error
	// Compile makes a fast kernel for known input types, or nil if Ref is to run.
	Compile func(*Prep) (Kernel, error)

	// SizesOutputs says that kernels know what the shapes of the outputs depend on
	// that inference leaves open, so that they run where data decides.
	SizesOutputs bool

	// Flops counts floating-point operations of one run (a multiply-add is two).
	Flops func(in, out []Fact) float64
	// InPlace lists inputs whose buffer output 0 may take over if nothing reads
	// them afterwards and the sizes agree.
	InPlace []int
	// View says that output 0 has exactly input 0's bytes.
	View bool
	// Parts says that each output is a range of input 0's bytes, and Joins that
	// each input is a range of output 0's, for shapes that are known: they give
	// the elements at which the ranges begin.
	Parts, Joins func(n *ir.Node, in, out []Fact) (begin []int, ok bool)
	// Random says that two runs differ, so that nothing may be folded or merged.
	Random bool
	// Rows says through which axis each output carries the batch, given the
	// axis of each input (NoRows if it carries none): each row of an output
	// must depend on that row of the inputs alone. A nil Rows mixes rows.
	Rows func(n *ir.Node, in []int) (out []int, ok bool)

	// Row gives the function that computes a row of output 0 in float32 from rows of
	// the inputs, for an operator of single elements; nil where n has none. It has the
	// bits of the kernel that Compile makes.
	Row func(n *ir.Node) elemwise.RowFunc

	// Cases make the operator's test cases; nil where there are none.
	Cases Cases
}

// NoRows marks a value that is the same for every request of a batch.
const NoRows = -1

// Port is a formal input or output.
type Port struct {
	Name     string
	Type     string // key of Types, or the name of an element type
	Optional bool
	Variadic bool
}

// Types lists the element types that each type parameter may take.
type Types map[string][]dtype.Type

// Attrs is the schema of the attributes.
type Attrs map[string]AttrSpec

// AttrSpec is one attribute's schema.
type AttrSpec struct {
	Kind     ir.Kind
	Required bool
	Default  *ir.Attr
}

// Required is an attribute that must be given.
//
//go:noinline
func Required(k ir.Kind) AttrSpec { return AttrSpec{Kind: k, Required: true} }

// Opt is an attribute that may be absent and has no default.
//
//go:noinline
func Opt(k ir.Kind) AttrSpec { return AttrSpec{Kind: k} }

// Default is an attribute with a default value.
//
//go:noinline
func Default(a *ir.Attr) AttrSpec { return AttrSpec{Kind: a.Kind, Default: a} }

// Ports parses formal parameters: "name:T" is required, "name:T?" optional and
// "name:T..." variadic (last only). T is a key of Types or an element type.
func Ports(specs ...string) []Port {
	ports := make([]Port, len(specs))
	for i, s := range specs {
		name, typ, ok := strings.Cut(s, ":")
		if !ok {
			panic("op: port " + s + " has no type")
		}
		p := Port{Name: name}
		p.Type, p.Optional = strings.CutSuffix(typ, "?")
		p.Type, p.Variadic = strings.CutSuffix(p.Type, "...")
		ports[i] = p
	}
	return ports
}

type key struct{ domain, name string }

var registry = map[key][]*Op{}

// Register adds a copy of an operator; a version registered twice is a programming error.
func Register(o *Op) {
	if o.Infer == nil || o.Ref == nil || len(o.Versions) == 0 {
		panic("op: " + o.Name + " lacks Infer, Ref or Versions")
	}
	k := key{o.Domain, o.Name}
	for _, other := range registry[k] {
		for _, v := range o.Versions {
			if slices.Contains(other.Versions, v) {
				panic(fmt.Sprintf("op: %s version %d is registered twice", o.Name, v))
			}
		}
	}
	added := *o
	registry[k] = append(registry[k], &added)
}

// MaxOpset is the newest opset of ai.onnx that is understood.
const MaxOpset = 27

// Find gives the registration that serves an operator at an opset version, or
// nil: the newest schema that is not newer than the opset.
func Find(domain, name string, opset int) *Op {
	var best *Op
	bestV := 0
	for _, o := range registry[key{domain, name}] {
		for _, v := range o.Versions {
			if v <= opset && v > bestV {
				best, bestV = o, v
			}
		}
	}
	return best
}

// Of gives the registration of a node's operator, or nil.
func Of(n *ir.Node) *Op { return Find(n.Domain, n.Op, n.Opset) }

// Exists reports whether any version of the operator is registered.
func Exists(domain, name string) bool { return len(registry[key{domain, name}]) > 0 }

// All lists every registration by domain, name and first version.
func All() []*Op {
	var all []*Op
	for _, os := range registry {
		all = append(all, os...)
	}
	sort.Slice(all, func(i, j int) bool {
		a, b := all[i], all[j]
		if a.Domain != b.Domain {
			return a.Domain < b.Domain
		}
		if a.Name != b.Name {
			return a.Name < b.Name
		}
		return a.Versions[0] < b.Versions[0]
	})
	return all
}
