package arch

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// llamaConfig is a config.json with some members replaced or added; nil removes one.
func llamaConfig(changes map[string]any) []byte {
	c := map[string]any{
		"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100,
		"max_position_embeddings": 256, "rms_norm_eps": 1e-5, "hidden_act": "silu", "rope_theta": 5000.0, "torch_dtype": "bfloat16", "use_cache": true, "_name_or_path": "x",
		"architectures": []string{"LlamaForCausalLM"}, "attention_bias": false, "quantization_config": nil, "sliding_window": nil,
	}
	for k, v := range changes {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	b, _ := json.Marshal(c)
	return b
}

type object = map[string]any

func TestHuggingFaceConfigs(t *testing.T) {
	for _, c := range []struct {
		name    string
		changes object
		check   func(*Config) bool
	}{
		{"plain", nil, func(c *Config) bool {
			return c.HeadDim == 16 && c.KVHeads == 2 && c.NormEps == 1e-5 && c.Rope.Base == 5000 && c.Rope.Dim == 16 && c.Tied == nil && reflect.DeepEqual(c.Windows, make([]int, 4))
		}},
		{"tied", object{"tie_word_embeddings": true}, func(c *Config) bool { return *c.Tied }},
		{"not tied", object{"tie_word_embeddings": false}, func(c *Config) bool { return !*c.Tied }},
		{"older scaling", object{"rope_scaling": object{"type": "linear", "factor": 2.0}}, func(c *Config) bool { return c.Rope.Scaling == "linear" && c.Rope.Factor == 2 }},
		{"newer scaling", object{"rope_theta": nil, "rope_parameters": object{"rope_type": "yarn", "rope_theta": 7.0, "factor": 4.0, "original_max_position_embeddings": 64}},
			func(c *Config) bool {
				return c.Rope.Scaling == "yarn" && c.Rope.Base == 7 && c.Rope.Original == 64 && c.Rope.BetaFast == 32 && c.Rope.BetaSlow == 1 && c.Rope.attention() == .1*math.Log(4)+1
			}},
		{"yarn with its own factor", object{"rope_scaling": object{"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "attention_factor": 1.5}},
			func(c *Config) bool { return c.Rope.attention() == 1.5 }},
		{"llama3", object{"rope_scaling": object{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 128}},
			func(c *Config) bool { return c.Rope.Scaling == "llama3" && c.Rope.HighFreq == 4 }},
		{"as older versions write it", object{"num_beams": 1, "top_k": 50, "temperature": 1.0, "max_length": 20, "attn_implementation": "flash_attention_2"}, func(c *Config) bool { return c.Layers == 4 }},
		{"default", object{"rope_scaling": object{"rope_type": "default"}}, func(c *Config) bool { return c.Rope.Scaling == "" }},
		{"a window that is off", object{"model_type": "qwen2", "sliding_window": 32, "use_sliding_window": false, "max_window_layers": 2}, func(c *Config) bool { return slices.Max(c.Windows) == 0 }},
		{"a window from a layer on", object{"model_type": "qwen2", "sliding_window": 32, "use_sliding_window": true, "max_window_layers": 2},
			func(c *Config) bool { return slices.Equal(c.Windows, []int{0, 0, 32, 32}) }},
		{"a window everywhere in Qwen 3 with experts", object{"model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "sliding_window": 32, "use_sliding_window": true, "max_window_layers": 2},
			func(c *Config) bool { return slices.Equal(c.Windows, []int{32, 32, 32, 32}) }},
		{"a window everywhere", object{"model_type": "mistral", "sliding_window": 32}, func(c *Config) bool { return slices.Equal(c.Windows, []int{32, 32, 32, 32}) }},
		{"layers one by one", object{"model_type": "qwen3", "sliding_window": 32, "layer_types": []string{"sliding_attention", "full_attention", "full_attention", "sliding_attention"}},
			func(c *Config) bool { return slices.Equal(c.Windows, []int{32, 0, 0, 32}) }},
		{"every other layer", object{"model_type": "gemma2", "sliding_window": 32, "hidden_act": "gelu_pytorch_tanh", "attn_logit_softcapping": 50.0, "query_pre_attn_scalar": 16},
			func(c *Config) bool {
				return slices.Equal(c.Windows, []int{32, 0, 32, 0}) && c.AttnSoftcap == 50 && c.AttnScale == .25
			}},
		{"older gemma3", object{"model_type": "gemma3_text", "hidden_act": nil, "sliding_window": 32, "sliding_window_pattern": 2, "rope_local_base_freq": 100.0, "rope_scaling": object{"rope_type": "linear", "factor": 8.0}},
			func(c *Config) bool {
				return slices.Equal(c.Windows, []int{32, 0, 32, 0}) && c.Rope.LocalBase == 100 && c.Rope.Factor == 8 && c.Activation == "gelu_pytorch_tanh"
			}},
		{"gemma3 limits logits, not attention", object{"model_type": "gemma3_text", "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}, func(c *Config) bool { return c.AttnSoftcap == 0 && c.LogitSoftcap == 30 }},
		{"gemma that says gelu", object{"model_type": "gemma", "hidden_act": "gelu"}, func(c *Config) bool { return c.Activation == "gelu_pytorch_tanh" }},
		{"phi3 with su", object{"model_type": "phi3", "partial_rotary_factor": .5, "original_max_position_embeddings": 64,
			"rope_scaling": object{"type": "su", "short_factor": []float64{1, 1, 1, 1}, "long_factor": []float64{1, 2, 3, 4}}},
			func(c *Config) bool {
				return c.Rope.Dim == 8 && c.Rope.Scaling == "longrope" && c.Rope.Factor == 4 && c.Rope.Original == 64 && len(c.Rope.Long) == 4
			}},
		{"off", object{"some_flag": false, "some_list": []int{}, "_private": 5}, func(c *Config) bool { return true }},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := FromHuggingFace(llamaConfig(c.changes))
			if err != nil {
				t.Fatal(err)
			}
			if !c.check(got) {
				t.Errorf("it is %+v", got)
			}
		})
	}
}

// Configurations in the forms that widely used models have.
func TestHuggingFaceConfigsOfModels(t *testing.T) {
	for name, text := range map[string]string{
		"Llama 3.2": `{"architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "head_dim": 64,
			"hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 8192, "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "llama",
			"num_attention_heads": 32, "num_hidden_layers": 16, "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0,
			"low_freq_factor": 1.0, "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "rope_theta": 500000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
			"transformers_version": "4.45.0.dev0", "use_cache": true, "vocab_size": 128256}`,
		"SmolLM2": `{"architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "hidden_size": 576, "intermediate_size": 1536, "is_llama_config": true, "max_position_embeddings": 8192,
			"model_type": "llama", "num_attention_heads": 9, "num_hidden_layers": 30, "num_key_value_heads": 3, "rms_norm_eps": 1e-05, "rope_interleaved": false, "rope_scaling": null,
			"rope_theta": 100000, "tie_word_embeddings": true, "transformers.js_config": {"dtype": "q4"}, "vocab_size": 49152}`,
		"Phi 3 mini": `{"_name_or_path": "Phi-3-mini-4k-instruct", "architectures": ["Phi3ForCausalLM"], "attention_bias": false, "auto_map": {"AutoConfig": "configuration_phi3.Phi3Config"},
			"bos_token_id": 1, "embd_pdrop": 0.0, "eos_token_id": 32000, "hidden_act": "silu", "hidden_size": 3072, "intermediate_size": 8192, "max_position_embeddings": 4096, "model_type": "phi3",
			"num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32, "original_max_position_embeddings": 4096, "pad_token_id": 32000, "resid_pdrop": 0.0, "rms_norm_eps": 1e-05,
			"rope_scaling": null, "rope_theta": 10000.0, "sliding_window": 2047, "tie_word_embeddings": false, "vocab_size": 32064}`,
		"Gemma 2 9B": `{"architectures": ["Gemma2ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "attn_logit_softcapping": 50.0, "bos_token_id": 2, "cache_implementation": "hybrid",
			"eos_token_id": 1, "final_logit_softcapping": 30.0, "head_dim": 256, "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 3584, "initializer_range": 0.02,
			"intermediate_size": 14336, "max_position_embeddings": 8192, "model_type": "gemma2", "num_attention_heads": 16, "num_hidden_layers": 42, "num_key_value_heads": 8, "pad_token_id": 0,
			"query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06, "rope_theta": 10000.0, "sliding_window": 4096, "sliding_window_size": 4096, "torch_dtype": "float32", "vocab_size": 256000}`,
		"Gemma 3": `{"architectures": ["Gemma3ForConditionalGeneration"], "boi_token_index": 255999, "eoi_token_index": 256000, "eos_token_id": [1, 106], "image_token_index": 262144,
			"initializer_range": 0.02, "mm_tokens_per_image": 256, "model_type": "gemma3", "text_config": {"hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text",
			"num_hidden_layers": 34, "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024}, "torch_dtype": "bfloat16", "vision_config": {"hidden_size": 1152}}`,
		"GPT-2": `{"activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1, "bos_token_id": 50256, "embd_pdrop": 0.1, "eos_token_id": 50256,
			"initializer_range": 0.02, "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024, "resid_pdrop": 0.1,
			"summary_activation": null, "summary_first_dropout": 0.1, "summary_proj_to_labels": true, "summary_type": "cls_index", "summary_use_proj": true,
			"task_specific_params": {"text-generation": {"do_sample": true, "max_length": 50}}, "vocab_size": 50257}`,
		"XLM-R reranker": `{"architectures": ["XLMRobertaForSequenceClassification"], "attention_probs_dropout_prob": 0.1, "bos_token_id": 0, "classifier_dropout": null, "eos_token_id": 2,
			"hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": 1024, "id2label": {"0": "LABEL_0"}, "initializer_range": 0.02, "intermediate_size": 4096, "label2id": {"LABEL_0": 0},
			"layer_norm_eps": 1e-05, "max_position_embeddings": 8194, "model_type": "xlm-roberta", "num_attention_heads": 16, "num_hidden_layers": 24, "output_past": true, "pad_token_id": 1,
			"position_embedding_type": "absolute", "torch_dtype": "float32", "type_vocab_size": 1, "use_cache": true, "vocab_size": 250002}`,
	} {
		c, err := FromHuggingFace([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		switch name {
		case "Gemma 3":
			if c.Heads != 8 || c.HeadDim != 256 || c.Vocabulary != 262208 || c.Rope.Base != 1e6 || c.Rope.LocalBase != 10000 || c.Rope.Factor != 8 || c.Windows[5] != 0 || c.Windows[6] != 1024 || c.AttnScale != 1./16 {
				t.Errorf("%s is %+v", name, c)
			}
		case "XLM-R reranker":
			if c.Labels != 1 || c.Context != 8192 || c.FirstPosition != 2 || c.TokenTypes != 1 || c.Activation != "gelu" {
				t.Errorf("%s is %+v", name, c)
			}
		}
	}
}

func TestHuggingFaceConfigsRefused(t *testing.T) {
	for _, c := range []struct {
		changes object
		want    string
	}{
		{object{"model_type": nil}, "model_type"},
		{object{"model_type": "mamba"}, "mamba"},
		{object{"quantization_config": object{"bits": 4}}, "quantization_config"},
		{object{"new_trick": 3}, "new_trick"},
		{object{"rope_scaling": object{"rope_type": "proportional", "factor": 2.0}}, "proportional"},
		{object{"partial_rotary_factor": 0.5}, "partial_rotary_factor"},
		{object{"rope_scaling": object{"rope_type": "linear", "factor": 2.0, "beta": 1}}, "beta"},
		{object{"rope_scaling": object{"rope_type": "yarn", "factor": 2.0, "truncate": 3}}, "truncate"},
		{object{"rope_scaling": object{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 1.0}}, "low_freq_factor"},
		{object{"rope_scaling": object{"rope_type": "linear", "factor": -1.0}}, "-1"},
		{object{"rope_theta": 0.5}, "0.5"},
		{object{"layer_types": []string{"full_attention"}}, "layer_types"},
		{object{"layer_types": []string{"full_attention", "full_attention", "full_attention", "linear_attention"}}, "linear_attention"},
		{object{"layer_types": []string{"full_attention", "full_attention", "full_attention", "sliding_attention"}}, "sliding_window"},
		{object{"num_hidden_layers": 1e9}, "layers"},
		{object{"num_beams": 4}, "num_beams"},
		{object{"num_hidden_layers": 2.5}, "whole number"},
		{object{"hidden_size": "big"}, "hidden_size"},
		{object{"num_attention_heads": 0}, "heads"},
		{object{"num_attention_heads": 3}, "num_attention_heads"},
		{object{"num_key_value_heads": 3}, "multiple"},
		{object{"head_dim": 15}, "15"},
		{object{"sliding_window": -5}, "-5"},
		{object{"sliding_window": 32, "sliding_window_size": 64}, "sliding_window_size"},
		{object{"model_type": "phi3", "rope_scaling": object{"type": "su", "short_factor": []float64{1}, "long_factor": []float64{1}}}, "longrope"},
		{object{"model_type": "gpt2", "scale_attn_by_inverse_layer_idx": true}, "scale_attn_by_inverse_layer_idx"},
		{object{"model_type": "gemma2", "use_bidirectional_attention": true}, "use_bidirectional_attention"},
		{object{"model_type": "bert", "position_embedding_type": "relative_key"}, "relative_key"},
		{object{"model_type": "mixtral", "num_local_experts": 2, "num_experts_per_tok": 3}, "experts used"},
		{object{"model_type": "qwen3_moe", "num_experts": 4}, "experts used"},
	} {
		got, err := FromHuggingFace(llamaConfig(c.changes))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, %+v, expected an error about %s", c.changes, err, got, c.want)
		}
	}
	if _, err := FromHuggingFace([]byte("[]")); err == nil {
		t.Error("a list is taken")
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct{ model, name, want string }{
		{"llama", "blk.12.attn_q.weight", "model.layers.12.self_attn.q_proj.weight"},
		{"llama", "output.weight", "lm_head.weight"},
		{"llama", "blk.3.post_ffw_norm.weight", ""},
		{"llama", "rope_freqs.weight", ""},
		{"llama", "weight", ""},
		{"gemma2", "blk.0.ffn_norm.weight", "model.layers.0.pre_feedforward_layernorm.weight"},
		{"mixtral", "blk.1.ffn_up_exp.7.weight", "model.layers.1.block_sparse_moe.experts.7.w3.weight"},
		{"qwen3_moe", "blk.1.ffn_down_exp.30.weight", "model.layers.1.mlp.experts.30.down_proj.weight"},
		{"gpt2", "blk.1.attn_qkv.bias", "transformer.h.1.attn.c_attn.bias"},
		{"gpt2", "blk.1.attn_q.bias", ""},
		{"bert", "cls.output.bias", "classifier.bias"},
		{"xlm-roberta", "cls.output.bias", "classifier.out_proj.bias"},
	} {
		a, err := Find(c.model, true)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := a.HuggingFaceName(c.name); got != c.want {
			t.Errorf("%s: %s is %q, expected %q", c.model, c.name, got, c.want)
		}
	}
}

func FuzzHuggingFace(f *testing.F) {
	f.Add(llamaConfig(nil))
	f.Add(llamaConfig(object{"model_type": "phi3", "rope_scaling": object{"type": "su", "short_factor": []float64{1}, "long_factor": []float64{1}}}))
	f.Add(llamaConfig(object{"model_type": "gemma3_text", "rope_parameters": object{"full_attention": object{"rope_theta": 5.0}, "sliding_attention": object{}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := FromHuggingFace(b); err == nil && c.check() != nil {
			t.Error("a configuration is taken that can't be")
		}
	})
}
