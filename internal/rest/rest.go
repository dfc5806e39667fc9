// Package rest is the HTTP transport: the Open Inference Protocol with Triton's
// extensions over a serve.Core. docs/HTTP_API.md describes it to clients.
package rest

import (
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/salver-ml/salver/internal/limit"
	"github.com/salver-ml/salver/internal/oip"
	"github.com/salver-ml/salver/internal/serve"
)

// Options configure the handler; the zero value serves the protocol alone.
type Options struct {
	Name    string // the server's, in its metadata; "" is "salver"
	Version string

	// MaxBody bounds a request's body in bytes, as sent and decompressed; 0 is 64 MiB.
	MaxBody int64
	// BodyTimeout bounds the time in which the next 256 KiB of a body have to
	// come; 0 is 30 s. A model's execution is not bounded by it.
	BodyTimeout time.Duration
	// WriteTimeout bounds the time a client may take to accept each part of an answer; 0 is 60 s.
	WriteTimeout time.Duration

	Authorize oip.Authorizer
	Tenant    func(key string) string // the name of whoever has a key, for the APIs; nil: all are one
	InFlight  *limit.InFlight         // bounds the requests that are answered at once, but for the public ones; nil: no bound
	// Hosts are the values of the Host header that are served, without port;
	// none means any. A server on the loopback interface should name its own, so that
	// no web page can reach it through a name of its own (DNS rebinding).
	Hosts []string

	// Metrics answers /metrics, and Pages / and all that is not the API's; nil is
	// 404. A handler that writes for longer than WriteTimeout moves the deadline
	// itself, with an http.ResponseController.
	Metrics, Pages http.Handler
	APIs           []API // further protocols

	Log *slog.Logger // nil discards
}

// Handler answers HTTP requests. It is safe for concurrent use.
type Handler struct {
	core   *serve.Core
	opts   Options
	log    *slog.Logger
	origin *http.CrossOriginProtection
	calls  sync.Pool // of *call

	mounted []route // those of Options.APIs

	draining atomic.Bool
}

// New makes the handler.
func New(core *serve.Core, o Options) *Handler {
	if o.Name == "" {
		o.Name = "salver"
	}
	if o.MaxBody == 0 {
		o.MaxBody = 64 << 20
	}
	if o.BodyTimeout == 0 {
		o.BodyTimeout = 30 * time.Second
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 60 * time.Second
	}
	h := &Handler{core: core, opts: o, log: o.Log, origin: http.NewCrossOriginProtection()}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	h.calls.New = func() any { return new(call) }
	h.mount(o.APIs)
	return h
}

// ServeHTTP answers a request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() { h.recover(recover(), w, r) }()
	if h.draining.Load() {
		w.Header().Set("Connection", "close")
	}
	if r.ContentLength != 0 {
		// Also the HTTP server reads what a handler leaves of the body.
		setReadDeadline(w, time.Now().Add(h.opts.BodyTimeout))
	}
	path := split(r.URL.Path)
	rt, p, allow := h.match(r.Method, &path)
	api := h.apiOf(rt, &path)
	if api != nil {
		w = &apiWriter{ResponseWriter: w, h: h, api: api}
	}
	page := h.opts.Pages != nil && api == nil && !isAPI(&path)
	access := oip.Use
	switch {
	case rt != nil:
		access = rt.access
	case allow == "" && page:
		access = oip.Public // the pages hold nothing of the server's: they ask for a key and call the API with it
	}
	if !h.admit(w, r, access) {
		return
	}
	if f := h.opts.InFlight; f != nil && access != oip.Public {
		if !f.Enter() {
			h.fail(w, r, serve.Errorf(serve.ResourceExhausted, "the server is answering its maximum of %d requests; try again later", f.Max))
			return
		}
		defer f.Leave()
	}
	switch {
	case rt != nil:
		rt.serve(h, w, r, p)
	case allow != "":
		w.Header().Set("Allow", allow)
		h.replyError(w, http.StatusMethodNotAllowed, "expected "+allow+" for "+r.URL.Path+", found "+r.Method)
	case page:
		h.limitWrite(w, r, h.opts.Pages)
	case api != nil:
		h.replyError(w, http.StatusNotFound, "there is nothing at "+r.URL.Path+"; there are "+api.patterns())
	default:
		h.replyError(w, http.StatusNotFound, "there is nothing at "+r.URL.Path+"; the API begins at /v2")
	}
}

// recover answers a request whose handling panicked; the server goes on.
func (h *Handler) recover(p any, w http.ResponseWriter, r *http.Request) {
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		panic(p)
	}
	h.log.Error("a request's handling panicked", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
	if a, ok := w.(*apiWriter); ok && a.wrote {
		panic(http.ErrAbortHandler) // a stream that breaks off is not taken for a whole one
	}
	h.replyError(w, http.StatusInternalServerError, "the server failed to handle this request; its log says more")
}
