package rest

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/salver-ml/salver/internal/oip"
)

// API is a further protocol on the port. The same holds for it as for the rest:
// hosts and origins, keys, requests in flight, the size and time of bodies, the
// time to accept answers, the end without losing a request.
type API struct {
	// Roots are first segments of paths, such as "v1". What is unknown below them is an error in this API's form.
	Roots  []string
	Routes []Route
	// Fail answers with an error in the protocol's form; nil is {"error":message}.
	// A Retry-After header is already set where there should be one.
	Fail func(w http.ResponseWriter, status int, message string)
}

// Route is a line of an API.
type Route struct {
	Method  string // GET stands for HEAD too
	Pattern string // as "/v1/models/{model}"; {model} and {version} are the request's PathValues
	Access  oip.Access
	// Serve answers. The body has been read, decompressed, and is valid until
	// Serve returns. The request's context ends when the client goes.
	Serve func(w http.ResponseWriter, r *http.Request, body []byte)
}

// patterns lists the paths of the routes.
func (a *API) patterns() string {
	var list []string
	for _, rt := range a.Routes {
		if !slices.Contains(list, rt.Pattern) {
			list = append(list, rt.Pattern)
		}
	}
	return strings.Join(list, ", ")
}

// mount makes the routes of the APIs.
func (h *Handler) mount(apis []API) {
	for i := range apis {
		a := &apis[i]
		for _, rt := range a.Routes {
			m := route{method: rt.Method, pattern: rt.Pattern, access: rt.Access, api: a,
				serve: func(h *Handler, w http.ResponseWriter, r *http.Request, p params) { h.serveMounted(w, r, p, rt.Serve) }}
			m.cut()
			h.mounted = append(h.mounted, m)
		}
	}
}

// apiOf is the API that a path belongs to; nil if to none of those mounted.
func (h *Handler) apiOf(rt *route, p *path) *API {
	if rt != nil {
		return rt.api
	}
	for i := range h.opts.APIs {
		if a := &h.opts.APIs[i]; slices.Contains(a.Roots, p.seg[0]) {
			return a
		}
	}
	return nil
}

func (h *Handler) serveMounted(w http.ResponseWriter, r *http.Request, p params, serve func(http.ResponseWriter, *http.Request, []byte)) {
	c := h.calls.Get().(*call)
	defer h.put(c)
	body, err := c.read(h, w, r, 0, h.opts.MaxBody)
	if err != nil {
		h.failRead(w, r, err)
		return
	}
	if h.opts.Tenant != nil {
		r = r.WithContext(oip.WithTenant(r.Context(), h.opts.Tenant(apiKey(r))))
	}
	r.SetPathValue("model", p.model)
	r.SetPathValue("version", p.version)
	defer setWriteDeadline(w, time.Time{})
	serve(w, r, body)
}

// apiWriter is what a mounted API writes to: each piece has its time, however
// long the whole answer takes.
type apiWriter struct {
	http.ResponseWriter
	h     *Handler
	api   *API
	wrote bool
}

// Unwrap lets an http.ResponseController reach the connection.
func (w *apiWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *apiWriter) Write(p []byte) (n int, err error) {
	w.wrote = true
	for {
		setWriteDeadline(w.ResponseWriter, time.Now().Add(w.h.opts.WriteTimeout))
		m, err := w.ResponseWriter.Write(p[n:min(len(p), n+writePiece)])
		n += m
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

// FlushError sends what was written, in the time of the last piece.
func (w *apiWriter) FlushError() error {
	return http.NewResponseController(w.ResponseWriter).Flush()
}
