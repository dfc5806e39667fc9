package jinja

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/testkit"
)

// when the goldens were made
var goldenTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// conversation gives the variables of a case as apply_chat_template does.
func conversation(t testing.TB, raw json.RawMessage) *Map {
	t.Helper()
	v, err := DecodeJSON(string(raw))
	if err != nil {
		t.Fatal(err)
	}
	vars := NewMap("tools", nil, "documents", nil, "add_generation_prompt", true, "bos_token", "<s>", "eos_token", "</s>")
	for name, x := range v.(*Map).All {
		vars.Set(name, x)
	}
	return vars
}

type goldenResult struct {
	Output *string `json:"output"`
	Raises *string `json:"raises"`
	Error  *string `json:"error"`
}

// Real templates must give what jinja2 gives, byte for byte.
func TestTemplatesOfModels(t *testing.T) {
	dir := testkit.Assets(t, "chat-templates")
	var cases struct{ Cases map[string]json.RawMessage }
	readJSON(t, filepath.Join(dir, "cases.json"), &cases)
	files, _ := filepath.Glob(filepath.Join(dir, "*.jinja"))
	if len(files) == 0 {
		t.Fatal("no templates in " + dir)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".jinja"), func(t *testing.T) {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			tmpl, err := Parse(string(source))
			if err != nil {
				t.Fatal(err)
			}
			var golden map[string]goldenResult
			readJSON(t, file+".golden.json", &golden)
			for name, want := range golden {
				got, err := tmpl.Render(conversation(t, cases.Cases[name]), Options{Now: goldenTime})
				want.check(t, name, got, err)
			}
		})
	}
}

func (want goldenResult) check(t *testing.T, name, got string, err error) {
	t.Helper()
	var raised *Raised
	var failed *Error
	switch {
	case want.Output != nil && err != nil:
		t.Errorf("%s: %v", name, err)
	case want.Output != nil && got != *want.Output:
		t.Errorf("%s: got\n%q\nexpected\n%q", name, got, *want.Output)
	case want.Raises != nil && (!errors.As(err, &raised) || raised.Message != *want.Raises):
		t.Errorf("%s: got %q, %v, expected raise_exception(%q)", name, got, err, *want.Raises)
	case want.Error != nil && (!errors.As(err, &failed) || !sameKind(*want.Error, failed.Kind)):
		t.Errorf("%s: got %q, %v, expected the error %s", name, got, err, *want.Error)
	}
}

// sameKind compares kinds of errors; Python's compiler and jinja2 share the work of finding
// syntax errors differently than Parse does.
func sameKind(python, kind string) bool {
	return strings.HasPrefix(strings.TrimPrefix(python, "Template"), strings.TrimPrefix(kind, "Template"))
}

func readJSON(t *testing.T, file string, v any) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(file, err)
	}
}

// BenchmarkRender renders a conversation with tools by a template of each kind.
func BenchmarkRender(b *testing.B) {
	dir := testkit.Assets(b, "chat-templates")
	raw, err := os.ReadFile(filepath.Join(dir, "cases.json"))
	if err != nil {
		b.Fatal(err)
	}
	var cases struct{ Cases map[string]json.RawMessage }
	if err := json.Unmarshal(raw, &cases); err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"Qwen-Qwen3-0.6B", "meta-llama-Llama-3.1-8B-Instruct", "openai-gpt-oss-120b"} {
		b.Run(name, func(b *testing.B) {
			source, err := os.ReadFile(filepath.Join(dir, name+".jinja"))
			if err != nil {
				b.Fatal(err)
			}
			tmpl, err := Parse(string(source))
			if err != nil {
				b.Fatal(err)
			}
			vars := conversation(b, cases.Cases["tool_call"])
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tmpl.Render(vars, Options{Now: goldenTime}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
