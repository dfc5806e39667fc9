package llm

import (
	"errors"
	"fmt"
	"os"

	"github.com/salver-ml/salver/internal/format/gguf"
	"github.com/salver-ml/salver/internal/llm/arch"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/token"
)

// open reads what a model's file or folder says, and maps its weights.
func open(path string) (*source, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		return openFolder(path)
	}
	return openGGUF(path)
}

// ggufWeights finds the tensors of a GGUF file.
type ggufWeights struct{ *gguf.File }

func (f ggufWeights) Weight(name string) (arch.Weight, bool) {
	t, err := f.Tensor(name)
	if err != nil {
		return arch.Weight{}, false
	}
	return arch.Weight{Format: t.Format, Shape: t.Shape, Data: t.Data}, true
}

func openGGUF(path string) (s *source, err error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
		}
	}()
	s = &source{weights: ggufWeights{f}, release: f.Release, close: f.Close}
	if s.config, err = arch.FromGGUF(f.Metadata); err != nil {
		return nil, err
	}
	if s.tokenizer, err = token.FromGGUF(f.Metadata); err != nil {
		return nil, err
	}
	for _, t := range f.Tensors {
		s.params += int64(tensor.Count(t.Shape))
		s.bytes += int64(len(t.Data))
	}
	s.template, err = f.StringOr("tokenizer.chat_template", "")
	if id, ok := s.tokenizer.BOS(); ok {
		s.bos = s.tokenizer.Piece(id)
	}
	if ids := s.tokenizer.EOS(); len(ids) > 0 {
		s.eos = s.tokenizer.Piece(ids[0])
	}
	return s, err
}

func openFolder(path string) (*source, error) {
	return nil, fmt.Errorf("%s: folders are not read yet", path)
}
