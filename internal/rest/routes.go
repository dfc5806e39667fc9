package rest

import (
	"net/http"
	"strings"

	"github.com/salver-ml/salver/internal/oip"
)

// route is one line of the API.
type route struct {
	method  string // GET stands for HEAD too
	pattern string // segments; {model} and {version} stand for any, a last {rest} for any number
	access  oip.Access
	serve   func(h *Handler, w http.ResponseWriter, r *http.Request, p params)

	segments []string
	api      *API // nil: the Open Inference Protocol
}

// params are the parts of a path that a pattern leaves open.
type params struct {
	model, version string
}

// routes are tried in order: the most frequent ones come first.
var routes []route

func init() {
	routes = []route{
		{"POST", "/v2/models/{model}/infer", oip.Use, (*Handler).infer, nil, nil},
		{"POST", "/v2/models/{model}/versions/{version}/infer", oip.Use, (*Handler).infer, nil, nil},

		{"GET", "/v2", oip.Use, (*Handler).serverMetadata, nil, nil},
		{"GET", "/v2/health/live", oip.Public, (*Handler).live, nil, nil},
		{"GET", "/v2/health/ready", oip.Public, (*Handler).ready, nil, nil},
		{"GET", "/healthz", oip.Public, (*Handler).live, nil, nil},
		{"GET", "/health", oip.Public, (*Handler).ready, nil, nil}, // of vLLM and llama.cpp's server
		{"GET", "/metrics", oip.Use, (*Handler).metrics, nil, nil},

		{"GET", "/v2/models/stats", oip.Use, (*Handler).statistics, nil, nil},
		{"GET", "/v2/models/{model}", oip.Use, (*Handler).modelMetadata, nil, nil},
		{"GET", "/v2/models/{model}/versions/{version}", oip.Use, (*Handler).modelMetadata, nil, nil},
		{"GET", "/v2/models/{model}/ready", oip.Use, (*Handler).modelReady, nil, nil},
		{"GET", "/v2/models/{model}/versions/{version}/ready", oip.Use, (*Handler).modelReady, nil, nil},
		{"GET", "/v2/models/{model}/config", oip.Use, (*Handler).modelConfig, nil, nil},
		{"GET", "/v2/models/{model}/versions/{version}/config", oip.Use, (*Handler).modelConfig, nil, nil},
		{"GET", "/v2/models/{model}/stats", oip.Use, (*Handler).statistics, nil, nil},
		{"GET", "/v2/models/{model}/versions/{version}/stats", oip.Use, (*Handler).statistics, nil, nil},

		{"POST", "/v2/repository/index", oip.Use, (*Handler).index, nil, nil},
		{"POST", "/v2/repository/models/{model}/load", oip.Admin, (*Handler).load, nil, nil},
		{"POST", "/v2/repository/models/{model}/unload", oip.Admin, (*Handler).unload, nil, nil},

		// Extensions of Triton's that are not here answer so.
		{"", "/v2/systemsharedmemory/{rest}", oip.Use, unsupported("shared-memory regions"), nil, nil},
		{"", "/v2/cudasharedmemory/{rest}", oip.Use, unsupported("shared-memory regions"), nil, nil},
		{"", "/v2/trace/setting", oip.Use, unsupported("trace settings"), nil, nil},
		{"", "/v2/models/{model}/trace/setting", oip.Use, unsupported("trace settings"), nil, nil},
		{"", "/v2/logging", oip.Use, unsupported("log settings"), nil, nil},
	}
	for i := range routes {
		routes[i].cut()
	}
}

func (rt *route) cut() { rt.segments = strings.Split(rt.pattern[1:], "/") }

// maxSegments is more than the longest pattern has.
const maxSegments = 8

// path is a path's segments.
type path struct {
	seg [maxSegments]string
	n   int
}

// split cuts a path at its slashes; the last segment holds the rest of a path
// with too many. One slash at the end is ignored.
func split(s string) (p path) {
	s = strings.TrimPrefix(s, "/")
	s = strings.TrimSuffix(s, "/")
	for p.n < maxSegments-1 {
		i := strings.IndexByte(s, '/')
		if i < 0 {
			break
		}
		p.seg[p.n], s = s[:i], s[i+1:]
		p.n++
	}
	p.seg[p.n] = s
	p.n++
	return p
}

// match finds the route of a request. Where the path is known but not for that
// method, allow lists the methods.
func (h *Handler) match(method string, p *path) (rt *route, ps params, allow string) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for i := range len(routes) + len(h.mounted) {
		if i < len(routes) {
			rt = &routes[i]
		} else {
			rt = &h.mounted[i-len(routes)]
		}
		if !rt.fits(p, &ps) {
			continue
		}
		if rt.method == method || rt.method == "" {
			return rt, ps, ""
		}
		allow = rt.method
		if allow == http.MethodGet {
			allow = "GET, HEAD"
		}
	}
	return nil, params{}, allow
}

func (rt *route) fits(p *path, ps *params) bool {
	last := len(rt.segments) - 1
	if p.n != last+1 && !(rt.segments[last] == "{rest}" && p.n >= last) {
		return false
	}
	for i, s := range rt.segments {
		switch s {
		case "{model}":
			ps.model = p.seg[i]
		case "{version}":
			ps.version = p.seg[i]
		case "{rest}":
			return true
		default:
			if s != p.seg[i] {
				return false
			}
		}
	}
	return true
}

// isAPI reports whether a path belongs to the API, so that what is unknown there is an API error.
func isAPI(p *path) bool { return p.seg[0] == "v1" || p.seg[0] == "v2" || p.seg[0] == "metrics" }
