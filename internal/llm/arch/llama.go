package arch

import "github.com/salver-ml/salver/internal/ir"

// Llama 1 to 3 (arXiv 2302.13971), Mistral (2310.06825), Qwen 2 (2407.10671) with
// biases of Q, K and V, Qwen 3 (2505.09388) with norms of Q and K, SmolLM and
// TinyLlama: pre-norm blocks of attention with rotary embeddings and a gated
// feed-forward network.
func init() {
	register(Architecture{GGUF: []string{"llama"}, HuggingFace: []string{"llama", "mistral"}, Build: func(b *Builder) {
		b.interleaved = !b.HuggingFace
		llama(b)
	}, Configure: llamaFields})
	register(Architecture{GGUF: []string{"qwen2", "qwen3"}, HuggingFace: []string{"qwen2", "qwen3"}, Build: llama, Configure: llamaFields})
}

// llamaFields: biases are seen by their presence in the file.
func llamaFields(f *fields, c *Config) {
	f.ignore("attention_bias", "mlp_bias", "qkv_bias", "use_qk_norm")
	f.only("rope_interleaved", false)
}

// llama has gated networks, or experts in those layers in which the file does.
func llama(b *Builder) {
	preNorm(b, func(b *Builder, x *ir.Value, p string) *ir.Value {
		if b.Experts > 0 && b.Has(p+"ffn_gate_inp.weight") {
			return expertFFN(b, x, p)
		}
		return gatedFFN(b, x, p)
	})
}

// preNorm is Llama's model with a given feed-forward network.
func preNorm(b *Builder, ffn func(b *Builder, x *ir.Value, p string) *ir.Value) {
	x := b.Embed("token_embd")
	for i := range b.Layers {
		p := b.Layer(i)
		x = b.Residual(x, llamaAttention(b, b.RMSNorm(x, p+"attn_norm", b.Hidden), p, b.LayerWindow(i)))
		x = b.Add(x, ffn(b, b.RMSNorm(x, p+"ffn_norm", b.Hidden), p))
	}
	b.End()
	b.Logits(b.RMSNorm(x, "output_norm", b.Hidden))
}

func llamaAttention(b *Builder, x *ir.Value, p string, window int) *ir.Value {
	q, k, v := queries(b, x, p)
	if b.Has(p + "attn_q_norm.weight") {
		q, k = b.HeadNorm(q, p+"attn_q_norm", b.Heads), b.HeadNorm(k, p+"attn_k_norm", b.KVHeads)
	}
	q, k = b.Rotary(q, b.Heads, window > 0), b.Rotary(k, b.KVHeads, window > 0)
	return b.Linear(b.Attention(q, k, v, window), p+"attn_output", b.Heads*b.HeadDim, b.Hidden)
}

// queries are those of a layer with its keys and values, which some files have
// as one matrix.
func queries(b *Builder, x *ir.Value, p string) (q, k, v *ir.Value) {
	nq, nk := b.Heads*b.HeadDim, b.KVHeads*b.HeadDim
	if all := nq + 2*nk; b.Has(p + "attn_qkv.weight") {
		part := func(from, to int) *ir.Value { return b.LinearPart(x, p+"attn_qkv", b.Hidden, all, from, to) }
		return part(0, nq), part(nq, nq+nk), part(nq+nk, all)
	}
	return b.Linear(x, p+"attn_q", b.Hidden, nq), b.Linear(x, p+"attn_k", b.Hidden, nk), b.Linear(x, p+"attn_v", b.Hidden, nk)
}

// gatedFFN is SwiGLU and its kin (arXiv 2002.05202).
func gatedFFN(b *Builder, x *ir.Value, p string) *ir.Value {
	gate := b.Activate(b.Linear(x, p+"ffn_gate", b.Hidden, b.FFN))
	return b.Linear(b.Mul(gate, b.Linear(x, p+"ffn_up", b.Hidden, b.FFN)), p+"ffn_down", b.FFN, b.Hidden)
}
