package arch

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// llamaMetadata is that of a GGUF file with some keys replaced or added.
func llamaMetadata(changes map[string]any) map[string]any {
	m := map[string]any{
		"general.architecture": "llama", "llama.block_count": uint32(4), "llama.embedding_length": uint32(64), "llama.attention.head_count": uint32(4), "llama.attention.head_count_kv": uint32(2),
		"llama.feed_forward_length": uint32(128), "llama.context_length": uint32(256), "llama.attention.layer_norm_rms_epsilon": float32(1e-5), "llama.rope.freq_base": float32(5000),
		"llama.rope.dimension_count": uint32(16), "tokenizer.ggml.tokens": make([]string, 100), "general.file_type": uint32(7),
	}
	maps.Copy(m, changes)
	return m
}

func TestGGUFConfigs(t *testing.T) {
	for _, c := range []struct {
		name    string
		changes map[string]any
		check   func(*Config) bool
	}{
		{"plain", nil, func(c *Config) bool {
			return c.Vocabulary == 100 && c.HeadDim == 16 && c.KVHeads == 2 && c.Windows == nil && c.Rope.Base == 5000 && c.Rope.attention() == 1
		}},
		{"one number for all layers", object{"llama.attention.head_count_kv": []int32{4, 4, 4, 4}}, func(c *Config) bool { return c.KVHeads == 4 }},
		{"linear of old", object{"llama.rope.scale_linear": float32(4)}, func(c *Config) bool { return c.Rope.Scaling == "linear" && c.Rope.Factor == 4 }},
		{"yarn", object{"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": float32(4), "llama.rope.scaling.original_context_length": uint32(64), "llama.rope.scaling.attn_factor": float32(2),
			"llama.rope.scaling.finetuned": true}, func(c *Config) bool { return c.Rope.Original == 64 && c.Rope.attention() == 2*yarnScale(4, 1) }},
		{"experts", object{"llama.expert_count": uint32(8), "llama.expert_used_count": uint32(2)}, func(c *Config) bool { return c.Experts == 8 && c.ExpertsUsed == 2 && c.NormExperts }},
		{"windows in a list", object{"llama.attention.sliding_window": uint32(9), "llama.attention.sliding_window_pattern": []bool{true, false, true, true}},
			func(c *Config) bool { return slices.Equal(c.Windows, []int{9, 0, 9, 9}) }},
		{"windows by period", object{"llama.attention.sliding_window": uint32(9), "llama.attention.sliding_window_pattern": uint32(3)},
			func(c *Config) bool { return slices.Equal(c.Windows, []int{9, 9, 0, 9}) }},
	} {
		got, err := FromGGUF(llamaMetadata(c.changes))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if !c.check(got) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

func TestGGUFConfigsRefused(t *testing.T) {
	for _, c := range []struct {
		changes map[string]any
		want    string
	}{
		{object{"general.architecture": 5}, "general.architecture"},
		{object{"general.architecture": "mamba"}, "mamba"},
		{object{"llama.block_count": "four"}, "block_count"},
		{object{"llama.block_count": uint32(1 << 30)}, "layers"},
		{object{"llama.block_count": float32(1.5)}, "whole number"},
		{object{"llama.attention.head_count_kv": []int32{4, 2, 4, 4}}, "head_count_kv"},
		{object{"llama.attention.value_length": uint32(8)}, "values of 8"},
		{object{"llama.attention.causal": false}, "causal"},
		{object{"llama.residual_scale": float32(.5)}, "residual_scale"},
		{object{"llama.expert_gating_func": uint32(2)}, "expert_gating_func"},
		{object{"llama.rope.scaling.type": "spiral", "llama.rope.scaling.factor": float32(2)}, ""},
		{object{"llama.attention.sliding_window": uint32(9), "llama.attention.sliding_window_pattern": []bool{true}}, "sliding_window_pattern"},
		{object{"llama.rope.dimension_count": uint32(15)}, "15"},
		{object{"llama.rope.scaling.type": uint32(1)}, "a text"},
		{object{"llama.expert_weights_norm": uint32(1)}, "true or false"},
	} {
		got, err := FromGGUF(llamaMetadata(c.changes))
		if err == nil && c.want == "" { // found when angles are computed
			_, _, err = got.Rope.frequencies(nil)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, %+v, expected an error about %s", c.changes, err, got, c.want)
		}
	}
}

func TestGGUFConfigNeeds(t *testing.T) {
	for _, key := range []string{"llama.block_count", "llama.embedding_length", "llama.attention.head_count", "llama.context_length"} {
		meta := llamaMetadata(nil)
		delete(meta, key)
		if _, err := FromGGUF(meta); err == nil || !strings.Contains(err.Error(), key+" is missing") {
			t.Errorf("without %s: %v, expected an error that says so", key, err)
		}
	}
}
