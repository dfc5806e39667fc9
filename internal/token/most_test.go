package token

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/testkit"
)

// With Most, a text of no more tokens is encoded as ever, and one of more gives more than
// Most, whatever it consists of.
func TestMost(t *testing.T) {
	dir := testkit.Assets(t, "tokenizers")
	vocabularies := filepath.Join(dir, "gguf-vocab")
	for name, tok := range map[string]*Tokenizer{
		"bert":          fromFolder(t, filepath.Join(dir, "bert-hf")),
		"gpt2":          fromOne(t, "tokenizer.json", filepath.Join(dir, "rten-reftests/gpt2-tokenizer.json")),
		"sentencepiece": fromOne(t, "tokenizer.model", filepath.Join(dir, "sentencepiece/test_model.model")),
		"llama-spm":     openGGUF(t, filepath.Join(vocabularies, "ggml-vocab-llama-spm.gguf")),
		"llama-bpe":     openGGUF(t, filepath.Join(vocabularies, "ggml-vocab-llama-bpe.gguf")),
		"gemma-4":       openGGUF(t, filepath.Join(vocabularies, "ggml-vocab-gemma-4.gguf")),
	} {
		for _, text := range []string{"", "a", strings.Repeat("a", 3000), strings.Repeat(" ", 3000), strings.Repeat("the cat, 北京 é😀\n", 200), strings.Repeat("😀", 900), strings.Repeat("<s>[SEP]", 300), "x " + strings.Repeat("\xff", 500)} {
			o := EncodeOptions{AddSpecial: true, ParseSpecial: true}
			all := tok.Encode(text, o)
			for _, o.Most = range []int{1, 7, 100, len(all) - 1, len(all), len(all) + 1} {
				if o.Most < 1 {
					continue
				}
				got := tok.Encode(text, o)
				if len(all) <= o.Most && !slices.Equal(got, all) || len(all) > o.Most && len(got) <= o.Most {
					t.Errorf("%s: of %.20q…, %d tokens, at most %d: got %d", name, text, len(all), o.Most, len(got))
				}
			}
		}
	}
}

// A word of megabytes costs no more than is of use.
func TestMostOfLongWord(t *testing.T) {
	dir := testkit.Assets(t, "tokenizers/gguf-vocab")
	for _, name := range []string{"llama-spm", "llama-bpe", "qwen2", "gemma-4"} {
		tok := openGGUF(t, filepath.Join(dir, "ggml-vocab-"+name+".gguf"))
		text := strings.Repeat("a", 8<<20)
		if got := tok.Encode(text, EncodeOptions{Most: 1000}); len(got) <= 1000 || len(got) > 1<<17 {
			t.Errorf("%s: %d tokens", name, len(got))
		}
	}
}
