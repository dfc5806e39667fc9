package arch

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/ir"
)

// BERT (arXiv 1810.04805), RoBERTa (1907.11692) and XLM-RoBERTa (1911.02116), which
// differ in where positions begin, and nomic-bert (2402.01613) with rotary embeddings
// and gated networks: norms after each part, attention to the whole text. With a
// head for classes they score pairs of texts.
func init() {
	bertNames := map[string]string{
		"token_embd":               "embeddings.word_embeddings",
		"position_embd":            "embeddings.position_embeddings",
		"token_types":              "embeddings.token_type_embeddings",
		"token_embd_norm":          "embeddings.LayerNorm",
		"blk.%d.attn_q":            "encoder.layer.%d.attention.self.query",
		"blk.%d.attn_k":            "encoder.layer.%d.attention.self.key",
		"blk.%d.attn_v":            "encoder.layer.%d.attention.self.value",
		"blk.%d.attn_output":       "encoder.layer.%d.attention.output.dense",
		"blk.%d.attn_output_norm":  "encoder.layer.%d.attention.output.LayerNorm",
		"blk.%d.ffn_up":            "encoder.layer.%d.intermediate.dense",
		"blk.%d.ffn_down":          "encoder.layer.%d.output.dense",
		"blk.%d.layer_output_norm": "encoder.layer.%d.output.LayerNorm",
		"cls":                      "pooler.dense",
		"cls.output":               "classifier",
	}
	bertLike := Architecture{GGUF: []string{"bert", "nomic-bert"}, HuggingFace: []string{"bert"}, Build: bert, Configure: bertFields, ConfigureGGUF: bertGGUF,
		Encoder: true, OwnNames: true, Names: bertNames, Prefixes: []string{"bert."}, Needless: []string{"pooler.", "cls.", "lm_head."}}
	register(bertLike)
	roberta := Architecture{HuggingFace: []string{"roberta", "xlm-roberta"}, Build: bert, Configure: bertFields, Encoder: true, OwnNames: true,
		Names: map[string]string{"cls": "classifier.dense", "cls.output": "classifier.out_proj"}, Prefixes: []string{"roberta."}, Needless: bertLike.Needless}
	for k, v := range bertNames {
		if roberta.Names[k] == "" {
			roberta.Names[k] = v
		}
	}
	register(roberta)
}

func bertFields(f *fields, c *Config) {
	f.only("position_embedding_type", "absolute")
	f.only("is_decoder", false)
	f.only("add_cross_attention", false)
	c.Rope = Rope{}
	c.TokenTypes = f.int(2, "type_vocab_size")
	if c.Architecture != "bert" {
		c.FirstPosition = f.int(1, "pad_token_id") + 1
		c.Context -= c.FirstPosition
	}
	var kinds []string
	f.value(&kinds, "architectures")
	if !slices.ContainsFunc(kinds, func(k string) bool { return strings.HasSuffix(k, "ForSequenceClassification") }) {
		return
	}
	var labels map[string]json.RawMessage
	f.value(&labels, "id2label")
	if c.Labels = f.int(len(labels), "num_labels"); c.Labels == 0 {
		c.Labels = 2 // as transformers has it
	}
}

// bertGGUF: positions are in the file from that of the first token on.
func bertGGUF(m *metadata, c *Config) {
	c.Activation = "gelu"
	c.TokenTypes = int(m.plain("tokenizer.ggml.token_type_count", 0))
	if c.Architecture == "bert" {
		c.Rope = Rope{}
	} else {
		c.Activation = "silu"
	}
	if m.int("pooling_type", 0) == poolingRank {
		labels, _ := m.meta[m.prefix+"classifier.output_labels"].([]string)
		c.Labels = max(len(labels), 1)
	}
	m.only("moe_every_n_layers", 0.)
}

// poolingRank is the pooling_type of models that score pairs.
const poolingRank = 4

func bert(b *Builder) {
	x := b.Embed("token_embd")
	if b.Has("token_types.weight") {
		x = b.Add(x, b.lookUp("token_types", b.TokenTypes, "types"))
	}
	if b.Rope.Dim == 0 {
		x = b.Add(x, b.EmbedPositions("position_embd"))
	}
	x = b.LayerNorm(x, "token_embd_norm", b.Hidden)
	for i := range b.Layers {
		p := b.Layer(i)
		q, k, v := queries(b, x, p)
		if b.Rope.Dim > 0 {
			q, k = b.Rotary(q, b.Heads, false), b.Rotary(k, b.KVHeads, false)
		}
		a := b.Linear(b.Attention(q, k, v, 0), p+"attn_output", b.Heads*b.HeadDim, b.Hidden)
		x = b.LayerNorm(b.Add(x, a), p+"attn_output_norm", b.Hidden)
		x = b.LayerNorm(b.Add(x, bertFFN(b, x, p)), p+"layer_output_norm", b.Hidden)
	}
	b.End()
	if b.Labels == 0 {
		b.output("vectors", x)
		return
	}
	first := b.Node("Gather", nil, x, b.inputs["rows"])
	if b.Has("cls.weight") {
		first = b.Node("Tanh", nil, b.Linear(first, "cls", b.Hidden, b.Hidden))
	}
	b.output("scores", b.Linear(first, "cls.output", b.Hidden, b.Labels))
}

func bertFFN(b *Builder, x *ir.Value, p string) *ir.Value {
	if b.Has(p + "ffn_gate.weight") {
		return gatedFFN(b, x, p)
	}
	return plainFFN(b, x, p)
}
