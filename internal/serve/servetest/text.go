package servetest

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/salver-ml/salver/internal/chat"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/textgen"
	"github.com/salver-ml/salver/internal/token"
)

// Text is a fake language model whose tokens are bytes and a few special ones.
// It answers with what Answer says, a token at a time.
type Text struct {
	Tok      *token.Tokenizer
	Template string // of chats; "" has none
	Context  int
	Defaults textgen.Sampling
	Answer   func(prompt string, choice int) string
	Delay    time.Duration // for each token
	Before   func(int)     // unless nil, called before each token with its number
	Refuse   error         // of Generate, before anything
	Fail     error         // of Generate, after three tokens

	Aborted atomic.Int64
	Closed  atomic.Int64

	mu       sync.Mutex
	requests []*textgen.Request
	stats    textgen.Stats
}

// ChatML is a template with tools and reasoning in Qwen's form.
const ChatML = `{%- if tools %}<|im_start|>system
# Tools
You are provided with function signatures within <tools></tools> XML tags:
<tools>
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
</tools>
For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call><|im_end|>
{% endif %}
{%- for m in messages %}<|im_start|>{{ m.role }}
{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}
{%- for call in m.tool_calls or [] %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and not enable_thinking %}<think>

</think>

{% endif %}{% endif %}`

// The special tokens of a Text.
var special = []string{"<s>", "</s>", "<|im_start|>", "<|im_end|>"}

// Bytes is a tokenizer whose tokens are the 256 bytes and, after them, special ones.
func Bytes() *token.Tokenizer {
	var pieces []string
	var types []int32
	next := rune(256)
	for b := range rune(256) {
		r := b
		if b < '!' || b > '~' && b < '¡' || b == 0xad { // GPT-2 writes those that can't be seen as others
			r, next = next, next+1
		}
		pieces, types = append(pieces, string(r)), append(types, 1)
	}
	for _, s := range special {
		pieces, types = append(pieces, s), append(types, 3)
	}
	t, err := token.FromGGUF(map[string]any{
		"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.tokens": pieces, "tokenizer.ggml.token_type": types,
		"tokenizer.ggml.merges": []string{}, "tokenizer.ggml.bos_token_id": uint32(256), "tokenizer.ggml.eos_token_id": uint32(257),
		"tokenizer.ggml.add_bos_token": true,
	})
	if err != nil {
		panic(err)
	}
	return t
}

// NewText is a model that answers with the prompt's last word, and the choice's number.
func NewText() *Text {
	stats := textgen.Stats{BlocksUsed: 2, BlocksAll: 8, BlockTokens: 16, Requests: map[string]uint64{}, FirstToken: textgen.Histogram{Bounds: []float64{0.01}, Counts: make([]uint64, 2)}}
	return &Text{Tok: Bytes(), stats: stats, Template: ChatML, Context: 2048, Answer: func(prompt string, choice int) string {
		words := strings.FieldsFunc(prompt, func(r rune) bool { return strings.ContainsRune(" \n<>|", r) })
		return " " + words[max(len(words)-1, 0)] + strings.Repeat("!", choice)
	}}
}

// Requests are those that came.
func (m *Text) Requests() []*textgen.Request {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]*textgen.Request{}, m.requests...)
}

func (m *Text) Inputs() []serve.TensorInfo {
	return []serve.TensorInfo{{Name: "text_input", DType: dtype.String, Shape: []int{1}}}
}

func (m *Text) Outputs() []serve.TensorInfo {
	return []serve.TensorInfo{{Name: "text_output", DType: dtype.String, Shape: []int{1}}}
}

func (m *Text) Batchable() (bool, string) { return false, "it generates text" }
func (m *Text) MemoryBytes() int64        { return 1 << 20 }

// Run is not for language models.
func (m *Text) Run(context.Context, []*tensor.Tensor) ([]*tensor.Tensor, func(), error) {
	return nil, nil, serve.Errorf(serve.InvalidArgument, "a language model generates")
}

// Close counts.
func (m *Text) Close() error {
	m.Closed.Add(1)
	return nil
}

// Info describes the fake.
func (m *Text) Info() textgen.Info {
	return textgen.Info{Architecture: "fake", Context: m.Context, Vocabulary: m.Tok.Size(), Parameters: 1e6, Loaded: time.Unix(1e9, 0), Defaults: m.Defaults}
}

// Tokenizer is Tok.
func (m *Text) Tokenizer() *token.Tokenizer { return m.Tok }

// ChatTemplate compiles Template.
func (m *Text) ChatTemplate() (*chat.Template, error) {
	if m.Template == "" {
		return nil, errors.New("it has no chat template")
	}
	return chat.Compile(m.Template, chat.Options{BOS: special[0], EOS: special[1]})
}

// Stats counts requests and tokens.
func (m *Text) Stats() textgen.Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.stats
	s.Requests = maps.Clone(s.Requests)
	s.FirstToken.Counts = slices.Clone(s.FirstToken.Counts)
	return s
}

// Figures changes what Stats gives.
func (m *Text) Figures(change func(*textgen.Stats)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(&m.stats)
}

// Generate emits the answers, the choices in turn.
func (m *Text) Generate(ctx context.Context, r *textgen.Request, emit func(*textgen.Event) error) (*textgen.Usage, error) {
	m.mu.Lock()
	m.requests = append(m.requests, r)
	m.mu.Unlock()
	if m.Refuse != nil {
		return nil, m.Refuse
	}
	g := generation{m: m, r: r, emit: emit, usage: textgen.Usage{PromptTokens: len(r.Prompt), CachedTokens: len(r.Prompt) / 2, FirstToken: time.Millisecond, Total: 3 * time.Millisecond}}
	prompt := m.Tok.Decode(r.Prompt, false)
	for c := range max(r.N, 1) {
		text, stop := cut(m.Answer(prompt, c), r.Stop)
		g.choices = append(g.choices, choice{left: []byte(text), stop: stop, stream: m.Tok.Stream(!r.KeepSpecial)})
	}
	for n := 0; g.more(); n++ {
		if err := ctx.Err(); err != nil {
			m.Aborted.Add(1)
			return nil, err
		}
		if m.Fail != nil && g.usage.GeneratedTokens >= 3 {
			return nil, m.Fail
		}
		time.Sleep(m.Delay)
		if m.Before != nil {
			m.Before(n)
		}
		for c := range g.choices {
			if err := g.step(c); err != nil {
				m.Aborted.Add(1)
				return nil, err
			}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stats.Requests["stop"]++
	m.stats.FirstToken.Counts[0]++
	m.stats.GeneratedTokens += uint64(g.usage.GeneratedTokens)
	m.stats.PromptTokens += uint64(g.usage.PromptTokens)
	return &g.usage, nil
}

// cut ends an answer before the first stop string.
func cut(text string, stops []string) (string, string) {
	stop := ""
	for _, s := range stops {
		if before, _, ok := strings.Cut(text, s); ok {
			text, stop = before, s
		}
	}
	return text, stop
}

type generation struct {
	m       *Text
	r       *textgen.Request
	emit    func(*textgen.Event) error
	choices []choice
	usage   textgen.Usage
	begun   bool
}

type choice struct {
	left   []byte
	stop   string
	stream *token.Stream
	done   bool
	tokens int
}

func (g *generation) more() bool {
	for i := range g.choices {
		if !g.choices[i].done {
			return true
		}
	}
	return false
}

// step makes a choice's next token.
func (g *generation) step(i int) error {
	c := &g.choices[i]
	if c.done {
		return nil
	}
	e := textgen.Event{Choice: i}
	if !g.begun && g.r.PromptLogprobs >= 0 {
		for _, id := range g.r.Prompt[1:] {
			e.Prompt = append(e.Prompt, g.token(id, g.r.PromptLogprobs))
		}
	}
	g.begun = true
	if len(c.left) == 0 {
		c.done, e.Finish, e.Stop, e.Text = true, textgen.FinishStop, c.stop, c.stream.Flush()
		return g.emit(&e)
	}
	id := int32(c.left[0])
	c.left = c.left[1:]
	e.Text = c.stream.Push(id)
	e.Tokens = []textgen.Token{g.token(id, g.r.Logprobs)}
	g.usage.GeneratedTokens++
	c.tokens++
	if c.tokens == g.r.MaxTokens && !c.done {
		c.done, e.Finish = true, textgen.FinishLength
		e.Text += c.stream.Flush()
	}
	return g.emit(&e)
}

// token gives a token a probability: half, and for others less.
func (g *generation) token(id int32, top int) textgen.Token {
	t := textgen.Token{ID: id}
	if top < 0 {
		return t
	}
	t.Logprob = float32(-math.Ln2)
	for k := range top {
		t.Top = append(t.Top, textgen.Alternative{ID: (id + int32(k)) % utf8.RuneSelf, Logprob: float32(-(k + 1)) * math.Ln2})
	}
	return t
}

// Encoder is a fake model for embeddings and reranking.
type Encoder struct {
	*Text
	Size int
}

// NewEncoder makes vectors of 4 numbers.
func NewEncoder() *Encoder { return &Encoder{NewText(), 4} }

// Generate hides that of Text, so that an Encoder generates nothing.
func (e *Encoder) Generate() {}

// Dimensions is Size.
func (e *Encoder) Dimensions() int { return e.Size }

// MaxTokens is Context.
func (e *Encoder) MaxTokens() int { return e.Context }

// Embed makes a vector of each input's length and its first token.
func (e *Encoder) Embed(_ context.Context, inputs [][]int32) ([][]float32, error) {
	var out [][]float32
	for _, in := range inputs {
		v := make([]float32, e.Size)
		v[0], v[1] = float32(len(in)), float32(in[0])
		out = append(out, v)
	}
	return out, nil
}

// Score is the share of the query's letters that a document has.
func (e *Encoder) Score(_ context.Context, query string, documents []string) ([]float32, int, error) {
	var scores []float32
	tokens := 0
	for _, d := range documents {
		n := 0
		for _, r := range query {
			if strings.ContainsRune(d, r) {
				n++
			}
		}
		scores = append(scores, float32(n)/float32(utf8.RuneCountInString(query)))
		tokens += len(query) + len(d)
	}
	return scores, tokens, nil
}
