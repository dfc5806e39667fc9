package token

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/salver-ml/salver/internal/testkit"
)

type golden struct {
	Cases []struct {
		Text    string
		IDs     []int32
		Pieces  []string
		Decoded *string
	}
}

func readJSON(t testing.TB, path string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(slurp(t, path)), v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func fromFolder(t testing.TB, path string) *Tokenizer {
	t.Helper()
	tok, err := FromFolder(os.DirFS(path))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// fromOne makes a tokenizer of one file, called name.
func fromOne(t testing.TB, name, path string) *Tokenizer {
	t.Helper()
	tok, err := FromFolder(fstest.MapFS{name: {Data: []byte(slurp(t, path))}})
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// What the original libraries give: tokenizers, sentencepiece and tiktoken.
func TestGoldens(t *testing.T) {
	dir := testkit.Assets(t, "tokenizers")
	both := EncodeOptions{AddSpecial: true, ParseSpecial: true}
	for _, c := range []struct {
		name    string
		tok     *Tokenizer
		golden  string
		options EncodeOptions
		skip    bool // special tokens when decoding
	}{
		{"bert", fromFolder(t, filepath.Join(dir, "bert-hf")), "bert-hf/golden.json", both, true},
		{"vocab.txt", fromOne(t, "vocab.txt", filepath.Join(dir, "bert-hf/vocab.txt")), "bert-hf/golden.json", both, true},
		{"gpt2", fromOne(t, "tokenizer.json", filepath.Join(dir, "rten-reftests/gpt2-tokenizer.json")), "rten-reftests/golden_gpt2.json", both, true},
		{"sentencepiece", fromOne(t, "tokenizer.model", filepath.Join(dir, "sentencepiece/test_model.model")), "sentencepiece/golden_test_model.json", EncodeOptions{}, false},
		{"cl100k", fromOne(t, "cl100k_base.tiktoken", filepath.Join(dir, "tiktoken/cl100k_base.tiktoken")), "tiktoken/golden_cl100k_base.json", EncodeOptions{}, false},
		{"r50k", fromOne(t, "r50k_base.tiktoken", filepath.Join(dir, "tiktoken/r50k_base.tiktoken")), "tiktoken/golden_r50k_base.json", EncodeOptions{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var g golden
			readJSON(t, filepath.Join(dir, c.golden), &g)
			if len(g.Cases) == 0 {
				t.Fatal("no cases")
			}
			for _, want := range g.Cases {
				got := c.tok.Encode(want.Text, c.options)
				if !slices.Equal(got, want.IDs) {
					t.Errorf("%q:\n%s, expected\n%s", want.Text, show(c.tok, got), show(c.tok, want.IDs))
				}
				if want.Decoded != nil {
					if text := c.tok.Decode(want.IDs, c.skip); text != *want.Decoded {
						t.Errorf("%v: decoded %q, expected %q", want.IDs, text, *want.Decoded)
					}
				}
			}
		})
	}
}

// Whole documents.
func TestDocuments(t *testing.T) {
	dir := testkit.Assets(t, "tokenizers/rten-reftests")
	toks := map[string]*Tokenizer{
		"gpt2":              fromOne(t, "tokenizer.json", filepath.Join(dir, "gpt2-tokenizer.json")),
		"bert-base-cased":   fromOne(t, "vocab.txt", filepath.Join(dir, "bert-base-cased-vocab.txt")),
		"bert-base-uncased": fromFolder(t, testkit.Assets(t, "tokenizers/bert-hf")),
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.json"))
	n := 0
	for _, file := range files {
		var want struct {
			InputFile string  `json:"input_file"`
			Model     string  `json:"model_name"`
			IDs       []int32 `json:"token_ids"`
		}
		readJSON(t, file, &want)
		if want.InputFile == "" {
			continue
		}
		n++
		tok := toks[want.Model]
		text := slurp(t, filepath.Join(dir, filepath.Base(want.InputFile)))
		if got := tok.Encode(text, EncodeOptions{AddSpecial: true}); !slices.Equal(got, want.IDs) {
			at := 0
			for at < len(got) && at < len(want.IDs) && got[at] == want.IDs[at] {
				at++
			}
			t.Errorf("%s: %d tokens, expected %d; they differ from %d on: %s, expected %s", filepath.Base(file), len(got), len(want.IDs), at,
				show(tok, got[at:min(at+5, len(got))]), show(tok, want.IDs[at:min(at+5, len(want.IDs))]))
		}
	}
	if n == 0 {
		t.Fatal("no documents")
	}
}

func TestStories(t *testing.T) {
	dir := testkit.Assets(t, "models/stories260K")
	tok := openGGUF(t, filepath.Join(dir, "stories260K-f32.gguf"))
	var cases []struct {
		Text string
		IDs  []int32
	}
	readJSON(t, filepath.Join(dir, "golden_tokenize.json"), &cases)
	for _, c := range cases {
		got := tok.Encode(c.Text, EncodeOptions{AddSpecial: true})
		if !slices.Equal(got, c.IDs) {
			t.Errorf("%q:\n%s, expected\n%s", c.Text, show(tok, got), show(tok, c.IDs))
		}
		if text := tok.Decode(got, true); text != c.Text && !strings.ContainsRune(text, '\uFFFD') {
			t.Errorf("%q comes back as %q", c.Text, text)
		}
	}
}
