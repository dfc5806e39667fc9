package arch

import (
	"math"

	"github.com/salver-ml/salver/internal/ir"
)

// Gemma (arXiv 2403.08295), Gemma 2 (2408.00118) with norms after each part, soft
// caps, and a window in every other layer, and Gemma 3 (2503.19786) with norms of
// Q and K, and other angles in the layers with a window. The embedding is scaled,
// and files of transformers have the weights of norms less 1.
func init() {
	gemma := Architecture{GGUF: []string{"gemma"}, HuggingFace: []string{"gemma"}, Build: gemma, Configure: gemmaFields, ConfigureGGUF: gemmaGGUF(0)}
	register(gemma)
	gemma.Names = map[string]string{
		"blk.%d.post_attention_norm": "model.layers.%d.post_attention_layernorm",
		"blk.%d.ffn_norm":            "model.layers.%d.pre_feedforward_layernorm",
		"blk.%d.post_ffw_norm":       "model.layers.%d.post_feedforward_layernorm",
	}
	gemma.GGUF, gemma.HuggingFace, gemma.WindowEvery, gemma.ConfigureGGUF = []string{"gemma2"}, []string{"gemma2"}, 2, gemmaGGUF(46)
	register(gemma)
	gemma.GGUF, gemma.HuggingFace, gemma.WindowEvery, gemma.ConfigureGGUF = []string{"gemma3"}, []string{"gemma3_text"}, 6, gemmaGGUF(62)
	gemma.Prefixes, gemma.Needless = []string{"language_model."}, []string{"vision_tower.", "multi_modal_projector."}
	register(gemma)
}

func gemmaFields(f *fields, c *Config) {
	f.only("attention_bias", false)
	f.only("use_bidirectional_attention", false)
	if c.Activation == "gelu" || !f.has("hidden_act", "hidden_activation") { // which the first files say and do not mean
		c.Activation = "gelu_pytorch_tanh"
	}
	if q := f.number(0, "query_pre_attn_scalar"); q > 0 {
		c.AttnScale = float32(1 / math.Sqrt(q))
	}
	c.AttnSoftcap, c.LogitSoftcap = float32(f.number(0, "attn_logit_softcapping")), float32(f.number(0, "final_logit_softcapping"))
	if c.Architecture == "gemma3_text" {
		c.AttnSoftcap = 0 // which Gemma 3 keeps as a setting but does not apply, having norms of queries and keys instead
		if c.Rope.LocalBase == 0 {
			c.Rope.LocalBase = 10000
		}
	}
}

// gemmaGGUF: the scale of attention is not in the file. It is that of the head's
// size, but in the largest model of a family, known by its layers.
func gemmaGGUF(largest int) func(*metadata, *Config) {
	return func(m *metadata, c *Config) {
		c.Activation = "gelu_pytorch_tanh"
		if c.Layers == largest {
			c.AttnScale = float32(1 / math.Sqrt(float64(c.Hidden)/float64(max(c.Heads, 1))))
		}
		if c.Architecture == "gemma3" {
			c.Rope.LocalBase = m.float("rope.freq_base_swa", 10000)
		}
	}
}

func gemma(b *Builder) {
	if b.HuggingFace {
		b.normOffset = 1
	}
	x := b.Scale(b.Embed("token_embd"), float32(math.Sqrt(float64(b.Hidden))))
	for i := range b.Layers {
		p := b.Layer(i)
		x = b.Residual(x, postNorm(b, llamaAttention(b, b.RMSNorm(x, p+"attn_norm", b.Hidden), p, b.LayerWindow(i)), p+"post_attention_norm"))
		x = b.Add(x, postNorm(b, gatedFFN(b, b.RMSNorm(x, p+"ffn_norm", b.Hidden), p), p+"post_ffw_norm"))
	}
	b.End()
	b.Logits(b.RMSNorm(x, "output_norm", b.Hidden))
}

// postNorm normalizes what a part of a layer adds, where the model does.
func postNorm(b *Builder, x *ir.Value, name string) *ir.Value {
	if !b.Has(name + ".weight") {
		return x
	}
	return b.RMSNorm(x, name, b.Hidden)
}
