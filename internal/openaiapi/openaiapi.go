// Package openaiapi answers OpenAI's API for the language models that a
// serve.Core has: docs/OPENAI_API.md describes it to clients. Its folders have
// what all such protocols share (fields, answer, reply), and thin layers of
// other protocols: Ollama's, Anthropic's and Triton's generate extension.
package openaiapi

import (
	"crypto/rand"
	"log/slog"
	"net/http"
	"time"

	"github.com/salver-ml/salver/internal/oip"
	"github.com/salver-ml/salver/internal/openaiapi/answer"
	"github.com/salver-ml/salver/internal/openaiapi/anthropic"
	"github.com/salver-ml/salver/internal/openaiapi/ollama"
	"github.com/salver-ml/salver/internal/openaiapi/triton"
	"github.com/salver-ml/salver/internal/rest"
	"github.com/salver-ml/salver/internal/serve"
)

// Options configure the APIs.
type Options struct {
	Version string       // of this program
	Log     *slog.Logger // nil discards
}

// APIs are OpenAI's API and the others for language models, to be mounted on the HTTP port.
func APIs(core *serve.Core, o Options) []rest.API {
	s := &answer.Server{Core: core, Log: o.Log, Version: o.Version}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	return []rest.API{openAI(s), ollama.API(s), anthropic.API(s), triton.API(s)}
}

// handler answers OpenAI's API.
type handler struct{ *answer.Server }

func openAI(s *answer.Server) rest.API {
	h := &handler{s}
	post := func(pattern string, serve func(http.ResponseWriter, *http.Request, []byte) error) rest.Route {
		return rest.Route{Method: "POST", Pattern: pattern, Access: oip.Use, Serve: h.checked(serve)}
	}
	return rest.API{
		Roots: []string{"v1", "rerank", "tokenize", "detokenize"},
		Fail: func(w http.ResponseWriter, status int, message string) {
			fail(w, &answer.Problem{Status: status, Message: message})
		},
		Routes: []rest.Route{
			post("/v1/chat/completions", h.chat),
			post("/v1/completions", h.complete),
			post("/v1/responses", h.respond),
			post("/v1/embeddings", h.embed),
			post("/v1/rerank", h.rerank),
			post("/v2/rerank", h.rerank), // Cohere's client of today
			post("/rerank", h.rerank),    // vLLM's and Jina's
			post("/tokenize", h.tokenize),
			post("/detokenize", h.detokenize),
			{Method: "GET", Pattern: "/v1/models", Access: oip.Use, Serve: h.models},
			{Method: "GET", Pattern: "/v1/models/{model}", Access: oip.Use, Serve: h.checked(h.model)},
		},
	}
}

// checked answers a handler's error in OpenAI's form.
func (h *handler) checked(serve func(http.ResponseWriter, *http.Request, []byte) error) func(http.ResponseWriter, *http.Request, []byte) {
	return func(w http.ResponseWriter, r *http.Request, body []byte) {
		if err := serve(w, r, body); err != nil {
			fail(w, answer.AsProblem(err, h.Log))
		}
	}
}

// newID makes an identifier that nobody guesses.
func newID(prefix string) string { return prefix + rand.Text() }

func now() int64 { return time.Now().Unix() }
