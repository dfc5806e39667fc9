package rest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/salver-ml/salver/internal/serve"
)

// Values of headers, shared so that they are not made for each answer.
var (
	typeJSON   = []string{"application/json"}
	typeBinary = []string{"application/octet-stream"}
)

// statusCanceled is what nginx calls it; the client that could read it is gone.
const statusCanceled = 499

var statusOf = [...]int{
	serve.Internal:          http.StatusInternalServerError,
	serve.InvalidArgument:   http.StatusBadRequest,
	serve.NotFound:          http.StatusNotFound,
	serve.Unavailable:       http.StatusServiceUnavailable,
	serve.ResourceExhausted: http.StatusTooManyRequests,
	serve.DeadlineExceeded:  http.StatusGatewayTimeout,
	serve.Canceled:          statusCanceled,
}

// fail answers with an error of the core, and logs those that are the server's fault.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := serve.AsError(err)
	if e.Kind == serve.Internal {
		h.log.Error("a request failed", "method", r.Method, "path", r.URL.Path, "error", e.Message, "cause", e.Err)
	}
	if e.Kind == serve.ResourceExhausted || e.Kind == serve.Unavailable {
		seconds := (e.RetryAfter + time.Second - 1) / time.Second
		w.Header().Set("Retry-After", strconv.Itoa(int(max(seconds, 1))))
	}
	h.replyError(w, statusOf[e.Kind], e.Message)
}

// replyError answers with the protocol's error object.
func (h *Handler) replyError(w http.ResponseWriter, status int, message string) {
	if a, ok := w.(*apiWriter); ok && a.api.Fail != nil {
		a.api.Fail(w, status, message)
		return
	}
	h.reply(w, status, struct {
		Error string `json:"error"`
	}{message})
}

// reply answers with JSON.
func (h *Handler) reply(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil { // only for values that the server itself made wrongly
		panic(err)
	}
	head := w.Header()
	head["Content-Type"] = typeJSON
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	h.writeTimed(w, w, b) // an error means that the client is gone
}
