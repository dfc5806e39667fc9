package openaiapi

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/serve/servetest"
	"github.com/salver-ml/salver/internal/testkit"
)

// A conversation that goes through the API makes the prompt that transformers make.
func TestConversationsMakeTheirPrompts(t *testing.T) {
	dir := testkit.Assets(t, "chat-templates")
	read := func(name string, into any) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = json.Unmarshal(b, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var suite struct {
		Cases map[string]map[string]json.RawMessage
	}
	read("cases.json", &suite)
	templates, err := filepath.Glob(filepath.Join(dir, "*.jinja"))
	if err != nil || len(templates) == 0 {
		t.Fatal("no templates", err)
	}
	compared, refused := 0, 0
	for _, file := range templates {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(source), "strftime_now") {
			continue // the goldens are of another day
		}
		var goldens map[string]struct {
			Output *string
			Error  string // of jinja2 itself: the form that the case has is not the template's, which package chat finds out
		}
		read(filepath.Base(file)+".golden.json", &goldens)
		m := servetest.NewText()
		m.Template = string(source)
		s := testServer(t, m)
		for name, c := range suite.Cases {
			body := map[string]json.RawMessage{"model": []byte(`"m"`)}
			for k, v := range c {
				body[k] = v
			}
			b, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			status, answer, _ := post(t, s, "/tokenize", string(b))
			golden := goldens[name].Output
			if goldens[name].Error != "" && status == 200 {
				continue
			}
			if (status == 200) != (golden != nil) {
				t.Errorf("%s, %s: %d %.200s", filepath.Base(file), name, status, answer)
				continue
			}
			if golden == nil {
				refused++
				continue
			}
			var tokens struct{ Tokens []int32 }
			if err := json.Unmarshal([]byte(answer), &tokens); err != nil {
				t.Fatal(err)
			}
			if got := m.Tok.Decode(tokens.Tokens, false); got != *golden {
				t.Errorf("%s, %s:\n%q\nexpected\n%q", filepath.Base(file), name, got, *golden)
			}
			compared++
		}
	}
	t.Logf("%d prompts compared, %d refused by their templates", compared, refused)
	if compared < 100 {
		t.Errorf("only %d prompts were compared", compared)
	}
}
