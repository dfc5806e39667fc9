// Package arch builds the graphs of language models. Each architecture is one
// file: a function that states the model in terms of a Builder, and the names
// under which files know it.
package arch

import (
	"fmt"
	"math"
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
	// HuggingFace says that the weights are arranged as transformers has them.
	HuggingFace bool
}

// Rope is rotary position embedding (arXiv 2104.09864) and how it is stretched
// to longer contexts.
type Rope struct {
	Base      float64 // θ
	LocalBase float64 // θ of the layers with a sliding window; 0: Base
	Dim       int     // elements of a head that are turned
	Scaling   string  // "", "linear", "yarn", "llama3", "longrope"
	Factor    float64
	Original  int     // the context that the model was trained for before it was stretched
	LowFreq   float64 // of llama3
	HighFreq  float64
	BetaFast  float64 // of yarn
	BetaSlow  float64
	AttnScale float64 // of yarn and longrope: multiplies cosines and sines; 0: as the paper has it
	// Short and Long are longrope's divisors of the frequencies: for contexts up
	// to Original, and beyond.
	Short, Long []float64
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
		{"shared feed-forward size", c.SharedFFN, 0, 1 << 22}, {"token types", c.TokenTypes, 0, 1 << 10}, {"first position", c.FirstPosition, 0, 1 << 10},
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

func (r *Rope) check(head int) error {
	switch {
	case r.Dim < 0 || r.Dim > head || r.Dim%2 != 0:
		return fmt.Errorf("rotary embedding turns %d of a head's %d elements: expected an even number of them", r.Dim, head)
	case r.Dim > 0 && (!(r.Base > 1) || r.LocalBase != 0 && !(r.LocalBase > 1)):
		return fmt.Errorf("the bases of rotary embeddings are %v and %v, expected more than 1", r.Base, r.LocalBase)
	case r.Scaling != "" && (!(r.Factor > 0) || r.Original < 1):
		return fmt.Errorf("rotary embedding is stretched %v times from a context of %d: expected positive numbers", r.Factor, r.Original)
	case r.Scaling == "llama3" && !(r.LowFreq > 0 && r.HighFreq > r.LowFreq):
		return fmt.Errorf("low_freq_factor is %v and high_freq_factor %v, expected a positive one and a larger one", r.LowFreq, r.HighFreq)
	case r.Scaling == "yarn" && !(r.BetaSlow > 0 && r.BetaFast > r.BetaSlow):
		return fmt.Errorf("beta_slow is %v and beta_fast %v, expected a positive one and a larger one", r.BetaSlow, r.BetaFast)
	case len(r.Short)+len(r.Long) > 0 && (len(r.Short) != r.Dim/2 || len(r.Long) != r.Dim/2):
		return fmt.Errorf("longrope has %d short and %d long factors, expected %d of each", len(r.Short), len(r.Long), r.Dim/2)
	}
	return nil
}

// frequencies are the angles by which a pair turns from one token to the next,
// and the factor for cosines and sines. divisors, which a file may have, divide them.
func (r *Rope) frequencies(divisors []float64) (f []float32, scale float32, err error) {
	n := r.Dim / 2
	f = make([]float32, n)
	for i := range f {
		w := math.Pow(r.Base, -2*float64(i)/float64(r.Dim))
		switch r.Scaling {
		case "", "longrope":
		case "linear":
			w /= r.Factor
		case "llama3":
			w = r.llama3(w)
		case "yarn":
			w = r.yarn(w, i)
		default:
			return nil, 0, fmt.Errorf("rope scaling %q is not supported; known are linear, yarn, llama3 and longrope", r.Scaling)
		}
		if divisors != nil {
			w /= divisors[i]
		}
		f[i] = float32(w)
	}
	return f, float32(r.attention()), nil
}

// attention is the factor of cosines and sines.
func (r *Rope) attention() float64 {
	switch {
	case r.AttnScale != 0:
		return r.AttnScale
	case r.Scaling == "yarn":
		return yarnScale(r.Factor, 1)
	case r.Scaling == "longrope" && r.Factor > 1: // arXiv 2402.13753
		return math.Sqrt(1 + math.Log(r.Factor)/math.Log(float64(r.Original)))
	}
	return 1
}

// llama3 leaves short waves alone, stretches long ones, and blends between.
func (r *Rope) llama3(w float64) float64 {
	wave := 2 * math.Pi / w
	low, high := float64(r.Original)/r.LowFreq, float64(r.Original)/r.HighFreq
	switch {
	case wave < high:
		return w
	case wave > low:
		return w / r.Factor
	}
	smooth := (float64(r.Original)/wave - r.LowFreq) / (r.HighFreq - r.LowFreq)
	return (1-smooth)*w/r.Factor + smooth*w
}

// yarn is arXiv 2309.00071: a ramp between stretching and leaving alone.
func (r *Rope) yarn(w float64, i int) float64 {
	at := func(rotations float64) float64 {
		return float64(r.Dim) * math.Log(float64(r.Original)/(rotations*2*math.Pi)) / (2 * math.Log(r.Base))
	}
	low, high := max(math.Floor(at(r.BetaFast)), 0), min(math.Ceil(at(r.BetaSlow)), float64(r.Dim-1))
	ramp := min(max((float64(i)-low)/max(high-low, .001), 0), 1)
	return w/r.Factor*ramp + w*(1-ramp)
}
