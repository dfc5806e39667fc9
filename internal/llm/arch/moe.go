package arch

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
)

// Mixtures of experts: Mixtral (arXiv 2401.04088), which GGUF files call llama,
// and Qwen 2 and 3 with experts (2407.10671, 2505.09388); in Qwen 2 all tokens also
// pass a shared network.
func init() {
	register(Architecture{HuggingFace: []string{"mixtral"}, Build: llama, Configure: mixtralFields, Names: map[string]string{
		"blk.%d.ffn_gate_inp":    "model.layers.%d.block_sparse_moe.gate",
		"blk.%d.ffn_gate_exp.%d": "model.layers.%d.block_sparse_moe.experts.%d.w1",
		"blk.%d.ffn_up_exp.%d":   "model.layers.%d.block_sparse_moe.experts.%d.w3",
		"blk.%d.ffn_down_exp.%d": "model.layers.%d.block_sparse_moe.experts.%d.w2",
	}})
	register(Architecture{GGUF: []string{"qwen2moe"}, HuggingFace: []string{"qwen2_moe"}, Build: llama, Configure: qwenExperts,
		ConfigureGGUF: func(m *metadata, c *Config) { c.NormExperts = false }})
	register(Architecture{GGUF: []string{"qwen3moe"}, HuggingFace: []string{"qwen3_moe"}, Build: llama, Configure: qwenExperts})
}

func mixtralFields(f *fields, c *Config) {
	c.Experts, c.ExpertsUsed, c.ExpertFFN, c.NormExperts = f.int(8, "num_local_experts"), f.int(2, "num_experts_per_tok"), c.FFN, true
}

// qwenExperts: which layers have experts is seen by their presence.
func qwenExperts(f *fields, c *Config) {
	f.ignore("attention_bias", "qkv_bias", "decoder_sparse_step", "mlp_only_layers")
	c.Experts, c.ExpertsUsed = f.int(0, "num_experts", "num_local_experts"), f.int(0, "num_experts_per_tok")
	c.ExpertFFN, c.SharedFFN, c.NormExperts = f.int(0, "moe_intermediate_size"), f.int(0, "shared_expert_intermediate_size"), f.bool(false, "norm_topk_prob")
	if c.Architecture == "qwen3_moe" && !f.has("layer_types") && f.bool(false, "use_sliding_window") {
		for i := range c.Windows { // of all layers, whatever max_window_layers says
			c.Windows[i] = f.int(0, "sliding_window")
		}
	}
}

// expertFFN sends each token to some of many networks.
func expertFFN(b *Builder, x *ir.Value, p string) *ir.Value {
	if b.Activation != "silu" {
		b.Fail("experts with activation %q are not supported: expected silu", b.Activation)
	}
	router := b.Node("Softmax", nil, b.Linear(x, p+"ffn_gate_inp", b.Hidden, b.Experts))
	ffn := b.ExpertFFN
	if ffn == 0 {
		ffn = b.FFN
	}
	in := []*ir.Value{x, router}
	attrs := map[string]*ir.Attr{"used": ir.Int(b.ExpertsUsed), "normalize": ir.Int(0), "k": ir.Int(b.Hidden), "ffn": ir.Int(ffn)}
	if b.NormExperts {
		attrs["normalize"] = ir.Int(1)
	}
	for _, m := range []struct {
		name, attr string
		rows, cols int
	}{{"ffn_gate_exp", "gate_format", ffn, b.Hidden}, {"ffn_up_exp", "up_format", ffn, b.Hidden}, {"ffn_down_exp", "down_format", b.Hidden, ffn}} {
		var format *ir.Attr
		for e := range b.Experts {
			w, a := b.expert(p+m.name, e, m.rows, m.cols)
			if w == nil {
				return nil
			}
			if e > 0 && a["format"].Str != format.Str {
				b.Fail("%s%s: expert %d is stored as %s, the first one as %s: expected the same format", p, m.name, e, a["format"].Str, format.Str)
			}
			in, format = append(in, w), a["format"]
		}
		attrs[m.attr] = format
	}
	y := b.Node("salver::Experts", attrs, in...)
	if b.Has(p + "ffn_up_shexp.weight") {
		y = b.Add(y, sharedFFN(b, x, p))
	}
	return y
}

// sharedFFN is the network of all tokens, weighted by a gate of its own.
func sharedFFN(b *Builder, x *ir.Value, p string) *ir.Value {
	y := b.Activate(b.Linear(x, p+"ffn_gate_shexp", b.Hidden, b.SharedFFN))
	y = b.Linear(b.Mul(y, b.Linear(x, p+"ffn_up_shexp", b.Hidden, b.SharedFFN)), p+"ffn_down_shexp", b.SharedFFN, b.Hidden)
	return b.Mul(b.Node("Sigmoid", nil, b.gateVector(x, p+"ffn_gate_inp_shexp")), y)
}

// gateVector multiplies by a matrix of one row, which GGUF files have as a vector.
func (b *Builder) gateVector(x *ir.Value, name string) *ir.Value {
	w, ok := b.weights.Weight(name + ".weight")
	if ok && len(w.Shape) == 1 && w.Shape[0] == b.Hidden {
		return b.product(x, name+".weight", w, nil, b.Hidden, 1)
	}
	return b.Linear(x, name, b.Hidden, 1)
}

// expert gives a matrix of one expert, which lies alone or in a stack of all:
// [experts, rows, columns].
func (b *Builder) expert(name string, e, rows, cols int) (*ir.Value, map[string]*ir.Attr) {
	label := fmt.Sprintf("%s.%d.weight", name, e)
	if !b.Has(name + "s.weight") {
		return b.matrix(label, rows, cols)
	}
	w, ok := b.weight(name+"s.weight", b.Experts, rows, cols)
	if !ok {
		return nil, nil
	}
	return b.stored(label, b.rows(w.Plain(), name+"s.weight", cols, e*rows, (e+1)*rows), rows, cols)
}
