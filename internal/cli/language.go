package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/salver-ml/salver/internal/chat"
	"github.com/salver-ml/salver/internal/chat/jinja"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/llm"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// languageFlags are the flags of every command that prepares a language model.
type languageFlags struct {
	context    int
	cache      size
	cacheType  string
	sequences  int
	stepTokens int
	noPrefixes bool
	template   string // the name of a file
	source     string // what the file has
}

func (f *languageFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.IntVar(&f.context, "context", 0, "language models: tokens of prompt and answer together, at most; 0 is what the model was trained for")
	fl.Var(&f.cache, "kv-cache", "language models: memory for keys and values, e.g. 1GiB; by default room for four sequences of full length, 2GiB at most")
	fl.StringVar(&f.cacheType, "kv-type", "f16", "language models: numbers of the cache of keys and values, f16 or f32")
	fl.IntVar(&f.sequences, "max-sequences", 64, "language models: answers computed at once")
	fl.IntVar(&f.stepTokens, "step-tokens", 512, "language models: tokens of one step, at most; fewer make answers flow more evenly while prompts come in")
	fl.BoolVar(&f.noPrefixes, "no-prefix-cache", false, "language models: compute every prompt anew, though its beginning is known")
}

// addTemplate is for the commands that chat.
func (f *languageFlags) addTemplate(c *cobra.Command) {
	c.Flags().StringVar(&f.template, "chat-template", "", "language models: a file with a chat template in Jinja, in the place of the model's own")
}

var cacheTypes = map[string]dtype.Type{"f16": dtype.Float16, "f32": dtype.Float32}

// onlyLanguage refuses flags that a model of tensors would ignore: their help says what they are for.
func onlyLanguage(c *cobra.Command, model string) error {
	_, err := os.Stat(model) // of a file that isn't there, only that is said
	c.Flags().Visit(func(f *pflag.Flag) {
		if err == nil && strings.HasPrefix(f.Usage, "language models: ") {
			err = misusef("--%s is for language models, and %s is none", f.Name, model)
		}
	})
	return err
}

// check looks at what can be wrong with the flags.
func (f *languageFlags) check() error {
	switch {
	case cacheTypes[f.cacheType] == dtype.Invalid:
		return misusef("--kv-type %q: expected f16 or f32", f.cacheType)
	case f.context < 0:
		return misusef("--context %d: expected 0 or more", f.context)
	case f.sequences < 1 || f.sequences > 4096:
		return misusef("--max-sequences %d: expected 1 to 4096", f.sequences)
	case f.stepTokens < 1 || f.stepTokens > 1<<16:
		return misusef("--step-tokens %d: expected 1 to 65536", f.stepTokens)
	}
	return f.readTemplate()
}

// readTemplate reads --chat-template, and finds what is wrong with it before a model is loaded.
func (f *languageFlags) readTemplate() error {
	if f.template == "" {
		return nil
	}
	file, err := os.Open(f.template)
	if err != nil {
		return fmt.Errorf("--chat-template: %w", err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, jinja.MaxSource+1))
	switch {
	case err != nil:
		return fmt.Errorf("--chat-template: %w", err)
	case len(b) > jinja.MaxSource:
		return fmt.Errorf("--chat-template %s: it has more than %d bytes", f.template, jinja.MaxSource)
	}
	if _, err := chat.Compile(string(b), chat.Options{}); err != nil {
		return fmt.Errorf("--chat-template %s: %w", f.template, err)
	}
	f.source = string(b)
	return nil
}

func (f *languageFlags) options(e engine.Options) llm.Options {
	return llm.Options{Pool: e.Pool, Provider: e.Provider, Level: e.Level, Precision: e.Precision, Context: f.context, CacheType: cacheTypes[f.cacheType], CacheBytes: int(f.cache), MaxMemory: e.MaxMemory, Overhead: e.Overhead,
		StepTokens: f.stepTokens, Sequences: f.sequences, NoPrefixes: f.noPrefixes, Template: f.source}
}

// checkLanguage refuses what only models of tensors have.
func (f *engineFlags) checkLanguage() error {
	if f.precision == precisionAuto {
		return misusef("--precision auto is for models of tensors: a language model takes fp32 or bf16")
	}
	return nil
}

// loadLanguage prepares a language model on a pool of its own.
func loadLanguage(e *engineFlags, l *languageFlags, path string) (*llm.Model, func(), error) {
	if err := l.check(); err != nil {
		return nil, nil, err
	}
	if err := e.checkLanguage(); err != nil {
		return nil, nil, err
	}
	o, closePool, err := e.options()
	if err != nil {
		return nil, nil, err
	}
	m, err := llm.Load(path, l.options(o))
	if err != nil {
		closePool()
		return nil, nil, err
	}
	return m, func() { m.Close(); closePool() }, nil
}
