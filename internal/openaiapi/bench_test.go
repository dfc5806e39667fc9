package openaiapi

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/serve/servetest"
)

// What a token costs from the engine to the client, with a connection of its own: ns/op is for one token.
func BenchmarkStream(b *testing.B) {
	for _, c := range []struct{ name, path, body string }{
		{"completions", "/v1/completions", `{"model":"m","prompt":"x","stream":true,"max_tokens":1000000}`},
		{"chat", "/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true}`},
		{"responses", "/v1/responses", `{"model":"m","input":"x","stream":true}`},
		{"anthropic", "/v1/messages", `{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true,"max_tokens":1000000}`},
		{"ollama", "/api/chat", `{"model":"m","messages":[{"role":"user","content":"x"}]}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			m := servetest.NewText()
			m.Answer = func(string, int) string { return strings.Repeat("x", b.N) }
			s := testServer(b, m)
			b.ReportAllocs()
			b.ResetTimer()
			r, err := http.Post(s.URL+c.path, "", strings.NewReader(c.body))
			if err != nil {
				b.Fatal(err)
			}
			defer r.Body.Close()
			if _, err := io.Copy(io.Discard, r.Body); err != nil || r.StatusCode != 200 {
				b.Fatal(r.Status, err)
			}
		})
	}
}
