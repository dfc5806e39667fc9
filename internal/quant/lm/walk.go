package lm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"unicode/utf8"

	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/llm/arch"
	"github.com/salver-ml/salver/internal/llm/kv"
	"github.com/salver-ml/salver/internal/op"
	_ "github.com/salver-ml/salver/internal/ops" // registers the operators
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/token"
)

// blocksFor is how many blocks of a cache hold so many tokens.
func blocksFor(tokens int) int { return (tokens + kv.BlockTokens - 1) / kv.BlockTokens }

// A Text is what a model is run on: chunks of tokens of the same length.
type Text struct {
	Name   string
	Chunks [][]int32
}

// ChunkTokens is the usual length of a chunk.
const ChunkTokens = 512

// ReadText cuts a text file into chunks of so many tokens, each beginning as the
// model's texts do, and takes at most limit of them, evenly; 0 is all. 0 tokens are
// ChunkTokens, or what the context of the model holds. A text of less than a chunk
// is one.
func (m *Model) ReadText(path string, tokens, limit int) (*Text, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if err := checkText(b); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	t, err := m.tokenizer()
	if err != nil {
		return nil, err
	}
	context := m.number("context_length", math.MaxInt32)
	if tokens == 0 {
		tokens = max(min(ChunkTokens, context), 2)
	}
	if tokens < 2 || tokens > max(context, 2) {
		return nil, fmt.Errorf("chunks of %d tokens: expected 2 to %d, the model's context", tokens, context)
	}
	ids := t.Encode(string(b), token.EncodeOptions{})
	var begin []int32
	if bos, ok := t.BOS(); ok && len(t.Encode("", token.EncodeOptions{AddSpecial: true})) > 0 {
		begin = []int32{bos}
	}
	text := &Text{Name: path}
	step := tokens - len(begin)
	if len(ids) < step {
		step = len(ids)
	}
	if step < 1 {
		return nil, fmt.Errorf("%s: the text is empty", path)
	}
	for ; len(ids) >= step; ids = ids[step:] {
		text.Chunks = append(text.Chunks, slices.Concat(begin, ids[:step]))
	}
	if n := len(text.Chunks); limit > 0 && limit < n {
		some := make([][]int32, limit)
		for i := range some {
			some[i] = text.Chunks[i*n/limit]
		}
		text.Chunks = some
	}
	return text, nil
}

// checkText refuses what is no text: other encodings than UTF-8, and files of other
// kinds, whose bytes a model would take for words.
func checkText(b []byte) error {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == 0 || r == utf8.RuneError && n == 1 {
			return fmt.Errorf("byte %d is %#02x: expected text in UTF-8", i, b[i])
		}
		i += n
	}
	return nil
}

// Tokens is the number of tokens of all chunks.
func (t *Text) Tokens() int { return len(t.Chunks) * len(t.Chunks[0]) }

// walk runs a model on a text product by product: all chunks pass a stage before
// the next one is begun, so that the matrices of one stage are in memory at a
// time, and those of the next can be chosen by what they will be multiplied with.
type walk struct {
	m         *Model
	text      *Text
	pool      *pool.Pool
	precision op.Precision
	config    *arch.Config
	graph     *ir.Graph
	stages    [][]*ir.Node
	products  [][]*product
	made      map[*ir.Value]int // the stage that computes a value
	last      map[*ir.Value]int // and the last one that reads it
	values    *values
	index     map[string]int
	caches    map[string]*tensor.Tensor // of keys and values, by shape: chunks do not see each other
	progress  func(done, all int)       // in chunks of stages
}

// newWalk prepares a walk with the pool, precision and progress of a recipe, which
// keeps what crosses between stages in the recipe's work folder.
func newWalk(m *Model, text *Text, r *Recipe) (*walk, error) {
	w := &walk{m: m, text: text, pool: r.Pool, precision: r.Precision, progress: r.Progress, made: map[*ir.Value]int{}, last: map[*ir.Value]int{}, index: m.index(), caches: map[string]*tensor.Tensor{}}
	var err error
	if w.graph, w.config, err = m.graph(len(text.Chunks[0])); err != nil {
		return nil, err
	}
	for _, c := range text.Chunks {
		for _, id := range c {
			if id < 0 || int(id) >= w.config.Vocabulary {
				return nil, fmt.Errorf("the text has token %d, and the model a vocabulary of %d", id, w.config.Vocabulary)
			}
		}
	}
	w.stages, w.products = m.stagesOf(w.graph)
	w.values = &values{dir: r.Work, number: map[*ir.Value]int{}, files: map[*ir.Value]*os.File{}}
	for s, nodes := range w.stages {
		for _, n := range nodes {
			for _, v := range n.Out {
				w.made[v] = s
				w.values.number[v] = len(w.values.number)
			}
			for _, v := range n.In {
				if v != nil && v.Producer != nil {
					w.last[v] = max(w.last[v], s)
				}
			}
		}
	}
	return w, nil
}

// head is whether a product gives the logits, for which no data are needed: it
// comes last, and is rounded by itself.
func (w *walk) head(p *product) bool {
	return slices.ContainsFunc(w.graph.Outputs, func(o ir.Output) bool { return reaches(p.node, o.Value) })
}

// reaches reports whether an output follows from a node without another product.
func reaches(n *ir.Node, v *ir.Value) bool {
	for ; v != nil && v.Producer != nil; v = v.Producer.In[0] {
		if v.Producer == n {
			return true
		}
	}
	return false
}

// enter is asked before a stage which matrices to take instead of the model's,
// by the names of tensors.
type enter func(ctx context.Context, stage int, products []*product) (map[string]*Tensor, error)

// run runs the stages from first on. done is told of each that is complete.
func (w *walk) run(ctx context.Context, first int, f enter, done func(next int) error) error {
	defer w.values.close()
	final := len(w.stages) - 1
	for s := first; s <= final; s++ {
		var others map[string]*Tensor
		if list := w.products[s]; len(list) > 0 && !(s == final && w.head(list[0])) {
			var err error
			if others, err = f(ctx, s, list); err != nil {
				return err
			}
		}
		if s == final {
			return nil // nothing is chosen by the logits
		}
		if err := w.stage(ctx, s, others); err != nil {
			return fmt.Errorf("stage %d of %d: %w", s, len(w.stages), err)
		}
		if done != nil {
			if err := done(s + 1); err != nil {
				return err
			}
		}
		if err := w.forget(s); err != nil {
			return err
		}
	}
	return nil
}

// forget drops values that were read last in stage s.
func (w *walk) forget(s int) error {
	for v, last := range w.last {
		if last == s && w.made[v] < s {
			if err := w.values.drop(v); err != nil {
				return err
			}
		}
	}
	return nil
}

// each reads a value that products multiply with, chunk by chunk: [tokens, cols].
func (w *walk) each(v *ir.Value, see func(x []float32) error) error {
	t := w.chunkOf(v)
	for i := range w.text.Chunks {
		if err := w.values.read(v, i, t); err != nil {
			return err
		}
		if err := see(tensor.Of[float32](t)); err != nil {
			return err
		}
	}
	return nil
}

// chunkOf makes a tensor for a chunk of a value.
func (w *walk) chunkOf(v *ir.Value) *tensor.Tensor {
	dims := make([]int, len(v.Type.Shape))
	for i, d := range v.Type.Shape {
		n, ok := d.Int()
		if !ok {
			n = len(w.text.Chunks[0]) // of the tokens, and of the rows whose logits are wanted
		}
		dims[i] = n
	}
	return tensor.New(v.Type.DType, dims...)
}

// stage runs all chunks through the nodes of stage s.
func (w *walk) stage(ctx context.Context, s int, others map[string]*Tensor) error {
	seg := newSegment(w, s, others)
	if err := errors.Join(seg.graph.Sort(), seg.graph.Verify(), op.InferTypes(seg.graph)); err != nil {
		return err
	}
	session := exec.New(seg.graph, exec.Options{Pool: w.pool, Precision: w.precision})
	defer session.Close()
	inputs := make([]*tensor.Tensor, len(seg.inputs))
	for i, v := range seg.inputs {
		inputs[i] = w.input(v)
	}
	outputs := make([]*tensor.Tensor, len(seg.outputs))
	for i, v := range seg.outputs {
		outputs[i] = w.chunkOf(v)
	}
	for c, chunk := range w.text.Chunks {
		for i, v := range seg.inputs {
			if v.Producer != nil {
				if err := w.values.read(v, c, inputs[i]); err != nil {
					return err
				}
			} else if v.Name == "tokens" {
				inputs[i] = tensor.FromSlice(chunk, len(chunk))
			}
		}
		if err := session.RunInto(ctx, inputs, outputs); err != nil {
			return err
		}
		for i, v := range seg.outputs {
			if err := w.values.write(v, c, outputs[i]); err != nil {
				return err
			}
		}
		if w.progress != nil {
			w.progress(s*len(w.text.Chunks)+c+1, (len(w.stages)-1)*len(w.text.Chunks))
		}
	}
	w.m.release()
	return nil
}

// input makes what a stage reads beside the tokens, which is the same for all
// chunks, or the place for what an earlier stage computed.
func (w *walk) input(v *ir.Value) *tensor.Tensor {
	n := len(w.text.Chunks[0])
	count := func(n int) []int32 {
		list := make([]int32, n)
		for i := range list {
			list[i] = int32(i)
		}
		return list
	}
	switch {
	case v.Producer != nil:
		return w.chunkOf(v)
	case v.Name == "positions", v.Name == "slots", v.Name == "rows":
		return tensor.FromSlice(count(n), n)
	case v.Name == "generated", v.Name == "generated_rows": // which have one arithmetic everywhere
		return tensor.FromSlice([]int32{int32(n)}, 1)
	case v.Name == "sequences":
		return tensor.FromSlice([]int32{0, int32(n)}, 1, 2)
	case v.Name == "tables":
		return tensor.FromSlice(count(blocksFor(n)), 1, blocksFor(n))
	case v.Name == "tokens":
		return nil // each chunk's own
	}
	key := v.Name[:1] + v.Type.String()
	if w.caches[key] == nil {
		w.caches[key] = w.chunkOf(v)
	}
	return w.caches[key]
}

// segment is a stage as a graph of its own.
type segment struct {
	graph           *ir.Graph
	inputs, outputs []*ir.Value // of the whole graph
}

func newSegment(w *walk, s int, others map[string]*Tensor) *segment {
	p := &segment{graph: &ir.Graph{Name: fmt.Sprintf("stage %d", s), Opsets: w.graph.Opsets, Meta: map[string]string{}}}
	known := map[*ir.Value]*ir.Value{}
	constants := w.matrices(s, others)
	for _, n := range w.stages[s] {
		in := make([]*ir.Value, len(n.In))
		attrs := maps.Clone(n.Attrs)
		for i, v := range n.In {
			if v == nil {
				continue
			}
			if known[v] == nil {
				known[v] = p.take(v, constants[v])
			}
			in[i] = known[v]
			if c, ok := constants[v]; ok && c.format != "" {
				attrs["format"] = ir.Str(c.format)
			}
		}
		out := make([]*ir.Value, len(n.Out))
		for i, v := range n.Out {
			out[i] = ir.NewValue(v.Name, v.Type)
			known[v] = out[i]
		}
		copied := ir.NewNode(n.Domain, n.Op, n.Opset, in, out, attrs)
		copied.Name = n.Name
		p.graph.Nodes = append(p.graph.Nodes, copied)
		for i, v := range n.Out {
			if w.last[v] > s {
				p.graph.AddOutput(v.Name, out[i])
				p.outputs = append(p.outputs, v)
			}
		}
	}
	return p
}

// take gives a constant, or an input of the seg.
func (p *segment) take(v *ir.Value, c constant) *ir.Value {
	switch {
	case c.t != nil:
		return ir.NewConst(v.Name, c.t)
	case v.Const != nil:
		return ir.NewConst(v.Name, v.Const)
	}
	in := ir.NewValue(v.Name, v.Type)
	p.graph.Inputs = append(p.graph.Inputs, in)
	p.inputs = append(p.inputs, v)
	return in
}

// constant stands in for one of the graph.
type constant struct {
	t      *tensor.Tensor
	format string // if it is another one
}

// matrices are the constants of a stage's products: those of the model, or others.
func (w *walk) matrices(s int, others map[string]*Tensor) map[*ir.Value]constant {
	list := map[*ir.Value]constant{}
	for _, p := range w.products[s] {
		for _, x := range p.matrices {
			rows := x.value.Const.Shape[0]
			if t := others[x.name]; t != nil && !p.experts() {
				list[x.value] = constant{t.stored(x.from, rows), t.Format.String()}
			} else if i, ok := w.index[x.name]; ok {
				list[x.value] = constant{t: w.m.Tensors[i].stored(x.from, rows)}
			}
		}
	}
	return list
}
