package arch

import "github.com/salver-ml/salver/internal/ir"

// Phi-3 and Phi-4 (arXiv 2404.14219): Llama with Q, K and V, and gate and up, as
// one matrix each, and LongRoPE (2402.13753).
func init() {
	register(Architecture{GGUF: []string{"phi3"}, HuggingFace: []string{"phi3"}, Configure: phi3Fields, TurnsParts: true,
		Build: func(b *Builder) { preNorm(b, fusedFFN) },
		Names: map[string]string{
			"blk.%d.attn_qkv": "model.layers.%d.self_attn.qkv_proj",
			"blk.%d.ffn_up":   "model.layers.%d.mlp.gate_up_proj",
		}})
}

func phi3Fields(f *fields, c *Config) {
	f.only("attention_bias", false)
	f.only("mlp_bias", false)
	f.only("lm_head_bias", false)
	f.only("full_attn_mod", 1.)
	f.only("interpolate_factor", 1.)
	f.ignore("embd_layer") // of the multimodal model that it is a part of
	if c.Rope.Scaling == "yarn" {
		f.fail("rope_type yarn of phi3 is not supported: expected longrope")
	}
}

// fusedFFN is gatedFFN with one matrix for gate and up.
func fusedFFN(b *Builder, x *ir.Value, p string) *ir.Value {
	gate := b.Activate(b.LinearPart(x, p+"ffn_up", b.Hidden, 2*b.FFN, 0, b.FFN))
	up := b.LinearPart(x, p+"ffn_up", b.Hidden, 2*b.FFN, b.FFN, 2*b.FFN)
	return b.Linear(b.Mul(gate, up), p+"ffn_down", b.FFN, b.Hidden)
}
