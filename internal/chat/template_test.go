package chat

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/chat/jinja"
	"github.com/salver-ml/salver/internal/testkit"
)

var testOptions = Options{BOS: "<s>", EOS: "</s>", Limits: jinja.Options{Now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}

// models gives the templates of the test material by name.
func models(t testing.TB) map[string]*Template {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(testkit.Assets(t, "chat-templates"), "*.jinja"))
	list := map[string]*Template{}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tmpl, err := Compile(string(source), testOptions)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		list[strings.TrimSuffix(filepath.Base(file), ".jinja")] = tmpl
	}
	return list
}

// testCase is a conversation of the test material.
type testCase struct {
	Messages            json.RawMessage `json:"messages"`
	Tools               json.RawMessage `json:"tools"`
	AddGenerationPrompt *bool           `json:"add_generation_prompt"`
}

func (c testCase) conversation(t testing.TB) Conversation {
	t.Helper()
	out := Conversation{AddGenerationPrompt: c.AddGenerationPrompt == nil || *c.AddGenerationPrompt}
	var err error
	if out.Messages, err = decodeMessages(c.Messages); err != nil {
		t.Fatal(err)
	}
	if c.Tools != nil {
		if out.Tools, err = DecodeTools(c.Tools); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func testCases(t testing.TB) map[string]testCase {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(testkit.Assets(t, "chat-templates"), "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Cases map[string]testCase }
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	return file.Cases
}

// Requests in OpenAI's form give the prompts that jinja2 gives, except where a
// template takes arguments only as text, which the goldens' maker gave as objects.
func TestRenderModels(t *testing.T) {
	cases := testCases(t)
	for name, tmpl := range models(t) {
		raw, err := os.ReadFile(filepath.Join(testkit.Assets(t, "chat-templates"), name+".jinja.golden.json"))
		if err != nil {
			t.Fatal(err)
		}
		var golden map[string]struct{ Output, Raises *string }
		if err := json.Unmarshal(raw, &golden); err != nil {
			t.Fatal(err)
		}
		for id, want := range golden {
			if tmpl.wants.textArguments && id == "tool_call" {
				continue
			}
			got, err := tmpl.Render(cases[id].conversation(t))
			var raised *jinja.Raised
			switch {
			case want.Output != nil && (err != nil || got != *want.Output):
				t.Errorf("%s, %s: got\n%q, %v\nexpected\n%q", name, id, got, err, *want.Output)
			case want.Raises != nil && (!errors.As(err, &raised) || raised.Message != *want.Raises):
				t.Errorf("%s, %s: got %v, expected %q", name, id, err, *want.Raises)
			case want.Output == nil && want.Raises == nil && err == nil:
				t.Errorf("%s, %s: got %q, expected an error", name, id, got)
			}
		}
	}
}
