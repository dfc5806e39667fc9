// Package ollama answers Ollama's API: a thin layer over the same models.
// docs/OPENAI_API.md has its fields.
package ollama

import (
	"net/http"
	"time"

	"github.com/salver-ml/salver/internal/oip"
	"github.com/salver-ml/salver/internal/openaiapi/answer"
	"github.com/salver-ml/salver/internal/openaiapi/reply"
	"github.com/salver-ml/salver/internal/rest"
	"github.com/salver-ml/salver/internal/textgen"
)

type handler struct{ *answer.Server }

// API is the protocol, to be mounted on the HTTP port.
func API(s *answer.Server) rest.API {
	h := &handler{s}
	route := func(method, pattern string, serve func(http.ResponseWriter, *http.Request, []byte) error) rest.Route {
		return rest.Route{Method: method, Pattern: pattern, Access: oip.Use, Serve: func(w http.ResponseWriter, r *http.Request, body []byte) {
			if err := serve(w, r, body); err != nil {
				fail(w, answer.AsProblem(err, h.Log))
			}
		}}
	}
	return rest.API{
		Roots: []string{"api"},
		Fail: func(w http.ResponseWriter, status int, message string) {
			fail(w, &answer.Problem{Status: status, Message: message})
		},
		Routes: []rest.Route{
			route("POST", "/api/chat", h.chat), route("POST", "/api/generate", h.generate), route("POST", "/api/embed", h.embed), route("POST", "/api/embeddings", h.embedOne),
			route("GET", "/api/tags", h.tags), route("GET", "/api/ps", h.tags), route("POST", "/api/show", h.show), route("GET", "/api/version", h.version),
		},
	}
}

type errorBody struct {
	Error string `json:"error"`
}

func fail(w http.ResponseWriter, p *answer.Problem) {
	p.SetRetryAfter(w.Header())
	reply.JSON(w, p.Status, errorBody{p.Error()})
}

// line is a whole answer, or a piece of one.
type line struct {
	Model      string    `json:"model"`
	CreatedAt  time.Time `json:"created_at"`
	Message    *message  `json:"message,omitempty"`  // of a chat
	Response   *string   `json:"response,omitempty"` // of a generation
	Thinking   string    `json:"thinking,omitempty"` // likewise
	Done       bool      `json:"done"`
	DoneReason string    `json:"done_reason,omitempty"` // stop, length, load
	*timing
}

type message struct {
	Role     string     `json:"role"`
	Content  string     `json:"content"`
	Thinking string     `json:"thinking,omitempty"`
	Calls    []toolCall `json:"tool_calls,omitempty"`
}

type toolCall struct {
	ID       string       `json:"id,omitempty"`
	Function functionCall `json:"function"`
}

// timing is what an answer took, in nanoseconds and tokens.
type timing struct {
	TotalDuration      int64 `json:"total_duration"`
	LoadDuration       int64 `json:"load_duration"`
	PromptEvalCount    int   `json:"prompt_eval_count"`
	PromptEvalDuration int64 `json:"prompt_eval_duration"`
	EvalCount          int   `json:"eval_count"`
	EvalDuration       int64 `json:"eval_duration"`
}

func newTiming(u *textgen.Usage) *timing {
	return &timing{
		TotalDuration: int64(u.Total), LoadDuration: int64(u.Queue), PromptEvalCount: u.PromptTokens, EvalCount: u.GeneratedTokens,
		PromptEvalDuration: int64(max(u.FirstToken-u.Queue, 0)), EvalDuration: int64(max(u.Total-u.FirstToken, 0)),
	}
}

// usualTemperature is Ollama's default.
const usualTemperature = 0.8

// chat answers /api/chat.
func (h *handler) chat(w http.ResponseWriter, r *http.Request, body []byte) error {
	q, err := readChat(body)
	if err != nil {
		return err
	}
	if len(q.Messages) == 0 {
		return h.loaded(w, q.model, func(l *line) { l.Message = &message{Role: "assistant"} })
	}
	return h.answer(w, r, &q.request, func(l *line, p *piece) {
		l.Message = &message{Role: "assistant", Content: p.content, Thinking: p.thinking, Calls: p.calls}
	})
}

// generate answers /api/generate.
func (h *handler) generate(w http.ResponseWriter, r *http.Request, body []byte) error {
	q, err := readGenerate(body)
	if err != nil {
		return err
	}
	form := func(l *line, p *piece) { l.Response, l.Thinking = &p.content, p.thinking }
	switch {
	case q.prompt == "":
		return h.loaded(w, q.model, func(l *line) { form(l, new(piece)) })
	case q.raw:
		return h.raw(w, r, q, form)
	}
	return h.answer(w, r, &q.request, form)
}

// loaded answers a request that only wants the model to be loaded, as it is.
func (h *handler) loaded(w http.ResponseWriter, model string, form func(*line)) error {
	m, err := h.Model(model)
	if err != nil {
		return err
	}
	m.Release()
	l := line{Model: model, CreatedAt: time.Now().UTC(), Done: true, DoneReason: "load"}
	form(&l)
	reply.JSON(w, http.StatusOK, &l)
	return nil
}

// answer continues a conversation. form brings a piece into a line.
func (h *handler) answer(w http.ResponseWriter, r *http.Request, q *request, form func(*line, *piece)) error {
	if err := q.checkWindow(); err != nil {
		return err
	}
	m, t, err := h.Turn(r.Context(), q.model, &q.Conversation, &q.Settings, !q.whole, usualTemperature)
	if err != nil {
		return err
	}
	defer m.Release()
	s := newSink(w, q, form)
	usage, err := t.Run(r.Context(), s.turn)
	return h.end(w, s, usage, err)
}

// raw continues a text as it is.
func (h *handler) raw(w http.ResponseWriter, r *http.Request, q *generateRequest, form func(*line, *piece)) error {
	if err := q.checkWindow(); err != nil {
		return err
	}
	m, err := h.Model(q.model)
	if err != nil {
		return err
	}
	defer m.Release()
	info := m.Model.Info()
	if err := q.Check(&info, !q.whole); err != nil {
		return err
	}
	ids := answer.Encode(m.Model.Tokenizer(), q.prompt, true, info.Context-1)
	if err := answer.Fit(ids, &info); err != nil {
		return err
	}
	s := newSink(w, &q.request, form)
	usage, err := m.Model.Generate(r.Context(), q.Request(ids, &info, usualTemperature, oip.Tenant(r.Context())), func(e *textgen.Event) error {
		return s.add(&piece{content: e.Text, finish: string(e.Finish)})
	})
	return h.end(w, s, usage, err)
}

// end sends what is left, or the error.
func (h *handler) end(w http.ResponseWriter, s *sink, usage *textgen.Usage, err error) error {
	switch {
	case err == nil:
		s.finish(w, usage)
	case s.out == nil || !s.out.Began():
		return err
	default:
		if p := answer.AsProblem(err, h.Log); p.Status != answer.StatusCanceled {
			s.out.Send(errorBody{p.Error()})
		}
	}
	return nil
}
