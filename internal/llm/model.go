package llm

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/salver-ml/salver/internal/chat"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/format/gguf"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/llm/arch"
	"github.com/salver-ml/salver/internal/llm/kv"
	_ "github.com/salver-ml/salver/internal/ops" // registers the operators
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes"
	"github.com/salver-ml/salver/internal/textgen"
	"github.com/salver-ml/salver/internal/token"
)

// Model is a language model that is ready to generate. It is a textgen.Model.
type Model struct {
	info      textgen.Info
	tokenizer *token.Tokenizer
	template  func() (*chat.Template, error)
	runner    *runner
	engine    *engine
	report    *pass.Report
	kvBytes   int
	files     *source
}

// Load reads and prepares the model at path.
func Load(path string, o Options) (*Model, error) {
	src, err := open(path)
	if err != nil {
		return nil, err
	}
	m, err := prepare(src, o, nameOf(path, o))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), src.close())
	}
	return m, nil
}

// LoadAny reads and prepares the model at path, of whatever kind: one of m and e is nil.
func LoadAny(path string, o Options) (m *Model, e *Encoder, err error) {
	src, err := open(path)
	if err != nil {
		return nil, nil, err
	}
	if src.encodes() {
		e, err = prepareEncoder(path, src, o)
	} else {
		m, err = prepare(src, o, nameOf(path, o))
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", path, err), src.close())
	}
	return m, e, nil
}

// Parse reads and prepares a GGUF file in memory, whose bytes must not change
// while the model is used.
func Parse(b []byte, o Options) (*Model, error) {
	f, err := gguf.Parse(b)
	if err != nil {
		return nil, err
	}
	src, err := fromGGUF(f)
	if err != nil {
		return nil, err
	}
	return prepare(src, o, o.Name)
}

func nameOf(path string, o Options) string {
	if o.Name != "" {
		return o.Name
	}
	base := filepath.Base(path)
	return strings.TrimSuffix(base, filepath.Ext(base))
}

func prepare(src *source, o Options, name string) (*Model, error) {
	if err := o.Precision.Available(); err != nil {
		return nil, err
	}
	a := src.arch
	if a.Encoder {
		return nil, fmt.Errorf("%s is an encoder: it makes vectors or scores of texts, and does not generate", src.config.Architecture)
	}
	o.defaults(src.config)
	blocks, kvBytes, err := o.cache(src.config)
	if err != nil {
		return nil, err
	}
	g, err := a.Graph(src.config, src.weights, arch.Options{Cache: o.CacheType, Blocks: blocks, Context: o.Context})
	if err != nil {
		return nil, err
	}
	if err := a.CheckRest(src.weights.Rest(), src.config); err != nil {
		return nil, err
	}
	m := &Model{tokenizer: src.tokenizer, files: src, kvBytes: kvBytes}
	roles := arch.HasRoles(g)
	if m.report, err = pass.Run(g, passes.All, pass.Options{Level: o.Level, Pool: o.Pool}); err != nil {
		return nil, err
	}
	limit := min(o.Context, blocks*kv.BlockTokens)
	s := exec.New(g, o.session(src))
	if m.runner, err = newRunner(s, src.config.Vocabulary, o.Sequences, blocksFor(limit)); err != nil {
		s.Close()
		return nil, err
	}
	m.info = textgen.Info{Name: name, Architecture: src.config.Architecture, Context: limit, Vocabulary: src.config.Vocabulary, Parameters: src.params, WeightBytes: src.bytes,
		Loaded: time.Now(), Defaults: src.defaults}
	if limit < o.Context {
		m.info.Wanted = o.Context
	}
	if o.Template != "" {
		src.template = o.Template
	}
	m.template = sync.OnceValues(func() (*chat.Template, error) { return compile(src) })
	sched := newScheduler(blocks, o.StepTokens, o.Sequences, !o.NoPrefixes)
	sched.roles = roles
	m.engine = (&engine{run: m.runner.run, copy: m.runner.copyBlock, packing: packing{piece: m.ready}, pool: o.Pool, eos: src.ends, context: limit, maxQueue: o.Queue, sched: sched}).start()
	return m, nil
}

func compile(src *source) (*chat.Template, error) {
	if src.template == "" {
		return nil, errors.New("the model's file has no chat template: use completions, or give a template with --chat-template")
	}
	return chat.Compile(src.template, chat.Options{BOS: src.bos, EOS: src.eos})
}

// Warm, before the first request, makes what a first token needs, so that a model for which there is no memory
// fails now, and has weights packed while there is nothing else to do.
func (m *Model) Warm() error {
	q := &sequence{request: &request{Request: &textgen.Request{PromptLogprobs: -1}}, tokens: []int32{0}, blocks: []int32{0}}
	if err := m.runner.plan([]work{{q, 0, 1}}); err != nil {
		return err
	}
	m.engine.packAgain()
	return nil
}

// Settle does at once what is done in pieces otherwise: weights are packed that are not
// packed yet, and pages of the cache made.
func (m *Model) Settle() {
	m.runner.session.Settle()
	for m.runner.pages.some() {
	}
}

// ready does a piece of what makes answers faster and none of them different; false:
// there is nothing to do.
func (m *Model) ready() bool { return m.runner.session.SettleSome() || m.runner.pages.some() }

// Info describes the model.
func (m *Model) Info() textgen.Info { return m.info }

// Sequences is how many answers are computed at once, at most.
func (m *Model) Sequences() int { return m.engine.sched.most }

// TokenBytes is how much of the weights a generated token reads: all but the experts
// that it is not sent to and the embedding, of which it needs one row, where that is not
// the last product too.
func (m *Model) TokenBytes() int64 {
	w, c, bytes := m.files.weights, m.files.config, m.info.WeightBytes
	if _, own := w.Weight("output.weight"); own {
		e, _ := w.Weight("token_embd.weight")
		bytes -= int64(len(e.Data))
	}
	for i := range c.Experts * c.Layers {
		layer, expert := i/c.Experts, i%c.Experts
		for _, part := range []string{"gate", "up", "down"} {
			e, _ := w.Weight(fmt.Sprintf("blk.%d.ffn_%s_exp.%d.weight", layer, part, expert))
			if expert == 0 && e.Data == nil {
				e, _ = w.Weight(fmt.Sprintf("blk.%d.ffn_%s_exps.weight", layer, part))
			}
			bytes -= int64(len(e.Data)) * int64(c.Experts-c.ExpertsUsed) / int64(c.Experts)
		}
	}
	return bytes
}

// Tokenizer is the model's.
func (m *Model) Tokenizer() *token.Tokenizer { return m.tokenizer }

// ChatTemplate is the model's own.
func (m *Model) ChatTemplate() (*chat.Template, error) { return m.template() }

// Graph is what the model runs, after the passes.
func (m *Model) Graph() *ir.Graph { return m.runner.session.Graph() }

// Report says what the passes did.
func (m *Model) Report() *pass.Report { return m.report }

// Stats are the engine's figures.
func (m *Model) Stats() textgen.Stats {
	s := m.engine.snapshot()
	s.KVBytes, s.WeightBytes = int64(m.kvBytes), m.runner.session.MemoryBytes()
	return s
}

// Held is how many answers are computed at this moment, and how many tokens and blocks
// of the cache they hold. Unlike Stats it is for those who look often.
func (m *Model) Held() (answers, tokens, blocks int) {
	m.engine.mu.Lock()
	defer m.engine.mu.Unlock()
	s := &m.engine.stats
	return s.Running, s.TokensHeld, s.BlocksUsed
}

// MemoryBytes is what the model holds: weights, packed weights, arena and cache.
func (m *Model) MemoryBytes() int64 { return m.runner.session.MemoryBytes() + int64(m.kvBytes) }

// Close ends the engine and frees the model. Requests that are not finished fail
// with textgen.ErrClosed.
func (m *Model) Close() error {
	m.engine.close()
	m.runner.close()
	return m.files.close()
}
