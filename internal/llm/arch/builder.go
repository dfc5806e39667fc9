package arch

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/paged"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// opset is that of the ONNX operators in the graphs.
const opset = 24

// Inputs are the names of a graph's inputs before the caches, in order.
var Inputs = []string{"tokens", "positions", "slots", "sequences", "tables", "rows", "generated", "generated_rows"}

// Options says how a graph is to be.
type Options struct {
	Cache dtype.Type // of keys and values: Float32 or Float16
	// Context is the longest sequence: longrope has other angles for long ones.
	Context int
	// Blocks is the number of blocks of each cache.
	Blocks int
}

// A Builder makes a graph node by node. The first defect is kept, and what
// follows it does nothing, so that an architecture reads like its paper.
type Builder struct {
	Config
	weights Weights
	options Options
	graph   *ir.Graph
	inputs  map[string]*ir.Value
	caches  [][2]*ir.Value       // by layer
	tables  map[string]*ir.Value // of angles
	count   map[string]int       // of nodes, by operator
	scope   string
	layers  int // nodes before the logits
	narrow  int // nodes before those that compute only what the logits need; 0: none do
	err     error

	// interleaved: rotary embeddings turn elements that are next to each other,
	// as GGUF files of Llama have them; else half a head apart.
	interleaved bool
	// normOffset is added to the weights of RMSNorm.
	normOffset float32
	// encodes: the graph gives vectors and keeps no keys and values. causal is 1 if
	// tokens do not see later ones.
	encodes bool
	causal  int
}

// Graph makes the graph of one step of a model:
//
//	tokens    int32[tokens]        ids, those of all sequences one after the other
//	positions int32[tokens]        each one's place in its sequence
//	slots, sequences, tables       see the operator PagedAttention
//	rows      int32[rows]          the tokens whose logits are wanted
//	generated int32[1]             how many of the tokens were generated: they come first, then those of prompts
//	generated_rows int32[1]        likewise, of the tokens whose logits are wanted
//	k.0, v.0 …                     caches, one of each for a layer
//	→ logits  float32[rows, vocabulary]
//
// Weights stay where w has them.
func (a *Architecture) Graph(c *Config, w Weights, o Options) (*ir.Graph, error) {
	return a.graph(&Builder{Config: *c, weights: w, options: o}, Inputs)
}

func (a *Architecture) graph(b *Builder, inputs []string) (*ir.Graph, error) {
	b.inputs, b.tables, b.count = map[string]*ir.Value{}, map[string]*ir.Value{}, map[string]int{}
	b.graph = &ir.Graph{Name: b.Architecture, Opsets: map[string]int{"": opset, op.Salver: 1}, Meta: map[string]string{}}
	if err := b.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", b.Architecture, err)
	}
	b.addInputs(inputs)
	a.Build(b)
	if b.err != nil {
		return nil, fmt.Errorf("%s: %w", b.Architecture, b.err)
	}
	b.giveRoles()
	for _, layer := range b.caches {
		b.graph.Inputs = append(b.graph.Inputs, layer[0], layer[1])
	}
	if err := b.graph.Sort(); err != nil {
		return nil, err
	}
	return b.graph, errors.Join(b.graph.Verify(), op.InferTypes(b.graph))
}

func (b *Builder) addInputs(names []string) {
	tokens, sequences := shape.Sym("tokens"), shape.Sym("sequences")
	shapes := map[string]shape.Shape{"sequences": {sequences, shape.Const(2)}, "tables": {sequences, shape.Sym("blocks")}, "rows": {shape.Sym("rows")}, "generated": {shape.Const(1)}, "generated_rows": {shape.Const(1)}}
	for _, name := range names {
		s, ok := shapes[name]
		if !ok {
			s = shape.Shape{tokens}
		}
		v := ir.NewValue(name, ir.Type{DType: dtype.Int32, Shape: s})
		b.inputs[name] = v
		b.graph.Inputs = append(b.graph.Inputs, v)
	}
}

// Fail keeps the first defect.
func (b *Builder) Fail(format string, args ...any) {
	if b.err == nil {
		b.err = fmt.Errorf(format, args...)
	}
}

// Node adds an operator of ONNX, or of ours with the prefix "salver::".
func (b *Builder) Node(name string, attrs map[string]*ir.Attr, in ...*ir.Value) *ir.Value {
	if b.err != nil {
		return nil
	}
	domain, version := "", opset
	if rest, ours := strings.CutPrefix(name, op.Salver+"::"); ours {
		domain, name, version = op.Salver, rest, 1
	}
	label := b.label(name)
	out := ir.NewValue(label, ir.Type{})
	n := ir.NewNode(domain, name, version, in, []*ir.Value{out}, maps.Clone(attrs))
	n.Name = label
	if err := op.Complete(n); err != nil {
		b.err = err
		return nil
	}
	if err := op.InferNode(n); err != nil {
		b.err = err
		return nil
	}
	b.graph.Nodes = append(b.graph.Nodes, n)
	return out
}

// label is a new name for a node within the scope.
func (b *Builder) label(name string) string {
	l := strings.ToLower(name)
	if b.scope != "" {
		l = b.scope + "." + l
	}
	b.count[l]++
	if n := b.count[l]; n > 1 {
		l = fmt.Sprintf("%s.%d", l, n)
	}
	return l
}

// Layer names what comes next, so that errors and profiles say where it is.
func (b *Builder) Layer(i int) string {
	b.scope = fmt.Sprintf("blk.%d", i)
	return b.scope + "."
}

// End leaves the layers.
func (b *Builder) End() { b.scope = "" }

// Has reports whether the file has a tensor.
func (b *Builder) Has(name string) bool {
	_, ok := b.weights.Weight(name)
	return ok
}

// weight gives a tensor that must have the given shape.
func (b *Builder) weight(name string, dims ...int) (w Weight, ok bool) {
	if b.err != nil {
		return w, false
	}
	w, ok = b.weights.Weight(name)
	if err := b.weights.Err(); err != nil {
		b.Fail("%w", err)
		return w, false
	}
	if !ok {
		b.Fail("the file has no tensor %q", b.weights.Name(name))
		return w, false
	}
	if !slices.Equal(w.Shape, dims) {
		b.Fail("tensor %q has shape %v, expected %v", b.weights.Name(name), w.Shape, dims)
		return w, false
	}
	return w, true
}

// Vector gives a tensor of n numbers as float32.
func (b *Builder) Vector(name string, n int) []float32 {
	w, ok := b.weight(name, n)
	if !ok {
		return nil
	}
	w = w.Plain()
	v := make([]float32, n)
	if !w.Format.Decodes() || n%w.Format.Elems() != 0 {
		b.Fail("tensor %q is %s, expected numbers", name, w.Format)
		return nil
	}
	block.Decode(w.Format, v, w.Data)
	return v
}

// Const is a constant of the graph.
func (b *Builder) Const(name string, v []float32) *ir.Value {
	if b.err != nil {
		return nil
	}
	return ir.NewConst(name, tensor.FromSlice(v, len(v)))
}

// matrix gives a tensor as the products and lookups take it, with its format.
func (b *Builder) matrix(name string, rows, cols int) (*ir.Value, map[string]*ir.Attr) {
	w, ok := b.weight(name, rows, cols)
	if !ok {
		return nil, nil
	}
	return b.stored(name, w.Plain(), rows, cols)
}

func (b *Builder) stored(name string, w Weight, rows, cols int) (*ir.Value, map[string]*ir.Attr) {
	size, err := w.Format.RowBytes(cols)
	if err != nil || len(w.Data) != rows*size {
		b.Fail("tensor %q: %d bytes of %s for %d rows of %d: expected %d a row (%v)", name, len(w.Data), w.Format, rows, cols, size, err)
		return nil, nil
	}
	t := &tensor.Tensor{DType: dtype.Uint8, Shape: []int{rows, size}, Data: w.Data}
	return ir.NewConst(name, t), map[string]*ir.Attr{"format": ir.Str(w.Format.String()), "k": ir.Int(cols)}
}

// Embed looks tokens up: [tokens, Hidden].
func (b *Builder) Embed(name string) *ir.Value { return b.lookUp(name, b.Vocabulary, "tokens") }

// EmbedPositions looks their positions up.
func (b *Builder) EmbedPositions(name string) *ir.Value {
	return b.lookUp(name, b.FirstPosition+b.Context, "positions")
}

func (b *Builder) lookUp(name string, rows int, input string) *ir.Value {
	w, attrs := b.matrix(name+".weight", rows, b.Hidden)
	if w == nil {
		return nil
	}
	return b.Node("salver::BlockGather", attrs, b.inputs[input], w)
}

// Linear multiplies by a matrix [outputs, inputs], and adds a bias if the file
// has one.
func (b *Builder) Linear(x *ir.Value, name string, inputs, outputs int) *ir.Value {
	return b.LinearPart(x, name, inputs, outputs, 0, outputs)
}

// LinearPart is Linear with rows from up to to of the matrix, of so many outputs.
func (b *Builder) LinearPart(x *ir.Value, name string, inputs, outputs, from, to int) *ir.Value {
	w, ok := b.weight(name+".weight", outputs, inputs)
	if !ok {
		return nil
	}
	label, bias := name+".weight", []float32(nil)
	if b.Has(name + ".bias") {
		bias = b.Vector(name+".bias", outputs)
	}
	if to-from < outputs {
		label = fmt.Sprintf("%s[%d:%d]", label, from, to)
		w = b.rows(w, label, inputs, from, to)
		if bias != nil {
			bias = bias[from:to]
		}
	}
	return b.product(x, label, w, bias, inputs, to-from)
}

// product multiplies by a matrix in whatever form it is stored, and adds a bias if it is not nil.
func (b *Builder) product(x *ir.Value, label string, w Weight, bias []float32, inputs, outputs int) *ir.Value {
	m, attrs := b.stored(label, w, outputs, inputs)
	if w.Order != nil && b.err == nil {
		order := ir.NewConst(label+".order", tensor.FromSlice(w.Order, len(w.Order)))
		x = b.Node("Gather", map[string]*ir.Attr{"axis": ir.Int(-1)}, x, order)
	}
	in := []*ir.Value{x, m}
	if bias != nil {
		in = append(in, b.Const(strings.Replace(label, ".weight", ".bias", 1), bias))
	}
	if w.Scales == nil {
		return b.Node("salver::BlockMatMul", attrs, in...)
	}
	y := b.Mul(b.Node("salver::BlockMatMul", attrs, x, m), b.Const(label+".scales", w.Scales))
	if bias != nil { // which is not scaled
		y = b.Add(y, in[2])
	}
	return y
}

// rows gives some rows of a matrix.
func (b *Builder) rows(w Weight, name string, cols, from, to int) Weight {
	size, err := w.Format.RowBytes(cols)
	if err != nil || len(w.Data) < to*size {
		b.Fail("tensor %q has %d bytes of %s for rows of %d (%v)", name, len(w.Data), w.Format, cols, err)
		return w
	}
	w.Data = w.Data[from*size : to*size]
	if w.Scales != nil {
		w.Scales = w.Scales[from:to]
	}
	return w
}

// RMSNorm normalizes the last axis, [.., n].
func (b *Builder) RMSNorm(x *ir.Value, name string, n int) *ir.Value {
	w := b.Vector(name+".weight", n)
	for i := range w {
		w[i] += b.normOffset
	}
	return b.Node("RMSNormalization", map[string]*ir.Attr{"epsilon": ir.Float(b.NormEps)}, x, b.Const(name+".weight", w))
}

// LayerNorm normalizes the last axis, [.., n], and adds a bias if the file has one.
func (b *Builder) LayerNorm(x *ir.Value, name string, n int) *ir.Value {
	in := []*ir.Value{x, b.Const(name+".weight", b.Vector(name+".weight", n))}
	if b.Has(name + ".bias") {
		in = append(in, b.Const(name+".bias", b.Vector(name+".bias", n)))
	}
	return b.Node("LayerNormalization", map[string]*ir.Attr{"epsilon": ir.Float(b.NormEps)}, in...)
}

// HeadNorm normalizes each head of [tokens, heads·HeadDim].
func (b *Builder) HeadNorm(x *ir.Value, name string, heads int) *ir.Value {
	x = b.Reshape(x, -1, heads, b.HeadDim)
	x = b.RMSNorm(x, name, b.HeadDim)
	return b.Reshape(x, -1, heads*b.HeadDim)
}

// Reshape gives another shape; -1 stands for what is left.
func (b *Builder) Reshape(x *ir.Value, dims ...int) *ir.Value {
	if b.err != nil {
		return nil
	}
	wide := make([]int64, len(dims))
	for i, d := range dims {
		wide[i] = int64(d)
	}
	return b.Node("Reshape", nil, x, ir.NewConst(b.label("shape"), tensor.FromSlice(wide, len(wide))))
}

// Add is x + y. Where y is the product that was made last, and nothing else reads it,
// the product adds x itself, which gives the same bits.
func (b *Builder) Add(x, y *ir.Value) *ir.Value {
	if b.err != nil {
		return nil
	}
	last := b.graph.Nodes[len(b.graph.Nodes)-1]
	if last.FullName() != op.Salver+"::BlockMatMul" || last.Out[0] != y || x == y || len(last.In) > 3 {
		return b.Node("Add", nil, x, y)
	}
	if len(last.In) == 2 {
		last.AddInput(nil) // no bias
	}
	last.AddInput(x)
	if err := op.InferNode(last); err != nil {
		b.err = err
	}
	return y
}

// Mul is x·y.
func (b *Builder) Mul(x, y *ir.Value) *ir.Value { return b.Node("Mul", nil, x, y) }

// Activate applies the function of the feed-forward networks.
func (b *Builder) Activate(x *ir.Value) *ir.Value {
	switch b.Activation {
	case "silu", "swish":
		return b.Node("Swish", nil, x)
	case "gelu":
		return b.Node("Gelu", nil, x)
	case "gelu_new", "gelu_pytorch_tanh", "gelu_fast":
		return b.Node("Gelu", map[string]*ir.Attr{"approximate": ir.Str("tanh")}, x)
	case "relu":
		return b.Node("Relu", nil, x)
	}
	b.Fail("activation %q is not supported; known are silu, gelu, gelu_pytorch_tanh and relu", b.Activation)
	return nil
}

// Scale multiplies by a number.
func (b *Builder) Scale(x *ir.Value, by float32) *ir.Value {
	if b.err != nil {
		return nil
	}
	return b.Mul(x, ir.NewConst(b.label("scale"), tensor.Scalar(by)))
}

// Softcap squeezes into (-c, c).
func (b *Builder) Softcap(x *ir.Value, c float32) *ir.Value {
	return b.Scale(b.Node("Tanh", nil, b.Scale(x, 1/c)), c)
}

// Attention attends over the sequence's cache of this layer, to which it adds
// the step's keys and values; window 0 sees everything.
func (b *Builder) Attention(q, k, v *ir.Value, window int) *ir.Value {
	if b.err != nil {
		return nil
	}
	scale := b.AttnScale
	if scale == 0 {
		scale = float32(1 / math.Sqrt(float64(b.HeadDim)))
	}
	attrs := map[string]*ir.Attr{"heads": ir.Int(b.Heads), "kv_heads": ir.Int(b.KVHeads), "scale": ir.Float(scale), "softcap": ir.Float(b.AttnSoftcap), "window": ir.Int(window)}
	if b.encodes {
		attrs["causal"] = ir.Int(b.causal)
		return b.Node("salver::SequenceAttention", attrs, q, k, v, b.inputs["sequences"])
	}
	kc := b.cache("k", b.HeadDim, paged.BlockTokens)
	vc := b.cache("v", paged.BlockTokens, b.HeadDim)
	b.caches = append(b.caches, [2]*ir.Value{kc, vc})
	y := b.Node("salver::PagedAttention", attrs,
		q, k, v, kc, vc, b.inputs["slots"], b.inputs["positions"], b.inputs["sequences"], b.inputs["tables"])
	if len(b.caches) < b.Layers {
		return y
	}
	b.narrow = len(b.graph.Nodes)
	return b.wanted(y)
}

// wanted are the rows of the tokens whose logits are wanted.
func (b *Builder) wanted(x *ir.Value) *ir.Value { return b.Node("Gather", nil, x, b.inputs["rows"]) }

// Residual is x + y for what a layer's attention has made of x. In the last layer that is
// only the tokens whose logits are wanted: of the others it computes keys and values.
func (b *Builder) Residual(x, y *ir.Value) *ir.Value {
	if b.narrow == 0 || b.err != nil {
		return b.Add(x, y)
	}
	x = b.wanted(x)
	if n := len(b.graph.Nodes); b.err == nil { // so that y is still the last one, and may add x itself
		b.graph.Nodes[n-2], b.graph.Nodes[n-1] = b.graph.Nodes[n-1], b.graph.Nodes[n-2]
	}
	return b.Add(x, y)
}

func (b *Builder) cache(name string, rows, cols int) *ir.Value {
	return ir.NewValue(fmt.Sprintf("%s.%d", name, len(b.caches)), ir.Type{DType: b.options.Cache, Shape: shape.Of(b.options.Blocks, b.KVHeads, rows, cols)})
}

// LayerWindow is the window of a layer, 0 if it sees everything.
func (b *Builder) LayerWindow(layer int) int {
	if b.Windows == nil {
		return 0
	}
	return b.Windows[layer]
}

// Logits ends the graph: those of the tokens that are asked for. An encoder has
// the vectors instead.
func (b *Builder) Logits(x *ir.Value) {
	b.End()
	if b.encodes {
		b.output("vectors", x)
		return
	}
	b.layers = len(b.graph.Nodes)
	if b.narrow == 0 {
		x = b.wanted(x)
	}
	name := "output"
	if b.Tied != nil && *b.Tied || b.Tied == nil && !b.Has("output.weight") {
		name = "token_embd"
	}
	y := b.Linear(x, name, b.Hidden, b.Vocabulary)
	if b.LogitSoftcap > 0 {
		y = b.Softcap(y, b.LogitSoftcap)
	}
	b.output("logits", y)
}

func (b *Builder) output(name string, v *ir.Value) {
	if b.err == nil {
		b.graph.AddOutput(name, v)
	}
}
