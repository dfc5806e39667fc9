package llm

import (
	"github.com/salver-ml/salver/internal/format/gguf"
)

// Parse reads and prepares a GGUF file in memory, whose bytes must not change
// while the model is used.
func Parse(b []byte, o Options) (*Model, error) {
	f, err := gguf.Parse(b)
	if err != nil {
		return nil, err
	}
	src, err := fromGGUF(f)
	if err != nil {
		return nil, err
	}
	return prepare(src, o, o.Name)
}
