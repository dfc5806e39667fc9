package openaiapi

import (
	"net/http"

	"github.com/salver-ml/salver/api/openai"
	"github.com/salver-ml/salver/internal/chat"
	"github.com/salver-ml/salver/internal/openaiapi/answer"
	"github.com/salver-ml/salver/internal/openaiapi/reply"
	"github.com/salver-ml/salver/internal/textgen"
)

// wholeChat answers with all at once.
func (h *handler) wholeChat(w http.ResponseWriter, r *http.Request, q *chatRequest, m textgen.Model, turn *answer.Turn) error {
	a := openai.ChatCompletion{ID: newID("chatcmpl-"), Object: "chat.completion", Created: now(), Model: q.model}
	logprobs := make([]*openai.ChatLogprobs, q.Choices())
	messages, usage, err := turn.Collect(r.Context(), func(p *answer.Piece) {
		if q.logprobs {
			if logprobs[p.Choice] == nil {
				logprobs[p.Choice] = new(openai.ChatLogprobs)
			}
			l := logprobs[p.Choice]
			l.Content = append(l.Content, chatLogprobs(m, p.Tokens)...)
		}
	})
	if err != nil {
		return err
	}
	for i := range messages {
		c := openai.ChatChoice{Index: i, Message: chatMessage(&messages[i]), Logprobs: logprobs[i], FinishReason: messages[i].Finish}
		c.StopReason = given(messages[i].Stop)
		a.Choices = append(a.Choices, c)
	}
	a.Usage = *chatUsage(usage, turn)
	reply.JSON(w, http.StatusOK, &a)
	return nil
}

func chatMessage(m *answer.Message) openai.ChatMessage {
	out := openai.ChatMessage{Role: "assistant", Reasoning: m.Reasoning}
	if m.Content != "" || len(m.Calls) == 0 {
		out.Content = &m.Content
	}
	for _, c := range m.Calls {
		out.ToolCalls = append(out.ToolCalls, openai.ToolCall{ID: c.ID, Type: "function", Function: openai.FunctionCall{Name: c.Name, Arguments: c.Arguments}})
	}
	return out
}

// given is a text, or nil if it is empty.
func given(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func usageOf(u *textgen.Usage) *openai.Usage {
	return &openai.Usage{
		PromptTokens: u.PromptTokens, CompletionTokens: u.GeneratedTokens, TotalTokens: u.PromptTokens + u.GeneratedTokens,
		PromptDetails: &openai.PromptDetails{CachedTokens: u.CachedTokens},
	}
}

// chatUsage says also how much of a chat's answers was reasoning.
func chatUsage(u *textgen.Usage, t *answer.Turn) *openai.Usage {
	out := usageOf(u)
	out.Details = &openai.OutputDetails{ReasoningTokens: t.Reasoning}
	return out
}

// chatStream writes a chat's next message in pieces.
type chatStream struct {
	q      *chatRequest
	model  textgen.Model
	turn   *answer.Turn
	out    *reply.Stream
	chunk  openai.ChatChunk // with one choice
	begun  []bool           // choices whose role was sent
	held   [][]openai.TokenLogprob
	tokens textgen.Usage // so far
}

func (h *handler) streamChat(w http.ResponseWriter, r *http.Request, q *chatRequest, m textgen.Model, turn *answer.Turn) error {
	s := chatStream{
		q: q, model: m, turn: turn, out: reply.Events(w), begun: make([]bool, q.Choices()), held: make([][]openai.TokenLogprob, q.Choices()),
		chunk:  openai.ChatChunk{ID: newID("chatcmpl-"), Object: "chat.completion.chunk", Created: now(), Model: q.model, Choices: make([]openai.ChatChunkChoice, 1)},
		tokens: textgen.Usage{PromptTokens: len(turn.Request.Prompt)},
	}
	defer s.out.Close()
	usage, err := turn.Run(r.Context(), s.piece)
	if err != nil {
		return h.failStream(s.out, err)
	}
	if q.usage {
		s.chunk.Choices, s.chunk.Usage = []openai.ChatChunkChoice{}, chatUsage(usage, turn)
		s.out.Send(&s.chunk)
	}
	s.out.SendText("[DONE]")
	return nil
}

// failStream ends a stream with an error; one that has not begun is refused
// with the error's status.
func (h *handler) failStream(out *reply.Stream, err error) error {
	if !out.Began() {
		return err
	}
	if p := answer.AsProblem(err, h.Log); p.Status != answer.StatusCanceled {
		out.Send(errorBody(p))
	}
	return nil
}

// piece sends what a choice gained.
func (s *chatStream) piece(p *answer.Piece) error {
	s.tokens.GeneratedTokens += len(p.Tokens)
	if s.q.logprobs {
		s.held[p.Choice] = append(s.held[p.Choice], chatLogprobs(s.model, p.Tokens)...)
	}
	if !s.begun[p.Choice] {
		s.begun[p.Choice] = true
		if err := s.send(p.Choice, openai.ChatDelta{Role: "assistant", Content: new(string)}, nil); err != nil {
			return err
		}
	}
	for i := range p.Deltas {
		if err := s.send(p.Choice, chatDelta(&p.Deltas[i]), s.logprobs(p.Choice)); err != nil {
			return err
		}
	}
	if p.Finish == "" {
		return nil
	}
	c := &s.chunk.Choices[0]
	c.FinishReason, c.StopReason = &p.Finish, given(p.Stop)
	defer func() { c.FinishReason, c.StopReason = nil, nil }()
	return s.send(p.Choice, openai.ChatDelta{}, s.logprobs(p.Choice))
}

// logprobs are those of the tokens that no piece has had yet, if there are any.
func (s *chatStream) logprobs(choice int) *openai.ChatLogprobs {
	held := s.held[choice]
	if len(held) == 0 {
		return nil
	}
	s.held[choice] = nil
	return &openai.ChatLogprobs{Content: held}
}

func (s *chatStream) send(choice int, d openai.ChatDelta, l *openai.ChatLogprobs) error {
	c := &s.chunk.Choices[0]
	c.Index, c.Delta, c.Logprobs = choice, d, l
	if s.q.runningUsage {
		s.chunk.Usage = chatUsage(&s.tokens, s.turn)
	}
	return s.out.Send(&s.chunk)
}

func chatDelta(d *chat.Delta) openai.ChatDelta {
	out := openai.ChatDelta{Reasoning: d.Reasoning, Content: given(d.Content)}
	for _, c := range d.ToolCalls {
		t := openai.ToolCall{Index: &c.Index, ID: c.ID, Function: openai.FunctionCall{Name: c.Name, Arguments: c.Arguments}}
		if c.ID != "" {
			t.Type = "function"
		}
		out.ToolCalls = append(out.ToolCalls, t)
	}
	return out
}
