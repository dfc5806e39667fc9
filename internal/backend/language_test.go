package backend

import (
	"context"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/llm"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/testkit"
)

func openStories(t *testing.T) serve.Backend {
	t.Helper()
	path := testkit.Assets(t, "models/stories260K/stories260K-f32.gguf")
	b, err := Open(engine.Options{Level: 3}, llm.Options{Level: 3})(t.Context(), serve.OpenRequest{Model: "stories", Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func run(ctx context.Context, b serve.Backend, prompt string, sampling ...string) (string, error) {
	in := []*tensor.Tensor{tensor.FromStrings([]string{prompt}, 1), nil}
	if len(sampling) > 0 {
		in[1] = tensor.FromStrings(sampling, 1)
	}
	out, release, err := b.Run(ctx, in)
	if err != nil {
		return "", err
	}
	defer release()
	return out[0].Strings[0], nil
}

func TestTextToText(t *testing.T) {
	b := openStories(t)
	got, err := run(t.Context(), b, "Once upon a time", `{"max_tokens": 20}`)
	if want := ", there was a little girl named"; err != nil || !strings.HasPrefix(got, want) {
		t.Errorf("answers %q, %v", got, err)
	}
	if got, err = run(t.Context(), b, "Once upon a time", `{"max_tokens": 100, "stop": [" little"]}`); got != ", there was a" {
		t.Errorf("answers %q, %v", got, err)
	}
	if b.(serve.Concurrent).Concurrent() < 2 {
		t.Error("one request at a time")
	}
}

func TestTextRefusals(t *testing.T) {
	b := openStories(t)
	for _, c := range []struct{ prompt, sampling, want string }{
		{"\xff", `{}`, "UTF-8"},
		{"a", `{"tokens": 3}`, "unknown field"},
		{"a", `{"max_tokens": 100000}`, "context"},
		{"a", `{"top_p": 7}`, "top_p"},
		{strings.Repeat("word ", 2000), `{}`, "context"},
	} {
		_, err := run(t.Context(), b, c.prompt, c.sampling)
		if err == nil || serve.AsError(err).Kind != serve.InvalidArgument || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.20q with %s: %v", c.prompt, c.sampling, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := run(ctx, b, "a"); serve.AsError(err).Kind != serve.Canceled {
		t.Errorf("canceled: %v", err)
	}
}
