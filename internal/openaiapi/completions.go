package openaiapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/salver-ml/salver/api/openai"
	"github.com/salver-ml/salver/internal/oip"
	"github.com/salver-ml/salver/internal/openaiapi/answer"
	"github.com/salver-ml/salver/internal/openaiapi/fields"
	"github.com/salver-ml/salver/internal/openaiapi/reply"
	"github.com/salver-ml/salver/internal/textgen"
)

// completionRequest is a request to continue texts.
type completionRequest struct {
	model   string
	prompts []answer.Input
	answer.Settings
	echo, bare bool
	streaming
}

var completionFields = concat(
	fields.Table[*completionRequest]{
		fields.Text("model", "Its name, or `NAME:VERSION`.", answer.MaxName, func(q *completionRequest) *string { return &q.model }),
		fields.Any("prompt", "string, array of strings, of token ids, or of arrays of token ids", fmt.Sprintf("The texts to continue; with `n` of each, at most %d answers.", answer.MaxChoices), func(q *completionRequest, v fields.Value) (err error) {
			q.prompts, err = answer.ReadInputs(v, answer.MaxChoices)
			return err
		}),
		fields.Int("max_tokens", "Tokens of an answer, at most. Default: 16. 0 needs `echo`.", 0, fields.Many, func(q *completionRequest) **int { return &q.MaxTokens }),
		fields.Int("best_of", "Answers computed for each prompt, of which the `n` likeliest are given; no more than `--max-sequences`, and not with `stream`.", 1, answer.MaxBestOf, func(q *completionRequest) **int { return &q.BestOf }),
		fields.Bool("echo", "Begins the answer with the prompt.", func(q *completionRequest) *bool { return &q.echo }),
		fields.Int("logprobs", "Gives the probability of each token and of so many alternatives; with `echo`, of the prompt's too.", 0, answer.MaxLogprobs, func(q *completionRequest) **int { return &q.Logprobs }),
	},
	fields.In(answer.OpenAI, func(q *completionRequest) *answer.Settings { return &q.Settings }),
	fields.In(streamingFields, func(q *completionRequest) *streaming { return &q.streaming }),
	fields.In(answer.VLLM, func(q *completionRequest) *answer.Settings { return &q.Settings }),
	fields.Table[*completionRequest]{
		fields.Extend(fields.Any("add_special_tokens", "boolean", "false leaves out what the tokenizer puts before a text. Default: true.", func(q *completionRequest, v fields.Value) error {
			add, err := v.Bool()
			q.bare = !add
			return err
		})),
		fields.Refuse[*completionRequest]("suffix", "models here do not fill gaps", `""`),
		fields.Refuse[*completionRequest]("response_format", "output can't be constrained yet: leave it out and ask for the form in a message", `{"type":"text"}`),
	},
	accepted[*completionRequest](),
)

// usualTokens is OpenAI's default of max_tokens.
const usualTokens = 16

func readCompletion(body []byte) (*completionRequest, error) {
	q, err := fields.ReadBody(completionFields, body)
	if err != nil {
		return nil, err
	}
	if q.MaxTokens == nil {
		n := usualTokens
		q.MaxTokens = &n
	}
	n := len(q.prompts) * q.Choices()
	switch {
	case n == 0:
		return nil, &fields.Error{Path: "prompt", Reason: "expected a text, or tokens"}
	case n > answer.MaxChoices:
		return nil, &fields.Error{Path: "n", Reason: fmt.Sprintf("expected at most %d answers in all, found %d prompts with %d each", answer.MaxChoices, len(q.prompts), q.Choices())}
	case *q.MaxTokens == 0 && !q.echo:
		return nil, &fields.Error{Path: "max_tokens", Reason: "expected at least 1 without echo, found 0"}
	}
	return q, q.streaming.check()
}

// complete answers /v1/completions.
func (h *handler) complete(w http.ResponseWriter, r *http.Request, body []byte) error {
	q, err := readCompletion(body)
	if err != nil {
		return err
	}
	m, err := h.Model(q.model)
	if err != nil {
		return err
	}
	defer m.Release()
	c := completion{q: q, model: m.Model, head: openai.Completion{ID: newID("cmpl-"), Object: "text_completion", Created: now(), Model: q.model}}
	info := m.Model.Info()
	if err := q.Check(&info, q.stream); err != nil {
		return err
	}
	if err := c.prepare(&info, oip.Tenant(r.Context())); err != nil {
		return err
	}
	if q.stream {
		return h.streamCompletion(w, r, &c)
	}
	usage, err := answer.Run(r.Context(), c.model, c.requests, c.collect)
	if err != nil {
		return err
	}
	for i := range c.choices {
		ch := &c.choices[i]
		ch.Text = ch.text.String()
		if ch.logprobs != nil {
			ch.Logprobs = ch.logprobs.take()
		}
		c.head.Choices = append(c.head.Choices, ch.CompletionChoice)
	}
	c.head.Usage = c.usage(&usage)
	reply.JSON(w, http.StatusOK, &c.head)
	return nil
}

// completion is a request that is being answered.
type completion struct {
	q        *completionRequest
	model    textgen.Model
	head     openai.Completion
	requests []*textgen.Request
	choices  []completionChoice // n for each prompt, in their order
	echoed   [][]textgen.Token  // of each prompt, if their probabilities were asked for
}

type completionChoice struct {
	openai.CompletionChoice
	text     strings.Builder
	logprobs *textLogprobs
	begun    bool
}

// prepare makes the engine's requests.
func (c *completion) prepare(info *textgen.Info, tenant string) error {
	for i := range c.q.prompts {
		p := &c.q.prompts[i]
		if p.IDs == nil {
			p.IDs = answer.Encode(c.model.Tokenizer(), p.Text, !c.q.bare, info.Context-1)
		} else if c.q.echo {
			p.Text = c.model.Tokenizer().Decode(p.IDs, !c.q.KeepSpecial)
		}
		if err := answer.Fit(p.IDs, info); err != nil {
			return err
		}
		r := c.q.Request(p.IDs, info, usualTemperature, tenant)
		if c.q.echo && r.Logprobs >= 0 {
			r.PromptLogprobs = r.Logprobs
		}
		r.MaxTokens = max(r.MaxTokens, 1) // of an echo alone: one token comes with the prompt, and is left out
		c.requests = append(c.requests, r)
	}
	c.echoed = make([][]textgen.Token, len(c.requests))
	c.choices = make([]completionChoice, len(c.requests)*c.q.Choices())
	for i := range c.choices {
		c.choices[i].Index = i
		if c.q.Logprobs != nil {
			c.choices[i].logprobs = newTextLogprobs(c.model.Tokenizer(), c.q.KeepSpecial, c.q.echo)
		}
	}
	return nil
}

// take brings an event of a prompt into its choice, and gives the text that it adds.
func (c *completion) take(prompt int, e *textgen.Event) (ch *completionChoice, text string) {
	ch = &c.choices[prompt*c.q.Choices()+e.Choice]
	if e.Prompt != nil { // it comes once, and for all choices
		c.echoed[prompt] = slices.Clone(e.Prompt)
	}
	if !ch.begun && c.q.echo {
		text = c.q.prompts[prompt].Text
		if ch.logprobs != nil {
			ch.logprobs.add(c.requests[prompt].Prompt[0], nil, nil)
			ch.logprobs.addAll(c.echoed[prompt])
		}
	}
	ch.begun = true
	if *c.q.MaxTokens > 0 {
		text += e.Text
		if ch.logprobs != nil {
			ch.logprobs.addAll(e.Tokens)
		}
	}
	if e.Finish != "" {
		ch.FinishReason, ch.StopReason = given(string(e.Finish)), given(e.Stop)
		if *c.q.MaxTokens == 0 {
			ch.FinishReason = given(string(textgen.FinishLength))
		}
	}
	return ch, text
}

func (c *completion) collect(prompt int, e *textgen.Event) error {
	ch, text := c.take(prompt, e)
	ch.text.WriteString(text)
	return nil
}

func (c *completion) usage(u *textgen.Usage) *openai.Usage {
	if *c.q.MaxTokens == 0 {
		u.GeneratedTokens = 0
	}
	return usageOf(u)
}

// streamCompletion answers in pieces.
func (h *handler) streamCompletion(w http.ResponseWriter, r *http.Request, c *completion) error {
	out := reply.Events(w)
	defer out.Close()
	var sofar textgen.Usage
	for _, q := range c.requests {
		sofar.PromptTokens += len(q.Prompt)
	}
	c.head.Choices = make([]openai.CompletionChoice, 1)
	usage, err := answer.Run(r.Context(), c.model, c.requests, func(prompt int, e *textgen.Event) error {
		ch, text := c.take(prompt, e)
		ch.Text = text
		if ch.logprobs != nil {
			ch.Logprobs = ch.logprobs.take()
		}
		sofar.GeneratedTokens += len(e.Tokens)
		if c.q.runningUsage {
			c.head.Usage = c.usage(&sofar)
		}
		c.head.Choices[0] = ch.CompletionChoice
		return out.Send(&c.head)
	})
	if err != nil {
		return h.failStream(out, err)
	}
	if c.q.usage {
		c.head.Choices, c.head.Usage = []openai.CompletionChoice{}, c.usage(&usage)
		out.Send(&c.head)
	}
	out.SendText("[DONE]")
	return nil
}
