package arch

import "fmt"

// FromGGUF reads a configuration out of a file's metadata.
func FromGGUF(meta map[string]any) (*Config, error) {
	name, ok := meta["general.architecture"].(string)
	if !ok {
		return nil, fmt.Errorf("general.architecture is %v, expected a text", meta["general.architecture"])
	}
	a, err := Find(name, false)
	if err != nil {
		return nil, err
	}
	m := &metadata{meta: meta, prefix: name + ".", read: map[string]bool{}}
	c := &Config{
		Architecture: name,
		Layers:       m.needed("block_count"), Hidden: m.needed("embedding_length"), Heads: m.needed("attention.head_count"),
		FFN: m.int("feed_forward_length", 0), Context: m.needed("context_length"),
		Experts: m.int("expert_count", 0), ExpertsUsed: m.int("expert_used_count", 0),
		ExpertFFN: m.int("expert_feed_forward_length", 0), SharedFFN: m.int("expert_shared_feed_forward_length", 0), NormExperts: true,
		Activation:  "silu",
		NormEps:     float32(m.float("attention.layer_norm_rms_epsilon", m.float("attention.layer_norm_epsilon", 1e-5))),
		AttnSoftcap: float32(m.float("attn_logit_softcapping", 0)), LogitSoftcap: float32(m.float("final_logit_softcapping", 0)),
	}
	c.KVHeads = m.int("attention.head_count_kv", c.Heads)
	c.HeadDim = m.int("attention.key_length", c.Hidden/max(c.Heads, 1))
	if v := m.int("attention.value_length", c.HeadDim); v != c.HeadDim {
		return nil, fmt.Errorf("%s: keys of %d elements and values of %d are not supported: expected as many", name, c.HeadDim, v)
	}
	c.Vocabulary = m.int("vocab_size", m.tokens())
	c.Rope = m.rope(c)
	m.windows(c, a.WindowEvery)
	if a.ConfigureGGUF != nil {
		a.ConfigureGGUF(m, c)
	}
	m.only("attention.causal", !a.Encoder)
	m.only("rope.scaling.yarn_ext_factor", 1.)
	m.only("rope.scaling.yarn_attn_factor", 1.)
	m.only("expert_gating_func", 1.) // softmax
	m.only("expert_weights_scale", 0., 1.)
	c.NormExperts = m.bool("expert_weights_norm", c.NormExperts)
	if err := m.rest(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return c, c.check()
}

func (m *metadata) rope(c *Config) Rope {
	r := Rope{
		Base: m.float("rope.freq_base", 10000), LocalBase: m.float("rope.local.freq_base", 0), Dim: m.int("rope.dimension_count", c.HeadDim),
		Scaling: m.text("rope.scaling.type"), Factor: m.float("rope.scaling.factor", m.float("rope.scale_linear", 1)), Original: m.int("rope.scaling.original_context_length", c.Context),
		BetaFast: m.float("rope.scaling.yarn_beta_fast", 32), BetaSlow: m.float("rope.scaling.yarn_beta_slow", 1), AttnScale: m.float("rope.scaling.attn_factor", 0),
	}
	switch {
	case r.Scaling == "none":
		r.Scaling = ""
	case r.Scaling == "" && r.Factor != 1:
		r.Scaling = "linear"
	case r.Scaling == "yarn": // llama.cpp multiplies by the factor what follows from the stretch
		r.AttnScale = m.float("rope.scaling.attn_factor", 1) * yarnScale(r.Factor, 1)
	}
	return r
}

// windows reads which layers have a sliding window: a list of yes and no, a
// period, or as the architecture has it.
func (m *metadata) windows(c *Config, every int) {
	const key = "attention.sliding_window_pattern"
	window := m.int("attention.sliding_window", 0)
	m.read[key] = true
	if window == 0 || c.Layers < 1 || c.Layers > maxLayers {
		return
	}
	list, isList := m.meta[m.prefix+key].([]bool)
	if isList && len(list) != c.Layers {
		m.fail("%s%s has %d entries for %d layers", m.prefix, key, len(list), c.Layers)
		return
	}
	if !isList {
		every = m.int(key, every)
	}
	c.Windows = make([]int, c.Layers)
	for i := range c.Windows {
		if isList && list[i] || !isList && (every <= 0 || (i+1)%every != 0) {
			c.Windows[i] = window
		}
	}
}

// tokens is the size of the vocabulary.
func (m *metadata) tokens() int {
	t, _ := m.meta["tokenizer.ggml.tokens"].([]string)
	return len(t)
}
