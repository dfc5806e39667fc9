package backend

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/llm"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/textgen"
	"github.com/salver-ml/salver/internal/token"
)

// Language is a language model that is ready to serve: to the protocols of
// language models as a textgen.Model, and to the Open Inference Protocol as a
// model from text to text, with the inputs of Triton's vLLM backend.
type Language struct{ *llm.Model }

func openLanguage(r serve.OpenRequest, o llm.Options) (serve.Backend, error) {
	o.Name = r.Model
	m, e, err := llm.LoadAny(r.Path, o)
	if err != nil {
		return nil, err
	}
	if e != nil {
		return openEncoder(e), nil
	}
	if err := m.Warm(); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return Language{m}, nil
}

// The inputs of a language model under the Open Inference Protocol.
const (
	inText     = iota // the prompt as it is: no chat template
	inSampling        // JSON: see sampling
)

// Inputs and Outputs describe the model as one from text to text.
func (l Language) Inputs() []serve.TensorInfo {
	return []serve.TensorInfo{{Name: "text_input", DType: dtype.String, Shape: []int{1}}, {Name: "sampling_parameters", DType: dtype.String, Shape: []int{1}, Optional: true}}
}

func (l Language) Outputs() []serve.TensorInfo {
	return []serve.TensorInfo{{Name: "text_output", DType: dtype.String, Shape: []int{1}}}
}

// Batchable is false: the engine itself joins the tokens of all requests.
func (l Language) Batchable() (bool, string) {
	return false, "the language-model engine joins requests token by token"
}

// Concurrent is how many requests the engine wants at once.
func (l Language) Concurrent() int { return l.Sequences() }

// Run continues one text.
func (l Language) Run(ctx context.Context, inputs []*tensor.Tensor) ([]*tensor.Tensor, func(), error) {
	r, err := l.request(inputs)
	if err != nil {
		return nil, nil, err
	}
	var text strings.Builder
	if _, err := l.Generate(ctx, r, func(e *textgen.Event) error { text.WriteString(e.Text); return nil }); err != nil {
		return nil, nil, classifyText(err)
	}
	return []*tensor.Tensor{tensor.FromStrings([]string{text.String()}, 1)}, func() {}, nil
}

// sampling is the JSON of sampling_parameters: vLLM's names.
type sampling struct {
	MaxTokens   int      `json:"max_tokens"`
	MinTokens   int      `json:"min_tokens"`
	Temperature float32  `json:"temperature"`
	TopK        int      `json:"top_k"`
	TopP        float32  `json:"top_p"`
	MinP        float32  `json:"min_p"`
	Repetition  float32  `json:"repetition_penalty"`
	Presence    float32  `json:"presence_penalty"`
	Frequency   float32  `json:"frequency_penalty"`
	Seed        *uint64  `json:"seed"`
	Stop        []string `json:"stop"`
	IgnoreEOS   bool     `json:"ignore_eos"`
}

// defaultTokens is the length of an answer where a request does not say.
const defaultTokens = 256

func (l Language) request(inputs []*tensor.Tensor) (*textgen.Request, error) {
	prompt := inputs[inText].Strings[0]
	if !utf8.ValidString(prompt) {
		return nil, serve.Errorf(serve.InvalidArgument, "text_input is not valid UTF-8")
	}
	ids := l.Tokenizer().Encode(prompt, token.EncodeOptions{AddSpecial: true, ParseSpecial: true, Most: textgen.MostOf(l.Info().Context)})
	p := sampling{MaxTokens: min(defaultTokens, max(1, l.Info().Context-len(ids)))}
	if s := inputs[inSampling]; s != nil {
		d := json.NewDecoder(bytes.NewReader([]byte(s.Strings[0])))
		d.DisallowUnknownFields()
		if err := d.Decode(&p); err != nil {
			return nil, serve.Errorf(serve.InvalidArgument, "sampling_parameters: %w", err)
		}
	}
	return &textgen.Request{Prompt: ids, MaxTokens: p.MaxTokens, MinTokens: p.MinTokens, Stop: p.Stop, IgnoreEOS: p.IgnoreEOS, Logprobs: -1, PromptLogprobs: -1,
		Sampling: textgen.Sampling{Temperature: p.Temperature, TopK: p.TopK, TopP: p.TopP, MinP: p.MinP, Repetition: p.Repetition, Presence: p.Presence, Frequency: p.Frequency, Seed: p.Seed}}, nil
}

// classifyText gives the errors of an engine of language models their kinds.
func classifyText(err error) error {
	var request *textgen.RequestError
	var full *textgen.FullError
	switch {
	case errors.As(err, &request):
		return serve.Errorf(serve.InvalidArgument, "%w", err)
	case errors.As(err, &full):
		return &serve.Error{Kind: serve.ResourceExhausted, Message: err.Error(), RetryAfter: full.RetryAfter, Err: err}
	case errors.Is(err, textgen.ErrClosed):
		return serve.Errorf(serve.Unavailable, "%w", err)
	}
	return err
}
