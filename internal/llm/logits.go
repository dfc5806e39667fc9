package llm

import (
	"context"

	"github.com/salver-ml/salver/internal/textgen"
)

// Logits computes a text and gives, for each of its tokens but the last and in
// their order, the logits of what may follow. visit is called on the engine's
// goroutine, which computes nothing until it returns; it must not keep the slice.
func (m *Model) Logits(ctx context.Context, tokens []int32, visit func(position int, logits []float32)) error {
	r := &textgen.Request{Prompt: tokens, MaxTokens: 1, Logprobs: -1}
	_, err := m.generate(ctx, &request{Request: r, visit: visit}, func(*textgen.Event) error { return nil })
	return err
}
