package llm

import (
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/textgen"
	"github.com/salver-ml/salver/internal/token"
)

// An answer ends where a stop string is complete, however tokens cut it, but not before
// the tokens that are wanted at least.
func TestStopStrings(t *testing.T) {
	m := stories(t, "f32", Options{})
	const prompt, tokens = "Once upon a time", 40
	whole := textgen.Request{MaxTokens: tokens, IgnoreEOS: true, Logprobs: -1, PromptLogprobs: -1}
	full := text(t, m, whole, prompt)
	ids := m.Tokenizer().Encode(prompt, token.EncodeOptions{AddSpecial: true})
	first := textgen.Request{Prompt: ids, MaxTokens: 12, IgnoreEOS: true, Logprobs: -1, PromptLogprobs: -1}
	least := text(t, m, first, prompt)
	for _, stop := range []string{full[1:2], full[3:9], full[20:40], "no such text"} {
		r := whole
		r.Stop = []string{stop}
		want, _, _ := strings.Cut(full, stop)
		if got := text(t, m, r, prompt); got != want {
			t.Errorf("%q gives %q, expected %q", stop, got, want)
		}
		r.MinTokens = first.MaxTokens
		rest, _, _ := strings.Cut(full[len(least):], stop)
		if got := text(t, m, r, prompt); got != least+rest {
			t.Errorf("%q behind %d tokens gives %q, expected %q", stop, r.MinTokens, got, least+rest)
		}
	}
}
