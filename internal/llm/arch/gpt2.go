package arch

import "github.com/salver-ml/salver/internal/ir"

// GPT-2: embeddings of positions, LayerNorm, biases everywhere, a feed-forward
// network without a gate. transformers stores its matrices transposed.
func init() {
	register(Architecture{GGUF: []string{"gpt2"}, HuggingFace: []string{"gpt2"}, Build: gpt2, Configure: gpt2Fields, ConfigureGGUF: gpt2GGUF,
		OwnNames: true, Transposed: []string{"attn_qkv", "attn_output", "ffn_up", "ffn_down"},
		Names: map[string]string{
			"token_embd":         "transformer.wte",
			"position_embd":      "transformer.wpe",
			"output_norm":        "transformer.ln_f",
			"output":             "lm_head",
			"blk.%d.attn_norm":   "transformer.h.%d.ln_1",
			"blk.%d.attn_qkv":    "transformer.h.%d.attn.c_attn",
			"blk.%d.attn_output": "transformer.h.%d.attn.c_proj",
			"blk.%d.ffn_norm":    "transformer.h.%d.ln_2",
			"blk.%d.ffn_up":      "transformer.h.%d.mlp.c_fc",
			"blk.%d.ffn_down":    "transformer.h.%d.mlp.c_proj",
		}})
}

func gpt2Fields(f *fields, c *Config) {
	f.only("scale_attn_weights", true)
	f.only("scale_attn_by_inverse_layer_idx", false)
	f.only("add_cross_attention", false)
	c.Rope = Rope{}
}

func gpt2GGUF(_ *metadata, c *Config) {
	c.Activation, c.Rope = "gelu_new", Rope{}
}

func gpt2(b *Builder) {
	x := b.Add(b.Embed("token_embd"), b.EmbedPositions("position_embd"))
	for i := range b.Layers {
		p := b.Layer(i)
		q, k, v := queries(b, b.LayerNorm(x, p+"attn_norm", b.Hidden), p)
		x = b.Residual(x, b.Linear(b.Attention(q, k, v, 0), p+"attn_output", b.Heads*b.HeadDim, b.Hidden))
		x = b.Add(x, plainFFN(b, b.LayerNorm(x, p+"ffn_norm", b.Hidden), p))
	}
	b.End()
	b.Logits(b.LayerNorm(x, "output_norm", b.Hidden))
}

// plainFFN is a feed-forward network of two products.
func plainFFN(b *Builder, x *ir.Value, p string) *ir.Value {
	return b.Linear(b.Activate(b.Linear(x, p+"ffn_up", b.Hidden, b.FFN)), p+"ffn_down", b.FFN, b.Hidden)
}
