// Package arch builds the graphs of language models. Each architecture is one
// file: a function that states the model in terms of a Builder, and the names
// under which files know it.
package arch

import (
	"fmt"

	"github.com/salver-ml/salver/internal/format/packed"
)

// Config is what a model's file says of its dimensions. A field that an
// architecture does not have is zero.
type Config struct {
	Architecture string // as the file names it
	Layers       int
	Hidden       int // elements of a token's vector
	Heads        int // of queries
	KVHeads      int // of keys and values
	HeadDim      int // elements of a head
	FFN          int // elements between the two products of a feed-forward network
	Vocabulary   int
	Context      int // tokens that the model was trained for
	NormEps      float32
	Rope         Rope
	Windows      []int   // tokens that each layer sees, 0: all; nil: none has a window
	Activation   string  // of the feed-forward networks, as transformers calls it
	AttnSoftcap  float32 // of attention scores; 0: none
	LogitSoftcap float32
	AttnScale    float32 // 0: 1/√HeadDim
	Experts      int     // of a mixture; 0: none
	ExpertsUsed  int     // for each token
	ExpertFFN    int     // elements of one expert's network
	SharedFFN    int     // elements of the network that all tokens pass beside the experts; 0: none
	// NormExperts: the weights of the experts used add up to 1.
	NormExperts bool
	// Tied: the matrix of the logits is that of the embedding; nil: if the file
	// has no other.
	Tied *bool
	// FirstPosition is the number of the first token's position embedding.
	FirstPosition int
	TokenTypes    int // kinds of tokens that have embeddings; 0: none have
	Labels        int // classes of an encoder with a head for them; 0: it has none
	// HuggingFace says that the weights are arranged as transformers has them.
	HuggingFace bool
	// Quantized is how the matrices of few bits of a Hugging Face model are laid
	// out; nil: it has none.
	Quantized *packed.Config
}

// maxLayers bounds what is taken from a file.
const maxLayers = 1024

// check reports what no architecture can have.
func (c *Config) check() error {
	for _, f := range []struct {
		name      string
		v, lo, hi int
	}{
		{"layers", c.Layers, 1, maxLayers}, {"hidden size", c.Hidden, 1, 1 << 20}, {"attention heads", c.Heads, 1, 1 << 12}, {"key-value heads", c.KVHeads, 1, 1 << 12},
		{"head size", c.HeadDim, 1, 1 << 12}, {"feed-forward size", c.FFN + c.ExpertFFN, 1, 1 << 22}, {"vocabulary", c.Vocabulary, 1, 1 << 24}, {"context", c.Context, 1, 1 << 28},
		{"experts", c.Experts, 0, 1 << 12}, {"experts used", c.ExpertsUsed, min(c.Experts, 1), c.Experts}, {"an expert's feed-forward size", c.ExpertFFN, 0, 1 << 22},
		{"shared feed-forward size", c.SharedFFN, 0, 1 << 22}, {"token types", c.TokenTypes, 0, 1 << 10}, {"labels", c.Labels, 0, 1 << 20}, {"first position", c.FirstPosition, 0, 1 << 10},
	} {
		if f.v < f.lo || f.v > f.hi {
			return fmt.Errorf("%s is %d, expected %d to %d", f.name, f.v, f.lo, f.hi)
		}
	}
	for i, w := range c.Windows {
		if w < 0 || w > 1<<28 {
			return fmt.Errorf("the sliding window of layer %d is %d, expected 0 to %d", i, w, 1<<28)
		}
	}
	if c.Heads%c.KVHeads != 0 {
		return fmt.Errorf("%d attention heads and %d key-value heads: expected a multiple", c.Heads, c.KVHeads)
	}
	if !(c.NormEps >= 0 && c.NormEps < 1) {
		return fmt.Errorf("the norms' epsilon is %v, expected 0 to 1", c.NormEps)
	}
	return c.Rope.check(c.HeadDim)
}
