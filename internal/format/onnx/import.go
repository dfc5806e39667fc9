package onnx

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
)

// UnsupportedError lists every node of a model that cannot be run.
type UnsupportedError struct {
	Nodes   []string
	Refused int // how many of them are left out on purpose
}

// Error lists the nodes, one a line.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%d unsupported or malformed nodes:\n  %s", len(e.Nodes), strings.Join(e.Nodes, "\n  "))
}

// importer builds the graph of one model.
type importer struct {
	model     *modelProto
	functions map[string]*functionProto
	ext       *external
	bad       UnsupportedError
	seenBad   map[string]bool
	inlined   int  // nodes made from functions
	typed     bool // the graph has value_info
	// bytes of the sparse tensors made dense so far
	sparseBytes int
}

// maxInlined bounds the nodes made from functions: a few nested functions can
// otherwise stand for any number of nodes.
const maxInlined = 128 << 10

var errInlined = fmt.Errorf("the model's functions stand for more than %d nodes", maxInlined)

// scope resolves names to values; names of the scopes around it are visible.
type scope struct {
	parent *scope
	values map[string]*ir.Value
	// within a function body:
	prefix string              // of node and value names
	attrs  map[string]*ir.Attr // the caller's attributes, for ref_attr_name
	opsets map[string]int      // of the model or the function
	calls  []*functionProto    // the functions being inlined
	graph  *ir.Graph           // receives the nodes
	types  map[string]ir.Type  // declared by value_info
}

func (s *scope) find(name string) *ir.Value {
	for ; s != nil; s = s.parent {
		if v, ok := s.values[name]; ok {
			return v
		}
	}
	return nil
}

func (im *importer) run() (*ir.Graph, error) {
	im.functions = map[string]*functionProto{}
	im.seenBad = map[string]bool{}
	for _, f := range im.model.functions {
		im.functions[functionKey(f.domain, f.name, f.overload)] = f
	}
	g := &ir.Graph{Opsets: im.model.opsets, Meta: im.model.meta}
	root := &scope{values: map[string]*ir.Value{}, opsets: im.model.opsets, graph: g}
	if err := im.graph(im.model.graph, root, 0); err != nil {
		return nil, err
	}
	im.typed = len(root.types) > 0
	for _, n := range g.Nodes {
		if op.IsZipMap(n) && len(n.Out[0].Uses()) > 0 {
			im.reject(fmt.Errorf("%s: %s reads its maps; expected them to be the model's output", n, n.Out[0].Uses()[0].Node))
		}
	}
	if len(im.bad.Nodes) > 0 {
		return nil, &im.bad
	}
	if err := op.InferTypes(g); err != nil {
		return nil, err
	}
	return g, nil
}

func functionKey(domain, name, overload string) string {
	return domain + "\x00" + name + "\x00" + overload
}

// graph reads a GraphProto into s.graph.
func (im *importer) graph(b []byte, s *scope, depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("subgraphs are nested more than %d deep", maxNesting)
	}
	p, err := parseGraph(b)
	if err != nil {
		return err
	}
	s.graph.Name, s.graph.Doc = p.name, p.doc
	if err := im.declare(p, s); err != nil {
		return fmt.Errorf("graph %q: %w", p.name, err)
	}
	if err := im.body(p.nodes, s, depth); err != nil {
		return err
	}
	for _, o := range p.outputs {
		v := s.find(o.name)
		if v == nil {
			return fmt.Errorf("graph %q: output %q is produced by no node", p.name, o.name)
		}
		if slices.ContainsFunc(s.graph.Outputs, func(x ir.Output) bool { return x.Name == o.name }) {
			return fmt.Errorf("graph %q: output %q is listed twice", p.name, o.name)
		}
		if err := declareType(v, o); err != nil {
			return fmt.Errorf("graph %q: output %q: %w", p.name, o.name, err)
		}
		s.graph.AddOutput(o.name, v)
	}
	if err := s.graph.Sort(); err != nil {
		return fmt.Errorf("graph %q: %w", p.name, err)
	}
	return nil
}

// declare makes the values of inputs and initializers and notes declared types.
func (im *importer) declare(p *graphProto, s *scope) error {
	s.types = map[string]ir.Type{}
	for _, v := range p.valueInfo {
		t, err := parseType(v.typ, 0)
		if errors.Is(err, errMap) {
			continue // only ZipMap makes such a value, and here it is a tensor
		}
		if err != nil {
			return fmt.Errorf("value %q: %w", v.name, err)
		}
		s.types[v.name] = t
	}
	for _, t := range p.initializers {
		if s.values[t.name] != nil {
			return fmt.Errorf("initializer %q is defined twice", t.name)
		}
		data, err := t.decode(im.ext)
		if err != nil {
			return err
		}
		s.values[t.name] = ir.NewConst(t.name, data)
	}
	if err := im.declareSparse(p, s); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, in := range p.inputs {
		if seen[in.name] {
			return fmt.Errorf("input %q is listed twice", in.name)
		}
		seen[in.name] = true
		if s.values[in.name] != nil {
			continue // an initializer that is listed as an input, as IR versions below 4 do
		}
		t, err := parseType(in.typ, 0)
		if err != nil {
			return fmt.Errorf("input %q: %w", in.name, err)
		}
		if t.DType == dtype.Invalid && s.parent == nil {
			return fmt.Errorf("input %q has no element type", in.name)
		}
		v := ir.NewValue(in.name, t)
		s.values[in.name] = v
		s.graph.Inputs = append(s.graph.Inputs, v)
	}
	if s.parent == nil {
		nameDims(s.graph.Inputs)
	}
	return nil
}

func (im *importer) declareSparse(p *graphProto, s *scope) error {
	for _, b := range p.sparse {
		name, data, err := im.sparse(b)
		if err != nil {
			return err
		}
		if name == "" || s.values[name] != nil {
			return fmt.Errorf("sparse initializer %q has no name or is defined twice", name)
		}
		s.values[name] = ir.NewConst(name, data)
	}
	return nil
}

// declareType adds what an output's declaration says to a value without a type.
func declareType(v *ir.Value, o valueInfo) error {
	t, err := parseType(o.typ, 0)
	if errors.Is(err, errMap) && op.IsZipMap(v.Producer) {
		return nil // a tensor here
	}
	if err == nil && v.Const == nil && v.Type.DType == dtype.Invalid && v.Type.Shape == nil {
		v.Type = t
	}
	return err
}

// body makes the nodes: first all their output values, so that nodes may stand
// in any order, then the nodes themselves.
func (im *importer) body(nodes []*nodeProto, s *scope, depth int) error {
	outs := make([][]*ir.Value, len(nodes))
	for i, n := range nodes {
		outs[i] = make([]*ir.Value, len(n.outputs))
		for j, name := range n.outputs {
			if name == "" {
				continue
			}
			if s.values[name] != nil {
				return fmt.Errorf("node %s: output %q is already defined", nodeName(n, i), name)
			}
			v := ir.NewValue(s.prefix+name, s.types[name])
			s.values[name] = v
			outs[i][j] = v
		}
	}
	for i, n := range nodes {
		if err := im.node(n, i, outs[i], s, depth); err != nil {
			return err
		}
	}
	return nil
}

func nodeName(n *nodeProto, i int) string {
	if n.name != "" {
		return fmt.Sprintf("%s %q", n.op, n.name)
	}
	return fmt.Sprintf("%s #%d", n.op, i)
}

func (im *importer) node(p *nodeProto, index int, outs []*ir.Value, s *scope, depth int) error {
	if len(s.calls) > 0 {
		if im.inlined++; im.inlined > maxInlined {
			return errInlined
		}
	}
	in := make([]*ir.Value, len(p.inputs))
	for i, name := range p.inputs {
		if name == "" {
			continue
		}
		if in[i] = s.find(name); in[i] == nil {
			return fmt.Errorf("node %s: input %d (%q) is neither a graph input, an initializer, nor a node's output", nodeName(p, index), i, name)
		}
	}
	attrs, err := im.attributes(p.attrs, s, depth)
	if err != nil {
		return fmt.Errorf("node %s: %w", nodeName(p, index), err)
	}
	if f := im.functions[functionKey(p.domain, p.op, p.overload)]; f != nil && !op.Exists(p.domain, p.op) {
		if err := im.inline(f, p, index, in, outs, attrs, s, depth); err != nil {
			if errors.Is(err, errInlined) {
				return err // without the names of all callers
			}
			return fmt.Errorf("node %s: %w", nodeName(p, index), err)
		}
		return nil
	}
	version, ok := s.opsets[p.domain]
	if !ok {
		if p.domain == "" {
			return fmt.Errorf("the model imports no version of the domain ai.onnx")
		}
		version = 1
	}
	n := ir.NewNode(p.domain, p.op, version, trimAbsent(in), outs, attrs)
	n.Name = s.prefix + p.name
	if p.name == "" {
		n.Name = fmt.Sprintf("%s%s_%d", s.prefix, p.op, index)
	}
	if p.domain == op.Salver {
		im.reject(fmt.Errorf("%s: operators of the domain %q are made by passes, not read from files", n, op.Salver))
	} else if err := op.Complete(n); err != nil {
		im.reject(err)
	} else if n.Is("Constant") {
		return constant(n)
	}
	if !slices.ContainsFunc(outs, func(v *ir.Value) bool { return v != nil }) {
		return nil // it computes nothing that could be read
	}
	s.graph.Nodes = append(s.graph.Nodes, n)
	return nil
}

// constant makes the output of a Constant node a constant value.
func constant(n *ir.Node) error {
	call := &op.Call{Context: context.Background(), Node: n}
	if err := op.Of(n).Ref(call); err != nil {
		return fmt.Errorf("node %s: %w", n, err)
	}
	if v := n.Output(0); v != nil {
		v.MakeConst(call.Out[0])
	}
	return nil
}

// trimAbsent drops absent inputs at the end.
func trimAbsent(in []*ir.Value) []*ir.Value {
	for len(in) > 0 && in[len(in)-1] == nil {
		in = in[:len(in)-1]
	}
	return in
}

// reject notes a node that cannot be run, so that all of them are reported.
func (im *importer) reject(err error) {
	why := err.Error()
	if im.seenBad[why] {
		return
	}
	im.seenBad[why] = true
	im.bad.Nodes = append(im.bad.Nodes, why)
	var refused *op.RefusedError
	if errors.As(err, &refused) {
		im.bad.Refused++
	}
}

// inline replaces a call of a model-local function by the function's body.
func (im *importer) inline(f *functionProto, p *nodeProto, index int, in, outs []*ir.Value, attrs map[string]*ir.Attr, s *scope, depth int) error {
	if slices.Contains(s.calls, f) || len(s.calls) >= maxNesting {
		return fmt.Errorf("function %s calls itself", f.name)
	}
	if len(in) > len(f.inputs) || len(outs) > len(f.outputs) {
		return fmt.Errorf("function %s has %d inputs and %d outputs, found %d and %d", f.name, len(f.inputs), len(f.outputs), len(in), len(outs))
	}
	name := p.name
	if name == "" {
		name = fmt.Sprintf("%s_%d", p.op, index)
	}
	inner := &scope{
		values: map[string]*ir.Value{}, prefix: s.prefix + name + "/", opsets: f.opsets, graph: s.graph,
		calls: append(slices.Clone(s.calls), f), attrs: map[string]*ir.Attr{},
	}
	for _, a := range f.attrs {
		inner.attrs[a] = nil
	}
	for _, b := range f.defaults {
		name, a, _, err := im.attribute(b, inner, depth)
		if err != nil {
			return err
		}
		inner.attrs[name] = a
	}
	for name, a := range attrs {
		if _, ok := inner.attrs[name]; !ok {
			return fmt.Errorf("function %s has no attribute %q", f.name, name)
		}
		inner.attrs[name] = a
	}
	for i, formal := range f.inputs {
		if i < len(in) && in[i] != nil {
			inner.values[formal] = in[i]
		} else {
			inner.values[formal] = nil
		}
	}
	if err := im.functionBody(f, inner, depth); errors.Is(err, errInlined) {
		return err
	} else if err != nil {
		return fmt.Errorf("function %s: %w", f.name, err)
	}
	return bindOutputs(f, outs, inner, s)
}

// bindOutputs gives the caller's names to what the function's body produced.
func bindOutputs(f *functionProto, outs []*ir.Value, inner, s *scope) error {
	for i, v := range outs {
		if v == nil {
			continue
		}
		made := inner.values[f.outputs[i]]
		if made == nil {
			return fmt.Errorf("function %s does not produce its output %q", f.name, f.outputs[i])
		}
		// Nodes that were read earlier may use v already; it stands for an Identity.
		n := ir.NewNode("", "Identity", op.MaxOpset, []*ir.Value{made}, []*ir.Value{v}, nil)
		n.Name = inner.prefix + "output_" + f.outputs[i]
		s.graph.Nodes = append(s.graph.Nodes, n)
	}
	return nil
}

// functionBody is body for a function: an absent input of the call is an
// absent input of the nodes that read it.
func (im *importer) functionBody(f *functionProto, s *scope, depth int) error {
	nodes := make([]*nodeProto, len(f.nodes))
	for i, n := range f.nodes {
		c := *n
		c.inputs = slices.Clone(n.inputs)
		for j, name := range c.inputs {
			if v, ok := s.values[name]; ok && v == nil {
				c.inputs[j] = ""
			}
		}
		nodes[i] = &c
	}
	for name, v := range s.values {
		if v == nil {
			delete(s.values, name)
		}
	}
	return im.body(nodes, s, depth+1)
}
