package answer

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/salver-ml/salver/internal/openaiapi/fields"
	"github.com/salver-ml/salver/internal/openaiapi/reply"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/textgen"
)

// Problem is why a request is not answered; each protocol words it in its own form.
type Problem struct {
	Status     int
	Message    string
	Param      string // the field of the request, if it is one's
	Code       string // for programs: OpenAI's where it has one
	RetryAfter time.Duration
}

// Error is the message, with the field.
func (p *Problem) Error() string {
	if p.Param != "" {
		return p.Param + ": " + p.Message
	}
	return p.Message
}

// StatusCanceled answers a client that has gone.
const StatusCanceled = 499

// AsProblem gives any error a status. What is the server's fault goes to the
// log, and not to the client.
func AsProblem(err error, log *slog.Logger) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	if e, ok := errors.AsType[*fields.Error](err); ok {
		return &Problem{Status: http.StatusBadRequest, Message: e.Reason, Param: e.Path}
	}
	if e, ok := errors.AsType[*serve.Error](err); ok {
		return served(e, log)
	}
	if e, ok := errors.AsType[*textgen.RequestError](err); ok {
		p := &Problem{Status: http.StatusBadRequest, Message: e.Message, Param: e.Field}
		if e.TooLong {
			p.Code = "context_length_exceeded"
		}
		return p
	}
	if e, ok := errors.AsType[*textgen.FullError](err); ok {
		return &Problem{Status: http.StatusTooManyRequests, Message: e.Error(), RetryAfter: e.RetryAfter}
	}
	switch {
	case errors.Is(err, textgen.ErrClosed):
		return &Problem{Status: http.StatusServiceUnavailable, Message: err.Error()}
	case errors.Is(err, context.Canceled), errors.Is(err, reply.ErrGone):
		return &Problem{Status: StatusCanceled, Message: reply.ErrGone.Error()}
	}
	return served(&serve.Error{Kind: serve.Internal, Err: err}, log)
}

var statusOf = map[serve.Kind]int{
	serve.InvalidArgument: http.StatusBadRequest, serve.NotFound: http.StatusNotFound, serve.Unavailable: http.StatusServiceUnavailable,
	serve.ResourceExhausted: http.StatusTooManyRequests, serve.DeadlineExceeded: http.StatusGatewayTimeout, serve.Canceled: StatusCanceled,
}

func served(e *serve.Error, log *slog.Logger) *Problem {
	p := &Problem{Status: statusOf[e.Kind], Message: e.Message, RetryAfter: e.RetryAfter}
	switch e.Kind {
	case serve.NotFound:
		p.Param, p.Code = "model", "model_not_found"
	case serve.InvalidArgument:
		p.Param = "model" // all that the core is asked for is a model
	case serve.Internal:
		log.Error("a request for text failed", "error", e.Message, "cause", e.Err)
		p.Status, p.Message = http.StatusInternalServerError, "the server failed to answer this request; its log says more"
	}
	return p
}

// SetRetryAfter says in the header when to try again.
func (p *Problem) SetRetryAfter(h http.Header) {
	if p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable {
		seconds := (p.RetryAfter + time.Second - 1) / time.Second
		h.Set("Retry-After", strconv.Itoa(int(max(seconds, 1))))
	}
}
