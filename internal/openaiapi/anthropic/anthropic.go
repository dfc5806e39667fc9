// Package anthropic answers Anthropic's Messages API: a thin layer over the
// same models. docs/OPENAI_API.md has its fields.
package anthropic

import (
	"net/http"

	"github.com/salver-ml/salver/internal/oip"
	"github.com/salver-ml/salver/internal/openaiapi/answer"
	"github.com/salver-ml/salver/internal/openaiapi/reply"
	"github.com/salver-ml/salver/internal/rest"
)

type handler struct{ *answer.Server }

// API is the protocol, to be mounted on the HTTP port.
func API(s *answer.Server) rest.API {
	h := &handler{s}
	post := func(pattern string, serve func(http.ResponseWriter, *http.Request, []byte) error) rest.Route {
		return rest.Route{Method: "POST", Pattern: pattern, Access: oip.Use, Serve: func(w http.ResponseWriter, r *http.Request, body []byte) {
			if err := serve(w, r, body); err != nil {
				fail(w, answer.AsProblem(err, h.Log))
			}
		}}
	}
	return rest.API{
		Fail: func(w http.ResponseWriter, status int, message string) {
			fail(w, &answer.Problem{Status: status, Message: message})
		},
		Routes: []rest.Route{post("/v1/messages", h.messages), post("/v1/messages/count_tokens", h.count)},
	}
}

type errorBody struct {
	Type  string      `json:"type"` // error
	Error errorDetail `json:"error"`
}

type errorDetail struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

func fail(w http.ResponseWriter, p *answer.Problem) {
	p.SetRetryAfter(w.Header())
	reply.JSON(w, p.Status, newError(p))
}

func newError(p *answer.Problem) *errorBody {
	return &errorBody{"error", errorDetail{errorType(p.Status), p.Error()}}
}

// errorType is Anthropic's name for a class of errors.
func errorType(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusForbidden:
		return "permission_error"
	case http.StatusNotFound:
		return "not_found_error"
	case http.StatusRequestEntityTooLarge:
		return "request_too_large"
	case http.StatusTooManyRequests:
		return "rate_limit_error"
	case http.StatusServiceUnavailable:
		return "overloaded_error"
	}
	if status >= 500 {
		return "api_error"
	}
	return "invalid_request_error"
}

// usualTemperature is Anthropic's default.
const usualTemperature = 1

// messages answers /v1/messages.
func (h *handler) messages(w http.ResponseWriter, r *http.Request, body []byte) error {
	q, err := read(body, true)
	if err != nil {
		return err
	}
	m, turn, err := h.Turn(r.Context(), q.model, &q.Conversation, &q.Settings, q.stream, usualTemperature)
	if err != nil {
		return err
	}
	defer m.Release()
	b := newBuilder(q.model)
	if q.stream {
		b.out = reply.Events(w)
		defer b.out.Close()
		b.message.Usage.InputTokens = len(turn.Request.Prompt)
	}
	usage, err := turn.Run(r.Context(), b.piece)
	switch {
	case err == nil:
		b.finish(usage)
	case b.out == nil || !b.out.Began():
		return err
	default:
		if p := answer.AsProblem(err, h.Log); p.Status != answer.StatusCanceled {
			b.out.SendAs("error", newError(p))
		}
	}
	if !q.stream {
		reply.JSON(w, http.StatusOK, &b.message)
	}
	return nil
}

// count answers /v1/messages/count_tokens.
func (h *handler) count(w http.ResponseWriter, r *http.Request, body []byte) error {
	q, err := read(body, false)
	if err != nil {
		return err
	}
	m, err := h.Model(q.model)
	if err != nil {
		return err
	}
	defer m.Release()
	_, _, ids, err := answer.Prompt(m.Model, &q.Conversation, 0)
	if err != nil {
		return err
	}
	reply.JSON(w, http.StatusOK, struct {
		InputTokens int `json:"input_tokens"`
	}{len(ids)})
	return nil
}
