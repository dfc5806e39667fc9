package token

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/format/gguf"
	"github.com/salver-ml/salver/internal/testkit"
)

func openGGUF(t testing.TB, path string) *Tokenizer {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	tok, err := FromGGUF(f.Metadata)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return tok
}

// What llama.cpp's own vocabularies give for its own texts.
func TestGGUFVocabularies(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(testkit.Assets(t, "tokenizers/gguf-vocab"), "*.gguf"))
	if len(files) == 0 {
		t.Fatal("no vocabularies")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".gguf"), func(t *testing.T) {
			tok := openGGUF(t, file)
			texts := strings.Split(slurp(t, file+".inp"), "\n__ggml_vocab_test__\n")
			lines := strings.Split(strings.TrimSuffix(slurp(t, file+".out"), "\n"), "\n")
			for i, line := range lines {
				want := ids(t, line)
				if got := tok.Encode(texts[i], EncodeOptions{}); !slices.Equal(got, want) {
					t.Errorf("%q:\n%s, expected\n%s", texts[i], show(tok, got), show(tok, want))
				}
			}
		})
	}
}

func slurp(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func ids(t testing.TB, line string) []int32 {
	t.Helper()
	list := []int32{}
	for _, word := range strings.Fields(line) {
		id, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, int32(id))
	}
	return list
}

func show(tok *Tokenizer, list []int32) string {
	var b strings.Builder
	for _, id := range list {
		fmt.Fprintf(&b, "%d %q ", id, tok.Piece(id))
	}
	return b.String()
}
