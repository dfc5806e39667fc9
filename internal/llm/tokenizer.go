package llm

import (
	"errors"
	"os"

	"github.com/salver-ml/salver/internal/format/gguf"
	"github.com/salver-ml/salver/internal/token"
)

// LoadTokenizer reads the tokenizer of a model's file or folder, and nothing else.
func LoadTokenizer(path string) (*token.Tokenizer, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		return token.FromFolder(os.DirFS(path))
	}
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	t, err := token.FromGGUF(f.Metadata)
	return t, errors.Join(err, f.Close())
}
