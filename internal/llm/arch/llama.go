package arch

import "github.com/salver-ml/salver/internal/ir"

// Llama 1 to 3 (arXiv 2302.13971), Mistral (2310.06825), Qwen 2 (2407.10671) with
// biases of Q, K and V, Qwen 3 (2505.09388) with norms of Q and K, SmolLM and
// TinyLlama: pre-norm blocks of attention with rotary embeddings and a gated
// feed-forward network.
func init() {
	register(Architecture{GGUF: []string{"llama"}, HuggingFace: []string{"llama", "mistral"}, Build: func(b *Builder) { llama(b, !b.HuggingFace) }})
	register(Architecture{GGUF: []string{"qwen2", "qwen3"}, HuggingFace: []string{"qwen2", "qwen3"}, Build: func(b *Builder) { llama(b, false) }})
}

func llama(b *Builder, interleaved bool) {
	x := b.Embed("token_embd")
	for i := range b.Layers {
		p := b.Layer(i)
		a := llamaAttention(b, b.RMSNorm(x, p+"attn_norm", b.Hidden), p, b.LayerWindow(i), interleaved)
		x = b.Add(x, a)
		x = b.Add(x, gatedFFN(b, b.RMSNorm(x, p+"ffn_norm", b.Hidden), p))
	}
	b.End()
	b.Logits(b.RMSNorm(x, "output_norm", b.Hidden))
}

func llamaAttention(b *Builder, x *ir.Value, p string, window int, interleaved bool) *ir.Value {
	q := b.Linear(x, p+"attn_q", b.Hidden, b.Heads*b.HeadDim)
	k := b.Linear(x, p+"attn_k", b.Hidden, b.KVHeads*b.HeadDim)
	v := b.Linear(x, p+"attn_v", b.Hidden, b.KVHeads*b.HeadDim)
	if b.Has(p + "attn_q_norm.weight") {
		q, k = b.HeadNorm(q, p+"attn_q_norm", b.Heads), b.HeadNorm(k, p+"attn_k_norm", b.KVHeads)
	}
	q, k = b.Rotary(q, b.Heads, b.Rope.Base, interleaved), b.Rotary(k, b.KVHeads, b.Rope.Base, interleaved)
	return b.Linear(b.Attention(q, k, v, window), p+"attn_output", b.Heads*b.HeadDim, b.Hidden)
}

// gatedFFN is SwiGLU (arXiv 2002.05202).
func gatedFFN(b *Builder, x *ir.Value, p string) *ir.Value {
	gate := b.Silu(b.Linear(x, p+"ffn_gate", b.Hidden, b.FFN))
	return b.Linear(b.Mul(gate, b.Linear(x, p+"ffn_up", b.Hidden, b.FFN)), p+"ffn_down", b.FFN, b.Hidden)
}
