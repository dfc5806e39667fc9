package llm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/salver-ml/salver/internal/format/gguf"
	"github.com/salver-ml/salver/internal/llm/arch"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/textgen"
	"github.com/salver-ml/salver/internal/token"
)

// source is a model's file or folder.
type source struct {
	config    *arch.Config
	arch      *arch.Architecture
	weights   arch.Weights
	tokenizer *token.Tokenizer
	template  string
	bos, eos  string  // as templates write them
	ends      []int32 // tokens that end an answer
	pooling   pooling // of a GGUF file
	pooled    bool    // it says that the model makes vectors
	defaults  textgen.Sampling
	params    int64
	bytes     int64
	release   func() // mapped pages that were read are not needed soon
	close     func() error
}

// encodes reports whether the model makes vectors or scores of texts.
func (s *source) encodes() bool { return s.arch.Encoder || s.pooled || s.config.Labels > 0 }

// Recognise reports whether a path is a model that Load takes: a GGUF file, whatever
// it is called, or a folder with a config.json and safetensors.
func Recognise(path string) bool {
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return false
	case !st.IsDir():
		return strings.EqualFold(filepath.Ext(path), ".gguf") || beginsAsGGUF(path)
	}
	if _, err := os.Stat(filepath.Join(path, "config.json")); err != nil {
		return false
	}
	found, _ := filepath.Glob(filepath.Join(path, "*.safetensors"))
	return len(found) > 0
}

func beginsAsGGUF(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var magic [4]byte
	_, err = io.ReadFull(f, magic[:])
	return err == nil && string(magic[:]) == "GGUF"
}

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
type ggufWeights struct {
	*gguf.File
	asked map[string]bool
}

func (f ggufWeights) Weight(name string) (arch.Weight, bool) {
	t, err := f.Tensor(name)
	if err != nil {
		return arch.Weight{}, false
	}
	f.asked[name] = true
	return arch.Weight{Format: t.Format, Shape: t.Shape, Data: t.Data}, true
}

// Name is the same.
func (f ggufWeights) Name(name string) string { return name }

// Err is nil: all that is needed was compared when the file was opened.
func (f ggufWeights) Err() error { return nil }

// Rest are the tensors that nothing asked for.
func (f ggufWeights) Rest() (names []string) {
	for _, t := range f.Tensors {
		if !f.asked[t.Name] {
			names = append(names, t.Name)
		}
	}
	return names
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
	return fromGGUF(f)
}

func fromGGUF(f *gguf.File) (s *source, err error) {
	s = &source{weights: ggufWeights{f, map[string]bool{}}, release: f.Release, close: f.Close}
	if s.config, err = arch.FromGGUF(f.Metadata); err != nil {
		return nil, err
	}
	if s.arch, err = arch.Of(s.config); err != nil {
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
	s.pooling, s.pooled = poolingOfGGUF(f, s.config)
	s.ends = s.tokenizer.EOS()
	s.nameEnds()
	return s, err
}
