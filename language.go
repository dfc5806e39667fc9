package salver

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"

	"github.com/salver-ml/salver/internal/backend"
	"github.com/salver-ml/salver/internal/chat"
	"github.com/salver-ml/salver/internal/llm"
	"github.com/salver-ml/salver/internal/openaiapi"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/rest"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/textgen"
	"github.com/salver-ml/salver/internal/token"
)

// LanguageModel generates text. It is safe for concurrent use: answers that are
// asked for at the same time are computed together, and none depends on the others.
type LanguageModel struct {
	model *llm.Model
	pool  *pool.Pool
}

// Generation says how a text is continued. The zero value takes the likeliest
// token each time, to the end of the answer or of the model's context.
type Generation struct {
	MaxTokens   int // 0: no limit but the context
	Temperature float32
	TopP        float32
	TopK        int
	Seed        uint64   // of the draws at a Temperature above 0
	Stop        []string // texts that end the answer; they are not part of it
}

// Message is a part of a conversation. Role is "system", "user" or "assistant".
type Message struct{ Role, Content string }

// OpenLanguageModel reads and prepares a GGUF file or a Hugging Face folder
// (config.json, tokenizer.json, safetensors).
func OpenLanguageModel(path string, options ...Option) (*LanguageModel, error) {
	return openLanguage(options, func(o llm.Options) (*llm.Model, error) { return llm.Load(path, o) })
}

// ParseLanguageModel is OpenLanguageModel for a GGUF file in memory, whose bytes
// must not change while the model is used.
func ParseLanguageModel(gguf []byte, options ...Option) (*LanguageModel, error) {
	return openLanguage(options, func(o llm.Options) (*llm.Model, error) { return llm.Parse(gguf, o) })
}

func openLanguage(options []Option, load func(llm.Options) (*llm.Model, error)) (*LanguageModel, error) {
	c, err := configure(options)
	if err != nil {
		return nil, err
	}
	p := pool.New(c.threads)
	m, err := load(llm.Options{Pool: p, Provider: c.engine.Provider, Level: c.engine.Level, Precision: c.engine.Precision, MaxMemory: c.engine.MaxMemory, Overhead: c.engine.Overhead})
	if err != nil {
		p.Close()
		return nil, fmt.Errorf("salver: %w", err)
	}
	return &LanguageModel{m, p}, nil
}

// Generate continues a prompt. The pieces of the answer come as they are
// computed; an error is the last thing that comes. Breaking off the loop ends
// the computation.
func (m *LanguageModel) Generate(ctx context.Context, prompt string, g Generation) iter.Seq2[string, error] {
	return m.generate(ctx, m.model.Tokenizer().Encode(prompt, token.EncodeOptions{AddSpecial: true}), g)
}

// Chat answers a conversation, written as the model's chat template has it.
func (m *LanguageModel) Chat(ctx context.Context, messages []Message, g Generation) iter.Seq2[string, error] {
	c := chat.Conversation{AddGenerationPrompt: true}
	for _, x := range messages {
		c.Messages = append(c.Messages, chat.Message{Role: x.Role, Content: x.Content})
	}
	t, err := m.model.ChatTemplate()
	text := ""
	if err == nil {
		text, err = t.Render(c)
	}
	if err != nil {
		return func(yield func(string, error) bool) { yield("", fmt.Errorf("salver: %w", err)) }
	}
	return m.generate(ctx, m.model.Tokenizer().Encode(text, token.EncodeOptions{ParseSpecial: true}), g)
}

// errBroken ends a generation whose reader has had enough.
var errBroken = errors.New("the reader has stopped")

func (m *LanguageModel) generate(ctx context.Context, prompt []int32, g Generation) iter.Seq2[string, error] {
	r := &textgen.Request{Prompt: prompt, MaxTokens: g.MaxTokens, Stop: g.Stop, Logprobs: -1, PromptLogprobs: -1,
		Sampling: textgen.Sampling{Temperature: g.Temperature, TopP: g.TopP, TopK: g.TopK, Seed: &g.Seed}}
	return func(yield func(string, error) bool) {
		_, err := m.model.Generate(ctx, r, func(e *textgen.Event) error {
			if e.Text != "" && !yield(e.Text, nil) {
				return errBroken
			}
			return nil
		})
		if err != nil && !errors.Is(err, errBroken) {
			yield("", fmt.Errorf("salver: %w", err))
		}
	}
}

// Handler answers OpenAI's API under /v1, and those of Ollama, Anthropic and the
// Open Inference Protocol, for the model under a name. What Handler of sessions
// says of bounds and access holds here too.
func (m *LanguageModel) Handler(name string) (http.Handler, error) {
	core := serve.New(serve.Options{})
	if err := core.Register(name, 1, borrowedLanguage{backend.Language{Model: m.model}}, nil); err != nil {
		return nil, fmt.Errorf("salver: %w", err)
	}
	return rest.New(core, rest.Options{APIs: openaiapi.APIs(core, openaiapi.Options{})}), nil
}

// borrowedLanguage is the backend of a model that someone else closes.
type borrowedLanguage struct{ backend.Language }

// Close leaves the model open.
func (borrowedLanguage) Close() error { return nil }

// Close frees the model. Answers that are not finished end with an error.
func (m *LanguageModel) Close() error {
	err := m.model.Close()
	m.pool.Close()
	return err
}
