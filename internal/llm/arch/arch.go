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
	// Names translates names of GGUF to those of the Hugging Face checkpoint,
	// beyond those that all have; %d is the layer.
	Names map[string]string
}

var architectures []*Architecture

// register adds an architecture; each file's init calls it.
func register(a Architecture) { architectures = append(architectures, &a) }

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
