package demo_test

import (
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/chat"
	"github.com/salver-ml/salver/internal/demo"
	"github.com/salver-ml/salver/internal/llm"
	"github.com/salver-ml/salver/internal/textgen"
	"github.com/salver-ml/salver/internal/token"
)

// ask puts a question to a model through its chat template.
func ask(t *testing.T, m *llm.Model, question string) string {
	t.Helper()
	template, err := m.ChatTemplate()
	if err != nil {
		t.Fatal(err)
	}
	text, err := template.Render(chat.Conversation{Messages: []chat.Message{{Role: "user", Content: question}}, AddGenerationPrompt: true})
	if err != nil {
		t.Fatal(err)
	}
	r := &textgen.Request{Prompt: m.Tokenizer().Encode(text, token.EncodeOptions{ParseSpecial: true}), MaxTokens: 100, Logprobs: -1, PromptLogprobs: -1}
	var b strings.Builder
	if _, err := m.Generate(t.Context(), r, func(e *textgen.Event) error { b.WriteString(e.Text); return nil }); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestLanguageModelsAnswer(t *testing.T) {
	size := 0
	for _, d := range demo.LanguageModels() {
		size += len(d.GGUF)
		m, err := llm.Parse(d.GGUF, llm.Options{Name: d.Name, Level: 3})
		if err != nil {
			t.Fatal(err)
		}
		if got := ask(t, m, d.Question); got != d.Answer {
			t.Errorf("%s answers %q, expected %q", d.Name, got, d.Answer)
		}
		if d.Name == "tiny-chat" {
			for question, answer := range map[string]string{"What is the opposite of hot?": "The opposite of hot is cold.", "What is 12 minus 5?": "12 minus 5 is 7.",
				"What day comes after Monday?": "After Monday comes Tuesday.", "What colour is snow?": "Snow is white."} {
				if got := ask(t, m, question); got != answer {
					t.Errorf("%s is answered with %q", question, got)
				}
			}
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	if size > 4<<20 {
		t.Errorf("the models have %d bytes together, expected at most 4 MiB", size)
	}
}
