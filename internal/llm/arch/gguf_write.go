package arch

import (
	"fmt"
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/format/gguf"
)

// ggufNames are what GGUF files call architectures that transformers calls otherwise.
var ggufNames = map[string]string{"mistral": "llama", "mixtral": "llama", "qwen2_moe": "qwen2moe", "qwen3_moe": "qwen3moe", "gemma3_text": "gemma3"}

// ToGGUF states a configuration as the metadata of a GGUF file. One that GGUF
// has no keys for is an error.
func ToGGUF(c *Config) ([]gguf.Pair, error) {
	name := c.Architecture
	if other, ok := ggufNames[name]; ok {
		name = other
	}
	a, err := Find(name, false)
	if err != nil {
		return nil, err
	}
	if a.Encoder {
		return nil, fmt.Errorf("%s is an encoder: only models that generate are converted", c.Architecture)
	}
	w := &pairWriter{prefix: name + ".", pairs: []gguf.Pair{{Key: "general.architecture", Value: name}}}
	w.int("vocab_size", c.Vocabulary)
	w.int("context_length", c.Context)
	w.int("embedding_length", c.Hidden)
	w.int("block_count", c.Layers)
	w.int("feed_forward_length", c.FFN)
	w.int("attention.head_count", c.Heads)
	w.int("attention.head_count_kv", c.KVHeads)
	if c.HeadDim*c.Heads != c.Hidden {
		w.int("attention.key_length", c.HeadDim)
		w.int("attention.value_length", c.HeadDim)
	}
	norm := "attention.layer_norm_rms_epsilon"
	if name == "gpt2" {
		norm = "attention.layer_norm_epsilon"
	}
	w.float(norm, float64(c.NormEps))
	w.optional("attn_logit_softcapping", float64(c.AttnSoftcap))
	w.optional("final_logit_softcapping", float64(c.LogitSoftcap))
	w.experts(c)
	w.rope(&c.Rope)
	w.windows(c, a.WindowEvery)
	return w.pairs, w.check(c)
}

// pairWriter collects pairs of an architecture.
type pairWriter struct {
	prefix string
	pairs  []gguf.Pair
}

func (w *pairWriter) add(key string, v any) {
	w.pairs = append(w.pairs, gguf.Pair{Key: w.prefix + key, Value: v})
}

func (w *pairWriter) int(key string, v int) { w.add(key, uint32(v)) }

func (w *pairWriter) float(key string, v float64) { w.add(key, float32(v)) }

// optional writes what is not zero.
func (w *pairWriter) optional(key string, v float64) {
	if v != 0 {
		w.float(key, v)
	}
}

func (w *pairWriter) experts(c *Config) {
	if c.Experts == 0 {
		return
	}
	w.int("expert_count", c.Experts)
	w.int("expert_used_count", c.ExpertsUsed)
	if c.ExpertFFN != 0 {
		w.int("expert_feed_forward_length", c.ExpertFFN)
	}
	if c.SharedFFN != 0 {
		w.int("expert_shared_feed_forward_length", c.SharedFFN)
	}
}

func (w *pairWriter) rope(r *Rope) {
	if r.Dim == 0 {
		return
	}
	w.int("rope.dimension_count", r.Dim)
	w.float("rope.freq_base", r.Base)
	if r.LocalBase != 0 && r.LocalBase != 10000 {
		w.float("rope.freq_base_swa", r.LocalBase)
	}
	switch r.Scaling {
	case "linear", "yarn":
		w.add("rope.scaling.type", r.Scaling)
		w.float("rope.scaling.factor", r.Factor)
	}
	if r.Scaling == "yarn" || r.Scaling == "longrope" {
		w.int("rope.scaling.original_context_length", r.Original)
	}
	switch r.Scaling {
	case "yarn":
		if r.AttnScale != 0 {
			w.float("rope.scaling.attn_factor", r.AttnScale/yarnScale(r.Factor, 1))
		}
		if r.BetaFast != 32 || r.BetaSlow != 1 {
			w.float("rope.scaling.yarn_beta_fast", r.BetaFast)
			w.float("rope.scaling.yarn_beta_slow", r.BetaSlow)
		}
	case "longrope":
		w.float("rope.scaling.attn_factor", r.attention())
	}
}

// windows writes a list where the architecture's own rule gives other layers.
func (w *pairWriter) windows(c *Config, every int) {
	window := 0
	for _, n := range c.Windows {
		window = max(window, n)
	}
	if window == 0 {
		return
	}
	w.int("attention.sliding_window", window)
	list, usual := make([]bool, c.Layers), true
	for i, n := range c.Windows {
		list[i] = n > 0
		usual = usual && list[i] == (every <= 0 || (i+1)%every != 0)
	}
	if !usual {
		w.add("attention.sliding_window_pattern", list)
	}
}

// check reads the pairs back: what differs has no key.
func (w *pairWriter) check(c *Config) error {
	meta := map[string]any{}
	for _, p := range w.pairs {
		meta[p.Key] = p.Value
	}
	back, err := FromGGUF(meta)
	if err != nil {
		return fmt.Errorf("the metadata of the GGUF file: %w", err)
	}
	for _, f := range []struct {
		name       string
		want, have float64
	}{
		{"the scale of attention", attnScale(c), attnScale(back)}, {"the norms' epsilon", float64(c.NormEps), float64(back.NormEps)},
		{"the base of rotary embeddings", c.Rope.Base, back.Rope.Base}, {"their base in layers with a window", localBase(c), localBase(back)},
		{"whether experts' weights are normalized", normalized(c), normalized(back)}, {"the size of heads", float64(c.HeadDim), float64(back.HeadDim)},
	} {
		if math.Abs(f.want-f.have) > 1e-6*math.Abs(f.want) {
			return fmt.Errorf("%s: %s is %v, and readers of a GGUF file would take it for %v: there is no key for it", c.Architecture, f.name, f.want, f.have)
		}
	}
	if back.Activation != c.Activation && !(back.Activation == "silu" && c.Activation == "swish") {
		return fmt.Errorf("%s: the activation is %q, and readers of a GGUF file would take it for %q", c.Architecture, c.Activation, back.Activation)
	}
	if !slices.Equal(windowsOf(c), windowsOf(back)) {
		return fmt.Errorf("%s: the sliding windows %v have no form in GGUF", c.Architecture, c.Windows)
	}
	return nil
}

func attnScale(c *Config) float64 {
	if c.AttnScale != 0 {
		return float64(c.AttnScale)
	}
	return 1 / math.Sqrt(float64(c.HeadDim))
}

func localBase(c *Config) float64 {
	if c.Rope.LocalBase != 0 {
		return c.Rope.LocalBase
	}
	return c.Rope.Base
}

func normalized(c *Config) float64 {
	if c.Experts > 0 && c.NormExperts {
		return 1
	}
	return 0
}

// windowsOf is a window for each layer.
func windowsOf(c *Config) []int {
	if c.Windows == nil {
		return make([]int, c.Layers)
	}
	return c.Windows
}

// RopeTensors are what GGUF files have as tensors of how rotary embeddings are
// stretched: divisors of the frequencies, by name.
func (c *Config) RopeTensors() map[string][]float32 {
	r := c.Rope
	switch r.Scaling {
	case "longrope":
		return map[string][]float32{"rope_factors_short.weight": narrow(r.Short), "rope_factors_long.weight": narrow(r.Long)}
	case "llama3":
		divisors := make([]float32, r.Dim/2)
		for i := range divisors {
			w := math.Pow(r.Base, -2*float64(i)/float64(r.Dim))
			divisors[i] = float32(w / r.llama3(w))
		}
		return map[string][]float32{"rope_freqs.weight": divisors}
	}
	return nil
}

func narrow(v []float64) (out []float32) {
	for _, x := range v {
		out = append(out, float32(x))
	}
	return out
}
