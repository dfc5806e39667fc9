package arch

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// huggingFace is a config.json, as far as it is understood.
type huggingFace struct {
	ModelType     string  `json:"model_type"`
	Layers        int     `json:"num_hidden_layers"`
	Hidden        int     `json:"hidden_size"`
	Heads         int     `json:"num_attention_heads"`
	KVHeads       int     `json:"num_key_value_heads"`
	HeadDim       int     `json:"head_dim"`
	FFN           int     `json:"intermediate_size"`
	Vocabulary    int     `json:"vocab_size"`
	Context       int     `json:"max_position_embeddings"`
	RMSNormEps    float64 `json:"rms_norm_eps"`
	LayerNormEps  float64 `json:"layer_norm_eps"`
	Activation    string  `json:"hidden_act"`
	RopeTheta     float64 `json:"rope_theta"`
	RopeLocal     float64 `json:"rope_local_base_freq"`
	PartialRotary float64 `json:"partial_rotary_factor"`
	// Scaling has two names; newer files have theta in the second.
	RopeScaling    *ropeScaling `json:"rope_scaling"`
	RopeParameters *ropeScaling `json:"rope_parameters"`
	Window         *int         `json:"sliding_window"`
	UseWindow      *bool        `json:"use_sliding_window"`
	WindowPattern  int          `json:"sliding_window_pattern"`
	LayerTypes     []string     `json:"layer_types"`
	AttnSoftcap    *float64     `json:"attn_logit_softcapping"`
	LogitSoftcap   *float64     `json:"final_logit_softcapping"`
	QueryScalar    float64      `json:"query_pre_attn_scalar"`
	Experts        int          `json:"num_local_experts"`
	Experts2       int          `json:"num_experts"`
	ExpertsUsed    int          `json:"num_experts_per_tok"`
	ExpertFFN      int          `json:"moe_intermediate_size"`
	NormExperts    *bool        `json:"norm_topk_prob"`
	Quantization   any          `json:"quantization_config"`
}

type ropeScaling struct {
	Type      string    `json:"rope_type"`
	OldType   string    `json:"type"`
	Theta     float64   `json:"rope_theta"`
	Factor    float64   `json:"factor"`
	Original  int       `json:"original_max_position_embeddings"`
	LowFreq   float64   `json:"low_freq_factor"`
	HighFreq  float64   `json:"high_freq_factor"`
	BetaFast  float64   `json:"beta_fast"`
	BetaSlow  float64   `json:"beta_slow"`
	AttnScale float64   `json:"attention_factor"`
	Short     []float64 `json:"short_factor"`
	Long      []float64 `json:"long_factor"`
}

// FromHuggingFace reads a configuration out of a config.json.
func FromHuggingFace(b []byte) (*Config, error) {
	var h huggingFace
	if err := json.Unmarshal(b, &h); err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	if h.ModelType == "" {
		return nil, fmt.Errorf("config.json: model_type is missing")
	}
	if h.Quantization != nil {
		return nil, fmt.Errorf("config.json: quantization_config is not supported: take the original weights, or a GGUF file")
	}
	c := &Config{Architecture: h.ModelType, HuggingFace: true, Layers: h.Layers, Hidden: h.Hidden, Heads: h.Heads, KVHeads: h.KVHeads, HeadDim: h.HeadDim, FFN: h.FFN,
		Vocabulary: h.Vocabulary, Context: h.Context, NormEps: float32(cmpOr(h.RMSNormEps, h.LayerNormEps, 1e-6)), Experts: h.Experts + h.Experts2, ExpertsUsed: h.ExpertsUsed,
		ExpertFFN: h.ExpertFFN, NormExperts: h.NormExperts == nil || *h.NormExperts}
	if c.KVHeads == 0 {
		c.KVHeads = c.Heads
	}
	if c.HeadDim == 0 && c.Heads > 0 {
		c.HeadDim = c.Hidden / c.Heads
	}
	if h.QueryScalar > 0 {
		c.AttnScale = float32(1 / math.Sqrt(h.QueryScalar))
	}
	for _, f := range []struct {
		from *float64
		to   *float32
	}{{h.AttnSoftcap, &c.AttnSoftcap}, {h.LogitSoftcap, &c.LogitSoftcap}} {
		if f.from != nil {
			*f.to = float32(*f.from)
		}
	}
	h.windows(c)
	if err := h.rope(c); err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	return c, c.check()
}

func cmpOr(values ...float64) float64 {
	for _, v := range values {
		if v != 0 {
			return v
		}
	}
	return 0
}

// windows reads which layers have a sliding window.
func (h *huggingFace) windows(c *Config) {
	if h.Window == nil || h.UseWindow != nil && !*h.UseWindow {
		return
	}
	c.Window, c.WindowEvery = *h.Window, h.WindowPattern
	if full := slices.Index(h.LayerTypes, "full_attention"); full >= 0 {
		c.WindowEvery = full + 1
		if full == 0 { // none has one, or a pattern that check will not find
			c.Window = 0
		}
	}
}

func (h *huggingFace) rope(c *Config) error {
	c.Rope = Rope{Base: cmpOr(h.RopeTheta, 10000), LocalBase: h.RopeLocal, Dim: c.HeadDim, Factor: 1, Original: h.Context}
	if h.PartialRotary > 0 {
		c.Rope.Dim = int(float64(c.HeadDim) * h.PartialRotary)
	}
	s := h.RopeParameters
	if s == nil {
		s = h.RopeScaling
	}
	if s == nil {
		return nil
	}
	r := &c.Rope
	r.Base = cmpOr(s.Theta, r.Base)
	r.Scaling = s.Type
	if r.Scaling == "" {
		r.Scaling = s.OldType
	}
	if r.Scaling == "default" {
		r.Scaling = ""
	}
	if s.Short != nil || s.Long != nil || r.Scaling == "dynamic" {
		return fmt.Errorf("rope scaling %q is not supported; known are linear, yarn and llama3", r.Scaling)
	}
	r.Factor, r.AttnScale = cmpOr(s.Factor, 1), s.AttnScale
	r.LowFreq, r.HighFreq, r.BetaFast, r.BetaSlow = s.LowFreq, s.HighFreq, cmpOr(s.BetaFast, 32), cmpOr(s.BetaSlow, 1)
	if s.Original > 0 {
		r.Original = s.Original
	}
	return nil
}
