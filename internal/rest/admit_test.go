package rest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/limit"
	"github.com/salver-ml/salver/internal/oip"
)

func TestAuthorization(t *testing.T) {
	pages := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "page") })
	h := New(testCore(t), Options{Pages: pages, Metrics: pages, Authorize: func(key string, a oip.Access) error {
		switch {
		case key == "admin", key == "user" && a == oip.Use:
			return nil
		case key == "user":
			return oip.ErrForbidden
		}
		return oip.ErrUnauthenticated
	}})
	public := []string{"/", "/index.html", "/v2/health/live", "/v2/health/ready", "/healthz", "/health"}
	fill := strings.NewReplacer("{model}", "identity", "{version}", "1", "{rest}", "x")
	paths := []string{"GET /", "GET /index.html", "GET /v2/unknown", "DELETE /v2/models/identity/infer", "OPTIONS /v2"}
	for _, rt := range routes {
		method := rt.method
		if method == "" {
			method = "GET"
		}
		paths = append(paths, method+" "+fill.Replace(rt.pattern))
	}
	for _, p := range paths {
		method, path, _ := strings.Cut(p, " ")
		w := send(t, h, method, path, nil, "")
		if slices.Contains(public, path) != (w.Code != 401) {
			t.Errorf("%s without a key: %d", p, w.Code)
		}
		if w := send(t, h, method, path, http.Header{"X-Api-Key": {"admin"}}, ""); w.Code == 401 || w.Code == 403 {
			t.Errorf("%s with the admin's key: %d", p, w.Code)
		}
		w = send(t, h, method, path, http.Header{"Authorization": {"bearer user"}}, "")
		if admin := strings.HasSuffix(path, "load"); admin != (w.Code == 403) || w.Code == 401 {
			t.Errorf("%s with a user's key: %d", p, w.Code)
		}
	}
	r := httptest.NewRequest("GET", "/v2", nil)
	r.SetBasicAuth("any", "user")
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != 200 {
		t.Errorf("basic authentication: %d", w.Code)
	}
}

func TestInFlight(t *testing.T) {
	f := &limit.InFlight{Max: 1}
	h := New(testCore(t), Options{InFlight: f})
	f.Enter()
	if w := send(t, h, "POST", "/v2/models/identity/infer", nil, x); w.Code != 429 || w.Header().Get("Retry-After") != "1" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := send(t, h, "GET", "/v2/health/live", nil, ""); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	f.Leave()
	if w := send(t, h, "POST", "/v2/models/identity/infer", nil, x); w.Code != 200 || f.Now() != 0 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestBrowsers(t *testing.T) {
	h := New(testCore(t), Options{Hosts: []string{"localhost", "127.0.0.1", "::1"}})
	for _, c := range []struct {
		host, origin, site string
		status             int
	}{
		{"localhost:8000", "", "", 200}, {"127.0.0.1:8000", "http://127.0.0.1:8000", "same-origin", 200}, {"[::1]:8000", "", "", 200}, {"[::1]", "", "", 200},
		{"evil.example:8000", "", "", 421}, {"localhost:8000", "http://evil.example", "", 403}, {"localhost:8000", "http://evil.example", "cross-site", 403},
	} {
		r := httptest.NewRequest("POST", "/v2/models/identity/infer", strings.NewReader(x))
		r.Host = c.host
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		if c.site != "" {
			r.Header.Set("Sec-Fetch-Site", c.site)
		}
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != c.status {
			t.Errorf("%+v: %d %s", c, w.Code, w.Body)
		}
	}
}
