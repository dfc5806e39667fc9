package arch

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// huggingFaceNames are those of the Llama family, which most others keep: names
// of GGUF, without their ends, with those of transformers. %d is the layer, and
// a second one the expert.
var huggingFaceNames = map[string]string{
	"token_embd":             "model.embed_tokens",
	"output_norm":            "model.norm",
	"output":                 "lm_head",
	"blk.%d.attn_norm":       "model.layers.%d.input_layernorm",
	"blk.%d.attn_q":          "model.layers.%d.self_attn.q_proj",
	"blk.%d.attn_k":          "model.layers.%d.self_attn.k_proj",
	"blk.%d.attn_v":          "model.layers.%d.self_attn.v_proj",
	"blk.%d.attn_output":     "model.layers.%d.self_attn.o_proj",
	"blk.%d.attn_q_norm":     "model.layers.%d.self_attn.q_norm",
	"blk.%d.attn_k_norm":     "model.layers.%d.self_attn.k_norm",
	"blk.%d.ffn_norm":        "model.layers.%d.post_attention_layernorm",
	"blk.%d.ffn_gate":        "model.layers.%d.mlp.gate_proj",
	"blk.%d.ffn_up":          "model.layers.%d.mlp.up_proj",
	"blk.%d.ffn_down":        "model.layers.%d.mlp.down_proj",
	"blk.%d.ffn_gate_inp":    "model.layers.%d.mlp.gate",
	"blk.%d.ffn_gate_exp.%d": "model.layers.%d.mlp.experts.%d.gate_proj",
	"blk.%d.ffn_up_exp.%d":   "model.layers.%d.mlp.experts.%d.up_proj",
	"blk.%d.ffn_down_exp.%d": "model.layers.%d.mlp.experts.%d.down_proj",
	"blk.%d.ffn_gate_shexp":  "model.layers.%d.mlp.shared_expert.gate_proj",
	"blk.%d.ffn_up_shexp":    "model.layers.%d.mlp.shared_expert.up_proj",
	"blk.%d.ffn_down_shexp":  "model.layers.%d.mlp.shared_expert.down_proj",

	"blk.%d.ffn_gate_inp_shexp": "model.layers.%d.mlp.shared_expert_gate",
}

// HuggingFaceName translates the name that GGUF has for a tensor, such as
// "blk.0.attn_q.weight"; it reports false for one that the architecture does
// not have in transformers. An expert's are "blk.0.ffn_up_exp.3.weight".
func (a *Architecture) HuggingFaceName(name string) (string, bool) {
	at := strings.LastIndexByte(name, '.')
	if at < 0 {
		return "", false
	}
	parts := strings.Split(name[:at], ".")
	var numbers []any
	for i, p := range parts {
		if n, err := strconv.Atoi(p); err == nil {
			numbers = append(numbers, n)
			parts[i] = "%d"
		}
	}
	key := strings.Join(parts, ".")
	form, ok := a.Names[key]
	if !ok && !a.OwnNames {
		form, ok = huggingFaceNames[key]
	}
	if !ok || form == "" || strings.Count(form, "%d") != len(numbers) {
		return "", false
	}
	return fmt.Sprintf(form, numbers...) + name[at:], true
}

// Prefix compares the name that a tensor should have with what a file has, and
// gives what is wrong before it: files of a model without its head lack the first
// part ("-model."), those of a model within another have more ("+bert.").
func (a *Architecture) Prefix(name string, has func(string) bool) string {
	if has(name) {
		return ""
	}
	if first, rest, ok := strings.Cut(name, "."); ok && has(rest) {
		return "-" + first + "."
	}
	for _, p := range a.Prefixes {
		if has(p + name) {
			return "+" + p
		}
	}
	return ""
}

// Rename corrects a name by what Prefix gave.
func (a *Architecture) Rename(name, prefix string) string {
	switch {
	case prefix == "" || a.isHead(name):
		return name
	case prefix[0] == '-':
		return strings.TrimPrefix(name, prefix[1:])
	}
	return prefix[1:] + name
}

// isHead reports whether a tensor lies outside the model proper.
func (a *Architecture) isHead(name string) bool {
	return strings.HasPrefix(name, "lm_head.") || strings.HasPrefix(name, "classifier.")
}

// IsTransposed reports whether transformers stores a matrix as [inputs, outputs].
func (a *Architecture) IsTransposed(name string) bool {
	parts := strings.Split(name, ".")
	n := len(parts)
	return n >= 2 && parts[n-1] == "weight" && slices.Contains(a.Transposed, parts[n-2])
}

// needless are parts of the names of tensors that change nothing: tables that
// follow from the configuration, and heads that were used in training.
var needless = []string{"rotary_emb.inv_freq", "position_ids", ".attn.bias", ".attn.masked_bias", "rope_freqs.weight", "rope_factors_"}

// CheckRest refuses a file with tensors that the model does not use: it is
// another model than its configuration says.
func (a *Architecture) CheckRest(names []string, c *Config) error {
	names = slices.DeleteFunc(names, func(name string) bool {
		if c.Tied != nil && *c.Tied && (name == "lm_head.weight" || name == "output.weight") {
			return true
		}
		return slices.ContainsFunc(slices.Concat(needless, a.Needless), func(part string) bool { return strings.Contains(name, part) })
	})
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("%s: the file has %d tensors that this architecture does not use, such as %q: it is another one, or a variant that is not supported", c.Architecture, len(names), names[0])
}
