package ui

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func get(t *testing.T, method, url string) (*http.Response, string) {
	t.Helper()
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, httptest.NewRequest(method, url, nil))
	r := w.Result()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, string(body)
}

func TestPages(t *testing.T) {
	cases := []struct {
		method, url string
		status      int
		contentType string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8"},
		{"HEAD", "/", 200, "text/html; charset=utf-8"},
		{"GET", "/chat", 200, "text/html; charset=utf-8"},
		{"GET", "/ui/app.js", 200, "text/javascript; charset=utf-8"},
		{"GET", "/ui/app.css", 200, "text/css; charset=utf-8"},
		{"GET", "/ui/icon.svg", 200, "image/svg+xml"},
		{"POST", "/", 405, "text/plain; charset=utf-8"},
		{"GET", "/index.html", 404, "text/plain; charset=utf-8"},
		{"GET", "/ui/../ui.go", 404, "text/plain; charset=utf-8"},
	}
	for _, c := range cases {
		r, body := get(t, c.method, c.url)
		if r.StatusCode != c.status || r.Header.Get("Content-Type") != c.contentType {
			t.Errorf("%s %s: %d %s", c.method, c.url, r.StatusCode, r.Header.Get("Content-Type"))
		}
		if c.status == 200 && !strings.Contains(r.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: no content security policy", c.url)
		}
		if (c.method == "HEAD") != (body == "") {
			t.Errorf("%s %s: body of %d bytes", c.method, c.url, len(body))
		}
	}
}

func TestUnchangedPageIsNotSentAgain(t *testing.T) {
	r, _ := get(t, "GET", "/")
	w := httptest.NewRecorder()
	q := httptest.NewRequest("GET", "/", nil)
	q.Header.Set("If-None-Match", r.Header.Get("Etag"))
	Handler().ServeHTTP(w, q)
	if w.Code != http.StatusNotModified {
		t.Error(w.Code)
	}
}

// TestNothingFromElsewhere: the page works without another server, and under
// its own policy: no inline code or style.
func TestNothingFromElsewhere(t *testing.T) {
	external := regexp.MustCompile(`(?:src|href|url|from|import)\s*[=( ]\s*["']?(?:https?:)?//`)
	inline := regexp.MustCompile(`(?i)<script>|<style|\sstyle=|\son[a-z]+=|javascript:`)
	for url := range Handler().(*handler).files {
		_, body := get(t, "GET", url)
		if m := external.FindString(body); m != "" {
			t.Errorf("%s: %s", url, m)
		}
		if m := inline.FindString(body); m != "" && strings.Contains(body, "<!doctype html>") {
			t.Errorf("%s: %s", url, m)
		}
	}
}
