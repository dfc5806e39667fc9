package onnx

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/format/whole"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// maxProtobuf is the largest message that protobuf readers accept.
const maxProtobuf = math.MaxInt32

// Write writes g as an ONNX model of m's IR version, with the names of inputs
// and outputs as they are.
func (m *Model) Write(w io.Writer) error {
	e := &writer{names: map[*ir.Value]string{}, taken: map[string]bool{}, opsets: m.Graph.Opsets}
	model, err := e.model(m)
	if err != nil {
		return err
	}
	if model.size > maxProtobuf {
		return fmt.Errorf("the model has %d bytes, one ONNX message holds at most %d; WriteFile puts the weights beside it", model.size, maxProtobuf)
	}
	b := bufio.NewWriterSize(w, 1<<20)
	if err := model.writeTo(b); err != nil {
		return err
	}
	return b.Flush()
}

// WriteFile writes the model to a file, which appears only when it is whole. A
// model that one message can't hold has its weights in path.data beside it.
func (m *Model) WriteFile(path string) error { return m.writeFile(path, maxProtobuf) }

func (m *Model) writeFile(path string, most int) error {
	if err := m.keepsData(path); err != nil {
		return err
	}
	e := &writer{names: map[*ir.Value]string{}, taken: map[string]bool{}, opsets: m.Graph.Opsets}
	model, err := e.model(m)
	if err != nil {
		return err
	}
	if model.size > most {
		e = &writer{names: map[*ir.Value]string{}, taken: map[string]bool{}, opsets: m.Graph.Opsets, beside: &weightsFile{name: filepath.Base(path) + ".data"}}
		if model, err = e.model(m); err != nil {
			return err
		}
		if model.size > most {
			return fmt.Errorf("the model has %d bytes without its weights, one ONNX file holds at most %d", model.size, most)
		}
		if err := m.keepsData(path + ".data"); err != nil {
			return err
		}
		if err := whole.Write(path+".data", e.beside.writeTo); err != nil {
			return err
		}
	}
	return whole.Write(path, model.writeTo)
}

// keepsData refuses to replace a file with external data that the model was read
// from: the file that names it would be of no use any more.
func (m *Model) keepsData(path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return nil // there is none, or writing says what is wrong
	}
	if slices.ContainsFunc(m.beside, func(data fs.FileInfo) bool { return os.SameFile(st, data) }) {
		return fmt.Errorf("%s holds weights of the model that was read: write to another file", path)
	}
	return nil
}

// writer turns a graph into protobuf messages.
type writer struct {
	names  map[*ir.Value]string
	taken  map[string]bool
	opsets map[string]int
	consts []*ir.Value  // all constants, in order of first use
	typed  bool         // write what types the nodes' results have
	beside *weightsFile // takes the large constants; nil keeps them in the message
}

func (e *writer) model(m *Model) (*message, error) {
	g := m.Graph
	e.nameModel(g)
	_, contributed := g.Opsets[op.Microsoft]
	e.typed = m.Typed || contributed
	graph, err := e.graph(g, true)
	if err != nil {
		return nil, err
	}
	out := &message{}
	out.varint(1, int64(m.IRVersion))
	out.str(2, "salver")
	out.message(7, graph)
	domains := make([]string, 0, len(g.Opsets))
	for d := range g.Opsets {
		domains = append(domains, d)
	}
	slices.Sort(domains)
	for _, d := range domains {
		o := &message{}
		o.str(1, d)
		o.varint(2, int64(g.Opsets[d]))
		out.message(8, o)
	}
	keys := make([]string, 0, len(g.Meta))
	for k := range g.Meta {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		p := &message{}
		p.str(1, k)
		p.str(2, g.Meta[k])
		out.message(14, p)
	}
	return out, nil
}

// nameModel gives every value a name that is unique in the whole file. The
// model's inputs and outputs keep theirs.
func (e *writer) nameModel(g *ir.Graph) {
	for _, v := range g.Inputs {
		e.reserve(v, v.Name)
	}
	for _, o := range g.Outputs {
		e.taken[o.Name] = true
	}
	for _, o := range g.Outputs {
		if v := o.Value; v.Producer != nil && e.names[v] == "" {
			e.names[v] = o.Name
		}
	}
	e.nameGraph(g)
}

func (e *writer) nameGraph(g *ir.Graph) {
	for _, n := range g.Nodes {
		for _, v := range n.In {
			e.nameValue(v)
		}
		for _, v := range n.Out {
			e.nameValue(v)
		}
		for _, sub := range n.Subgraphs() {
			for _, v := range sub.Inputs {
				e.reserve(v, v.Name)
			}
			e.nameGraph(sub)
		}
	}
	for _, o := range g.Outputs {
		e.nameValue(o.Value)
	}
}

func (e *writer) nameValue(v *ir.Value) {
	if v == nil || e.names[v] != "" {
		return
	}
	if v.Const != nil {
		e.consts = append(e.consts, v)
	}
	e.reserve(v, v.Name)
}

func (e *writer) reserve(v *ir.Value, name string) {
	e.names[v] = e.unique(name)
}

func (e *writer) unique(name string) string {
	unique := name
	for i := 1; e.taken[unique] || unique == ""; i++ {
		unique = fmt.Sprintf("%s_%d", name, i)
	}
	e.taken[unique] = true
	return unique
}

// graph writes a GraphProto. All constants go into the outermost graph.
func (e *writer) graph(g *ir.Graph, top bool) (*message, error) {
	out := &message{}
	for _, n := range g.Nodes {
		m, err := e.node(n)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n, err)
		}
		out.message(1, m)
	}
	outputs := make([]string, len(g.Outputs))
	for i, o := range g.Outputs {
		outputs[i] = o.Name
		if !top {
			// Names that stand for something else outside confuse onnxruntime, and it
			// refuses to return what stands outside under its own.
			if outputs[i] = e.names[o.Value]; !slices.Contains(g.Nodes, o.Value.Producer) || slices.Contains(outputs[:i], outputs[i]) {
				outputs[i] = e.unique(o.Name)
			}
		}
		if e.names[o.Value] != outputs[i] { // an input, a constant, or one value under two names
			id := &message{}
			id.bytes(1, []byte(e.names[o.Value]))
			id.bytes(2, []byte(outputs[i]))
			id.str(4, "Identity")
			out.message(1, id)
		}
	}
	name := g.Name
	if name == "" {
		name = "graph"
	}
	out.str(2, name)
	if top {
		for _, v := range e.consts {
			m, err := e.constant(v)
			if err != nil {
				return nil, err
			}
			out.message(5, m)
		}
	}
	for _, v := range g.Inputs {
		out.message(11, valueMessage(e.names[v], v.Type)) // a subgraph's may have got another name
	}
	for i, o := range g.Outputs {
		if op.IsZipMap(o.Value.Producer) {
			out.message(12, mapsMessage(outputs[i], o.Value.Producer))
			continue
		}
		out.message(12, valueMessage(outputs[i], o.Value.Type))
	}
	if top && e.typed {
		e.valueInfo(out, g)
	}
	return out, nil
}

// valueInfo writes the types of what the nodes compute. Readers that can't infer them, of
// operators of com.microsoft for instance, optimize less without. Where the file that was
// read states none, none are written: onnxruntime would fuse what it did not fuse before,
// by which a MiniLM became a tenth slower.
func (e *writer) valueInfo(out *message, g *ir.Graph) {
	outputs := map[string]bool{}
	for _, o := range g.Outputs {
		outputs[o.Name] = true
	}
	for _, n := range g.Nodes {
		for _, v := range n.Out {
			if v != nil && v.Type.DType != dtype.Invalid && v.Type.Shape != nil && !outputs[e.names[v]] {
				out.message(13, valueMessage(e.names[v], v.Type))
			}
		}
	}
}

func (e *writer) node(n *ir.Node) (*message, error) {
	if n.Domain == op.Salver {
		return nil, fmt.Errorf("the operator is salver's own and cannot be written to a portable file")
	}
	if v := e.opsets[n.Domain]; v != n.Opset && op.Find(n.Domain, n.Op, v) != op.Of(n) {
		return nil, fmt.Errorf("it is of opset %d, the model of %d, where the operator differs", n.Opset, v)
	}
	out := &message{}
	for _, v := range n.In {
		out.bytes(1, []byte(e.names[v]))
	}
	for _, v := range n.Out {
		out.bytes(2, []byte(e.names[v]))
	}
	out.str(3, n.Name)
	out.str(4, n.Op)
	keys := make([]string, 0, len(n.Attrs))
	for k := range n.Attrs {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		m, err := e.attribute(k, n.Attrs[k])
		if err != nil {
			return nil, fmt.Errorf("attribute %q: %w", k, err)
		}
		out.message(5, m)
	}
	out.str(7, n.Domain)
	return out, nil
}

func (e *writer) attribute(name string, a *ir.Attr) (*message, error) {
	out := &message{}
	out.str(1, name)
	for code, kind := range attrKinds {
		if kind == a.Kind && code != sparseTensor { // which is made dense
			out.varint(20, int64(code))
		}
	}
	switch a.Kind {
	case ir.KindFloat:
		out.float(2, a.Float)
	case ir.KindInt:
		out.varint(3, a.Int)
	case ir.KindString:
		out.bytes(4, []byte(a.Str))
	case ir.KindFloats:
		for _, v := range a.Floats {
			out.float(7, v)
		}
	case ir.KindInts:
		for _, v := range a.Ints {
			out.varint(8, v)
		}
	case ir.KindStrings:
		for _, v := range a.Strs {
			out.bytes(9, []byte(v))
		}
	case ir.KindTensor, ir.KindTensors:
		return out, e.tensors(out, a)
	case ir.KindGraph, ir.KindGraphs:
		return out, e.graphs(out, a)
	case ir.KindType:
		out.message(14, typeMessage(*a.Type))
	}
	return out, nil
}

func (e *writer) tensors(out *message, a *ir.Attr) error {
	if a.Kind == ir.KindTensor {
		m, err := tensorMessage("", a.Tensor)
		if err == nil {
			out.message(5, m)
		}
		return err
	}
	for _, t := range a.Tensors {
		m, err := tensorMessage("", t)
		if err != nil {
			return err
		}
		out.message(10, m)
	}
	return nil
}

func (e *writer) graphs(out *message, a *ir.Attr) error {
	if a.Kind == ir.KindGraph {
		m, err := e.graph(a.Graph, false)
		if err == nil {
			out.message(6, m)
		}
		return err
	}
	for _, g := range a.Graphs {
		m, err := e.graph(g, false)
		if err != nil {
			return err
		}
		out.message(11, m)
	}
	return nil
}

// constant writes a constant, large ones into the file beside the model.
func (e *writer) constant(v *ir.Value) (*message, error) {
	t := v.Const
	if e.beside == nil || t.DType == dtype.String || t.DType >= dtype.Sequence || len(t.Data) < leastBeside {
		return tensorMessage(e.names[v], t)
	}
	m := &message{}
	for _, d := range t.Shape {
		m.varint(1, int64(d))
	}
	m.varint(2, int64(t.DType))
	m.str(8, e.names[v])
	for _, kv := range [][2]string{{"location", e.beside.name}, {"offset", strconv.Itoa(e.beside.add(t.Data))}, {"length", strconv.Itoa(len(t.Data))}} {
		entry := &message{}
		entry.str(1, kv[0])
		entry.str(2, kv[1])
		m.message(13, entry)
	}
	m.varint(14, 1) // data_location: EXTERNAL
	return m, nil
}

// leastBeside is the size from which constants go into the file beside a model
// that is too large.
const leastBeside = 1024

// weightsFile is the file beside a model: constants, each on a page of its own
// if it is large, so that readers can map it.
type weightsFile struct {
	name   string
	pieces [][]byte
	size   int
}

func (f *weightsFile) add(data []byte) (offset int) {
	align := 64
	if len(data) >= page {
		align = page
	}
	if gap := -f.size & (align - 1); gap > 0 {
		f.pieces = append(f.pieces, make([]byte, gap))
		f.size += gap
	}
	offset = f.size
	f.pieces = append(f.pieces, data)
	f.size += len(data)
	return offset
}

const page = 4096

func (f *weightsFile) writeTo(w io.Writer) error {
	for _, p := range f.pieces {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return nil
}

func tensorMessage(name string, t *tensor.Tensor) (*message, error) {
	if t.DType >= dtype.Sequence {
		return nil, fmt.Errorf("constant %q: a %s cannot be stored", name, t.DType)
	}
	m := &message{}
	for _, d := range t.Shape {
		m.varint(1, int64(d))
	}
	m.varint(2, int64(t.DType))
	for _, s := range t.Strings {
		m.bytes(6, []byte(s))
	}
	m.str(8, name)
	if t.DType != dtype.String {
		m.bytes(9, t.Data)
	}
	return m, nil
}

func valueMessage(name string, t ir.Type) *message {
	m := &message{}
	m.str(1, name)
	if t.DType != dtype.Invalid {
		m.message(2, typeMessage(t))
	}
	return m
}

func typeMessage(t ir.Type) *message {
	m, inner := &message{}, &message{}
	if t.DType == dtype.Sequence || t.DType == dtype.Optional {
		if t.Elem != nil {
			inner.message(1, typeMessage(*t.Elem))
		}
		if t.DType == dtype.Sequence {
			m.message(4, inner)
		} else {
			m.message(9, inner)
		}
		return m
	}
	inner.varint(1, int64(t.DType))
	if t.Shape != nil {
		s := &message{}
		for _, d := range t.Shape {
			dim := &message{}
			if n, ok := d.Int(); ok {
				dim.varint(1, int64(n))
			} else if !d.IsUnknown() {
				dim.str(2, d.String())
			}
			s.message(1, dim)
		}
		inner.message(2, s)
	}
	m.message(1, inner)
	return m
}

// mapsMessage declares the result of a ZipMap, in files a sequence of maps.
func mapsMessage(name string, zip *ir.Node) *message {
	key := dtype.Int64
	if len(zip.Strs("classlabels_strings")) > 0 {
		key = dtype.String
	}
	m, typ, sequence, elem, classes := &message{}, &message{}, &message{}, &message{}, &message{}
	classes.varint(1, int64(key))
	classes.message(2, typeMessage(ir.Type{DType: dtype.Float32}))
	elem.message(5, classes)
	sequence.message(1, elem)
	typ.message(4, sequence)
	m.str(1, name)
	m.message(2, typ)
	return m
}
