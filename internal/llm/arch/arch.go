package arch

import (
	"fmt"
	"slices"
	"strings"
)

// An Architecture is a family of models.
type Architecture struct {
	GGUF []string // what general.architecture may be
	// HuggingFace is what model_type in config.json may be.
	HuggingFace []string
	// Build states the model. It reports defects through the Builder.
	Build func(b *Builder)
	// Configure reads what only this family's config.json has, and refuses what
	// it can't do; nil if there is nothing.
	Configure func(f *fields, c *Config)
	// ConfigureGGUF does so with a file's metadata.
	ConfigureGGUF func(m *metadata, c *Config)
	// WindowEvery n: where a file does not say which layers have a sliding window,
	// the last of n sees everything; 0: none does.
	WindowEvery int
	// Names translates names of GGUF to those of transformers, where they differ
	// from Llama's; %d is the layer. OwnNames: it has none of Llama's.
	Names    map[string]string
	OwnNames bool
	// Transposed are matrices that transformers stores as [inputs, outputs], by
	// the last part of their GGUF name.
	Transposed []string
	// Prefixes may stand before the names of transformers.
	Prefixes []string
	// Needless are parts of the names of tensors that are not used on purpose.
	Needless []string
	// TurnsParts: rotary embeddings may turn a part of each head.
	TurnsParts bool
	// Encoder: the model reads a text at once, and makes a vector of it.
	Encoder bool
}

var architectures []*Architecture

// register adds an architecture; each file's init calls it.
func register(a Architecture) { architectures = append(architectures, &a) }

// Of gives the architecture of a configuration.
func Of(c *Config) (*Architecture, error) { return Find(c.Architecture, c.HuggingFace) }

// Find gives the architecture of a file: by its general.architecture, or by its
// model_type with huggingFace.
func Find(name string, huggingFace bool) (*Architecture, error) {
	var known []string
	for _, a := range architectures {
		names := a.GGUF
		if huggingFace {
			names = a.HuggingFace
		}
		if slices.Contains(names, name) {
			return a, nil
		}
		known = append(known, names...)
	}
	slices.Sort(known)
	return nil, fmt.Errorf("architecture %q is not supported; supported are %s", name, strings.Join(known, ", "))
}
