package llm

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/textgen"
	"github.com/salver-ml/salver/internal/token"
)

// Encoder is a model that reads texts at once: an encoder such as BERT, or a
// generating model that was trained to make vectors. Texts of one call run
// together, one after the other in the model's input and never padded to each
// other's length; a text's vector has the same bits alone. Its methods may be
// called from many goroutines.
type Encoder struct {
	info    textgen.Info
	files   *source
	session *exec.Session
	report  *pass.Report
	pooling pooling
	limit   int // tokens of a text
	budget  int // tokens of a run, if it has several texts
	running chan struct{}
}

// atOnce is how many runs there are at once, each with an arena.
const atOnce = 2

// prepareEncoder makes an encoder of what was opened at path.
func prepareEncoder(path string, src *source, o Options) (e *Encoder, err error) {
	if err := o.Precision.Available(); err != nil {
		return nil, err
	}
	o.defaults(src.config)
	e = &Encoder{files: src, budget: o.StepTokens, limit: o.Context, running: make(chan struct{}, atOnce)}
	if e.pooling = src.pooling; src.config.HuggingFace {
		if e.pooling, err = poolingOfFolder(path); err != nil {
			return nil, err
		}
	}
	if e.pooling.most > 0 {
		e.limit = min(e.limit, e.pooling.most)
	}
	if src.config.Labels > 1 {
		return nil, fmt.Errorf("it sorts texts into %d classes: expected a model that scores pairs, with 1", src.config.Labels)
	}
	g, err := src.arch.EncoderGraph(src.config, src.weights)
	if err != nil {
		return nil, err
	}
	if err := src.arch.CheckRest(withoutHead(src.weights.Rest()), src.config); err != nil {
		return nil, err
	}
	if e.report, err = pass.Run(g, passes.All, pass.Options{Level: o.Level, Pool: o.Pool}); err != nil {
		return nil, err
	}
	e.session = exec.New(g, o.session(src))
	e.info = textgen.Info{Name: nameOf(path, o), Architecture: src.config.Architecture, Context: e.limit, Vocabulary: src.config.Vocabulary, Parameters: src.params, WeightBytes: src.bytes,
		Loaded: time.Now()}
	return e, nil
}

// withoutHead leaves out the matrix of logits, of a model that could generate.
func withoutHead(names []string) (rest []string) {
	for _, n := range names {
		if n != "lm_head.weight" && n != "output.weight" {
			rest = append(rest, n)
		}
	}
	return rest
}

// scores reports whether the model scores pairs of texts; else it makes vectors.
func (e *Encoder) scores() bool { return e.files.config.Labels > 0 }

// Info describes the model.
func (e *Encoder) Info() textgen.Info { return e.info }

// Tokenizer is the model's.
func (e *Encoder) Tokenizer() *token.Tokenizer { return e.files.tokenizer }

// MaxTokens is how long a text may be, with its special tokens.
func (e *Encoder) MaxTokens() int { return e.limit }

// Graph is what the model runs, after the passes.
func (e *Encoder) Graph() *ir.Graph { return e.session.Graph() }

// Report says what the passes did.
func (e *Encoder) Report() *pass.Report { return e.report }

// MemoryBytes is what the model holds.
func (e *Encoder) MemoryBytes() int64 { return e.session.MemoryBytes() }

// Close frees the model. Nothing may be running.
func (e *Encoder) Close() error {
	e.session.Close()
	return e.files.close()
}

// Embedder gives the encoder as what makes vectors, if it does.
func (e *Encoder) Embedder() (*Embedder, bool) { return &Embedder{e}, !e.scores() }

// Reranker gives the encoder as what scores pairs, if it does.
func (e *Encoder) Reranker() (*Reranker, bool) { return &Reranker{e}, e.scores() }

// check refuses a text that can't be read.
func (e *Encoder) check(field string, number int, ids []int32) error {
	refuse := func(format string, args ...any) error {
		return &textgen.RequestError{Field: field, Message: fmt.Sprintf("text %d ", number) + fmt.Sprintf(format, args...)}
	}
	switch n := len(ids); {
	case n == 0:
		return refuse("has no tokens")
	case n > e.limit:
		return &textgen.RequestError{Field: field, TooLong: true, Message: fmt.Sprintf("text %d has %s tokens, this model reads at most %d", number, textgen.Count(n, e.limit), e.limit)}
	}
	for _, id := range ids {
		if id < 0 || int(id) >= e.info.Vocabulary {
			return refuse("has token %d, the vocabulary has %d", id, e.info.Vocabulary)
		}
	}
	return nil
}

// passage is what an encoder reads: ids, of which those from second on belong to
// the second of two texts.
type passage struct {
	ids    []int32
	second int
}

// runTexts is how many texts a run has at most.
const runTexts = 64

// run reads texts, some at a time, and calls take for each with its rows of the
// output: those of its tokens, or its score.
func (e *Encoder) run(ctx context.Context, texts []passage, take func(i int, rows []float32)) error {
	for first := 0; first < len(texts); {
		last, tokens := first, 0
		for last < len(texts) && last-first < runTexts && (last == first || tokens+len(texts[last].ids) <= e.budget) {
			tokens += len(texts[last].ids)
			last++
		}
		out, err := e.step(ctx, texts[first:last], tokens)
		if err != nil {
			return err
		}
		for i := first; i < last; i++ {
			n := len(texts[i].ids) * e.files.config.Hidden
			if e.scores() {
				n = e.files.config.Labels
			}
			take(i, out[:n])
			out = out[n:]
		}
		first = last
	}
	return nil
}

// step runs some texts together. Their output is made when it is their turn: it may be
// large, and many requests may wait.
func (e *Encoder) step(ctx context.Context, texts []passage, tokens int) ([]float32, error) {
	select {
	case e.running <- struct{}{}:
		defer func() { <-e.running }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	all := padded(tokens)
	in, rows := e.inputs(texts, all)
	out := tensor.New(dtype.Float32, all, e.files.config.Hidden)
	if e.scores() {
		out = tensor.New(dtype.Float32, rows, e.files.config.Labels)
	}
	if err := e.session.RunInto(ctx, in, []*tensor.Tensor{out}); err != nil {
		return nil, err
	}
	return tensor.Of[float32](out), nil
}

// inputs are those of a run of so many tokens, and how many rows it gives scores of. Sizes
// are rounded up, since a plan is made for each: what fills up belongs to no text.
func (e *Encoder) inputs(texts []passage, tokens int) (in []*tensor.Tensor, scores int) {
	ids, positions, types := make([]int32, tokens), make([]int32, tokens), make([]int32, tokens)
	sequences, rows := make([]int32, 2*runTexts), make([]int32, 1)
	for e.scores() && len(rows) < len(texts) {
		rows = make([]int32, 2*len(rows))
	}
	at := 0
	for i, t := range texts {
		sequences[2*i], sequences[2*i+1] = int32(at), int32(len(t.ids))
		if e.scores() {
			rows[i] = int32(at)
		}
		copy(ids[at:], t.ids)
		for j := range t.ids {
			positions[at+j] = int32(j + e.files.config.FirstPosition)
			if t.second > 0 && j >= t.second {
				types[at+j] = 1
			}
		}
		at += len(t.ids)
	}
	return []*tensor.Tensor{vector(ids), vector(positions), vector(types), tensor.FromSlice(sequences, runTexts, 2), vector(rows)}, len(rows)
}

// Embedder makes vectors of texts. It is a textgen.Embedder.
type Embedder struct{ *Encoder }

// Dimensions of a vector.
func (e *Embedder) Dimensions() int { return e.files.config.Hidden }

// Embed gives one vector of length 1 for each text.
func (e *Embedder) Embed(ctx context.Context, inputs [][]int32) ([][]float32, error) {
	texts := make([]passage, len(inputs))
	for i, ids := range inputs {
		if err := e.check("input", i, ids); err != nil {
			return nil, err
		}
		texts[i].ids = ids
	}
	vectors := make([][]float32, len(inputs))
	err := e.run(ctx, texts, func(i int, rows []float32) { vectors[i] = normalized(e.pool(rows)) })
	return vectors, err
}

// pool makes one vector of those of a text's tokens.
func (e *Embedder) pool(rows []float32) []float64 {
	n := e.Dimensions()
	sum := make([]float64, n)
	switch e.pooling.kind {
	case "cls":
		rows = rows[:n]
	case "lasttoken":
		rows = rows[len(rows)-n:]
	}
	for i, v := range rows { // the scale does not matter: the mean is normalized
		sum[i%n] += float64(v)
	}
	return sum
}

func normalized(v []float64) []float32 {
	square := 0.
	for _, x := range v {
		square += float64(x * x)
	}
	length := max(math.Sqrt(square), 1e-12)
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x / length)
	}
	return out
}

// Reranker scores pairs of texts. It is a textgen.Reranker.
type Reranker struct{ *Encoder }

// Score gives the relevance of each document to a query, from 0 to 1.
func (r *Reranker) Score(ctx context.Context, query string, documents []string) (scores []float32, tokens int, err error) {
	t := r.Tokenizer()
	ends := t.Encode("", token.EncodeOptions{AddSpecial: true})
	if len(ends) < 2 {
		return nil, 0, fmt.Errorf("the tokenizer has %d tokens around a text, expected one before and one after", len(ends))
	}
	end := ends[len(ends)-1]
	first := t.Encode(query, token.EncodeOptions{AddSpecial: true, Most: textgen.MostOf(r.MaxTokens())})
	second := len(first)
	if r.files.config.TokenTypes < 2 { // RoBERTa has two ends between texts, and no types
		first, second = append(first, end), 0
	}
	texts := make([]passage, len(documents))
	for i, d := range documents {
		ids := append(append(append([]int32{}, first...), t.Encode(d, token.EncodeOptions{Most: textgen.MostOf(r.MaxTokens())})...), end)
		if err := r.check("documents", i, ids); err != nil {
			return nil, 0, err
		}
		texts[i] = passage{ids, second}
		tokens += len(ids)
	}
	scores = make([]float32, len(documents))
	err = r.run(ctx, texts, func(i int, rows []float32) { scores[i] = float32(1 / (1 + math.Exp(-float64(rows[0])))) })
	return scores, tokens, err
}
