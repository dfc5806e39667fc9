package cli

import (
	"errors"

	"github.com/salver-ml/salver/internal/pool"
	"github.com/spf13/cobra"
)

// quantizeLanguageFlags are those of language models.
type quantizeLanguageFlags struct{}

func (f *quantizeLanguageFlags) add(c *cobra.Command) {}

// quantizeLanguage quantizes a language model: a GGUF file or a Hugging Face folder.
func (f *quantizeFlags) quantizeLanguage(cmd *cobra.Command, e *env, path string, p *pool.Pool) error {
	return errors.ErrUnsupported
}
