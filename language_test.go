package salver_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/salver-ml/salver"
	"github.com/salver-ml/salver/internal/testkit"
)

func stories(t *testing.T) *salver.LanguageModel {
	t.Helper()
	m, err := salver.OpenLanguageModel(testkit.Assets(t, "models/stories260K/stories260K-f32.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func collect(t *testing.T, m *salver.LanguageModel, prompt string, g salver.Generation) string {
	t.Helper()
	var b strings.Builder
	for text, err := range m.Generate(context.Background(), prompt, g) {
		if err != nil {
			t.Error(err)
		}
		b.WriteString(text)
	}
	return b.String()
}

func TestGenerate(t *testing.T) {
	m := stories(t)
	want := collect(t, m, "Once upon a time", salver.Generation{MaxTokens: 40})
	if !strings.HasPrefix(want, ", there was a little girl named Lily.") {
		t.Errorf("answers %q", want)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got := collect(t, m, "Once upon a time", salver.Generation{MaxTokens: 40}); got != want {
				t.Errorf("together %q, alone %q", got, want)
			}
		})
	}
	wg.Wait()
	pieces := 0
	for _, err := range m.Generate(context.Background(), "The", salver.Generation{}) {
		if err != nil {
			t.Fatal(err)
		}
		if pieces++; pieces == 3 {
			break
		}
	}
	if got := collect(t, m, "Once upon a time", salver.Generation{MaxTokens: 40, Stop: []string{" girl"}}); got != ", there was a little" {
		t.Errorf("with a stop %q", got)
	}
}

func TestGenerateErrors(t *testing.T) {
	m := stories(t)
	failed := func(seq func(func(string, error) bool)) (last error) {
		for _, err := range seq {
			last = err
		}
		return last
	}
	if err := failed(m.Generate(context.Background(), strings.Repeat("long ", 1000), salver.Generation{})); err == nil {
		t.Error("a prompt longer than the context")
	}
	if err := failed(m.Chat(context.Background(), []salver.Message{{Role: "user", Content: "Hello"}}, salver.Generation{})); err == nil || !strings.Contains(err.Error(), "chat template") {
		t.Errorf("chat without a template: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := failed(m.Generate(ctx, "a", salver.Generation{})); err == nil {
		t.Error("a context that has ended")
	}
}

func TestLanguageHandler(t *testing.T) {
	h, err := stories(t).Handler("stories")
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/v1/completions", strings.NewReader(`{"model":"stories","prompt":"Once upon a time","max_tokens":10,"temperature":0}`))
	r.Header.Set("Content-Type", "application/json")
	h.ServeHTTP(w, r)
	if w.Code != 200 || !strings.Contains(w.Body.String(), "there was a little") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
