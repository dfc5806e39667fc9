package rest

import (
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/oip"
)

// admit answers requests that may not be served, and reports whether this one may.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request, a oip.Access) bool {
	if len(h.opts.Hosts) > 0 && !slices.Contains(h.opts.Hosts, hostname(r.Host)) {
		h.replyError(w, http.StatusMisdirectedRequest, "the host "+r.Host+" is not served here")
		return false
	}
	// A browser sends requests for any page it shows, with its user's
	// credentials and from inside the user's network; those of other sites may not change anything.
	if err := h.origin.Check(r); err != nil {
		h.replyError(w, http.StatusForbidden, "requests of other web sites are not served: "+err.Error())
		return false
	}
	if h.opts.Authorize == nil {
		return true
	}
	switch err := h.opts.Authorize.Check(apiKey(r), a); {
	case err == nil:
		return true
	case errors.Is(err, oip.ErrForbidden):
		h.replyError(w, http.StatusForbidden, err.Error())
	default:
		w.Header()["Www-Authenticate"] = []string{`Bearer realm="salver"`, `Basic realm="salver"`}
		h.replyError(w, http.StatusUnauthorized, err.Error())
	}
	return false
}

func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.Trim(host, "[]")
}

// apiKey is the key that came with a request: as a bearer token, in X-Api-Key,
// or as the password of basic authentication, which browsers ask their users for.
func apiKey(r *http.Request) string {
	if k := r.Header.Get("X-Api-Key"); k != "" {
		return k
	}
	a := r.Header.Get("Authorization")
	if scheme, k, ok := strings.Cut(a, " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(k)
	}
	_, k, _ := r.BasicAuth()
	return k
}
