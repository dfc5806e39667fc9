package openaiapi

import (
	"maps"

	"github.com/salver-ml/salver/internal/openaiapi/anthropic"
	"github.com/salver-ml/salver/internal/openaiapi/ollama"
	"github.com/salver-ml/salver/internal/openaiapi/triton"
)

// Tables are the tables of all requests in Markdown, by name: docs/OPENAI_API.md has them.
func Tables() map[string]string {
	all := map[string]string{
		"chat": chatFields.Markdown(), "message": messageFields.Markdown(), "completion": completionFields.Markdown(),
		"embedding": embeddingFields.Markdown(), "response": responseFields.Markdown(), "rerank": rerankFields.Markdown(),
		"tokenize": tokenizeFields.Markdown(), "detokenize": detokenizeFields.Markdown(),
	}
	for _, more := range []map[string]string{ollama.Tables(), anthropic.Tables(), triton.Tables()} {
		maps.Copy(all, more)
	}
	return all
}
