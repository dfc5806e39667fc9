package openaiapi

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/salver-ml/salver/internal/openaiapi/fields"
	"github.com/salver-ml/salver/internal/testkit"
)

var update = flag.Bool("update", false, "write the tables of docs/OPENAI_API.md")

// The page has each table between <!-- NAME --> and <!-- end -->.
func TestDocumentIsUpToDate(t *testing.T) {
	file := filepath.Join("..", "..", "docs", "OPENAI_API.md")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	tables := Tables()
	page := regexp.MustCompile(`(?s)<!-- ([a-z-]+) -->\n.*?<!-- end -->`).ReplaceAllStringFunc(string(b), func(part string) string {
		name := strings.TrimSuffix(strings.TrimPrefix(strings.SplitN(part, "\n", 2)[0], "<!-- "), " -->")
		table, ok := tables[name]
		if !ok {
			t.Errorf("there is no table %q", name)
		}
		delete(tables, name)
		return "<!-- " + name + " -->\n" + table + "<!-- end -->"
	})
	if len(tables) > 0 {
		t.Errorf("the page does not have the tables %q", slices.Sorted(maps.Keys(tables)))
	}
	if *update {
		if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if page != string(b) {
		t.Error("docs/OPENAI_API.md is not what the code says: run go test ./internal/openaiapi -update")
	}
}

func unique[T any](t *testing.T, what string, table fields.Table[T]) {
	t.Helper()
	seen := map[string]bool{}
	for _, n := range table.Names() {
		if seen[n] {
			t.Errorf("%s has two rows for %s", what, n)
		}
		seen[n] = true
	}
}

func TestNamesAreUnique(t *testing.T) {
	unique(t, "chat", chatFields)
	unique(t, "message", messageFields)
	unique(t, "completion", completionFields)
	unique(t, "response", responseFields)
	unique(t, "embedding", embeddingFields)
	unique(t, "tokenize", tokenizeFields)
}

// schema is a part of OpenAI's specification.
type schema struct {
	Ref        string         `yaml:"$ref"`
	Properties map[string]any `yaml:"properties"`
	AllOf      []*schema      `yaml:"allOf"`
	Rest       map[string]any `yaml:",inline"`
}

// Every field of OpenAI's requests has a row.
func TestSpecificationIsCovered(t *testing.T) {
	b, err := os.ReadFile(testkit.Assets(t, "specs/openai/openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var spec struct {
		Components struct {
			Schemas map[string]*schema `yaml:"schemas"`
		} `yaml:"components"`
	}
	if err := yaml.Unmarshal(b, &spec); err != nil {
		t.Fatal(err)
	}
	var names func(s *schema) []string
	names = func(s *schema) []string {
		if s.Ref != "" {
			s = spec.Components.Schemas[filepath.Base(s.Ref)]
		}
		list := slices.Collect(maps.Keys(s.Properties))
		for _, part := range s.AllOf {
			list = append(list, names(part)...)
		}
		return list
	}
	for name, have := range map[string][]string{
		"CreateChatCompletionRequest": chatFields.Names(), "CreateCompletionRequest": completionFields.Names(),
		"CreateEmbeddingRequest": embeddingFields.Names(), "CreateResponse": responseFields.Names(),
	} {
		want := names(spec.Components.Schemas[name])
		if len(want) < 5 {
			t.Fatalf("%s has only the fields %q", name, want)
		}
		for _, field := range want {
			if !slices.Contains(have, field) {
				t.Errorf("%s: there is no row for %s", name, field)
			}
		}
	}
}
