package arch

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/format/packed"
)

// FromHuggingFace reads a configuration out of a config.json. A field that is
// not understood is an error, since it might change the answer.
func FromHuggingFace(b []byte) (*Config, error) {
	c, err := fromHuggingFace(b)
	if err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	return c, nil
}

func fromHuggingFace(b []byte) (*Config, error) {
	f, err := parseFields(b)
	if err != nil {
		return nil, err
	}
	if f.has("text_config") {
		if f, err = f.textPart(); err != nil {
			return nil, err
		}
	}
	name := f.text("", "model_type")
	if name == "" && f.err == nil {
		return nil, fmt.Errorf("model_type is missing")
	}
	a, err := Find(name, true)
	if err != nil {
		return nil, err
	}
	c := &Config{Architecture: name, HuggingFace: true}
	if raw, _ := f.get("quantization_config", "compression_config"); raw != nil {
		if c.Quantized, err = packed.Parse(raw); err != nil {
			return nil, err
		}
	}
	f.sizes(c)
	f.layers(c, a.WindowEvery)
	f.rotary(c)
	if c.Rope.Dim != c.HeadDim && !a.TurnsParts {
		f.fail("partial_rotary_factor leaves %d of a head's %d elements to be turned: %s turns all, programs differ in what they make of it", c.Rope.Dim, c.HeadDim, name)
	}
	if a.Configure != nil {
		a.Configure(f, c)
	}
	f.ignore(harmless...)
	for name, v := range defaults {
		f.only(name, v)
	}
	if err := f.rest(); err != nil {
		return nil, err
	}
	return c, c.check()
}

// textPart gives the configuration of the language model within one that reads
// pictures too, of which only the texts are served.
func (f *fields) textPart() (*fields, error) {
	kind := f.text("", "model_type")
	defaults, ok := textDefaults[kind]
	if !ok {
		return nil, fmt.Errorf("model_type %q with a text_config is not supported", kind)
	}
	text := f.sub("text_config")
	f.ignore("vision_config", "mm_tokens_per_image", "tie_word_embeddings", "boi_token_index", "eoi_token_index", "image_token_index")
	f.ignore(harmless...)
	if err := f.rest(); err != nil {
		return nil, err
	}
	for name, v := range defaults {
		if !text.has(name) {
			text.values[name] = json.RawMessage(v)
		}
	}
	text.read = map[string]bool{}
	return text, nil
}

// textDefaults are what files leave out that have transformers' defaults.
var textDefaults = map[string]map[string]string{
	"gemma3": {
		"model_type": `"gemma3_text"`, "vocab_size": "262208", "num_attention_heads": "8", "num_key_value_heads": "4", "head_dim": "256", "num_hidden_layers": "26",
		"hidden_size": "2304", "intermediate_size": "9216", "sliding_window": "4096", "max_position_embeddings": "131072", "query_pre_attn_scalar": "256", "rope_theta": "1000000",
		"hidden_activation": `"gelu_pytorch_tanh"`,
	},
}

// harmless members are for training, for other programs, or repeat what other
// files say.
var harmless = []string{
	"architectures", "auto_map", "transformers_version", "torch_dtype", "dtype", "use_cache", "return_dict", "is_encoder_decoder",
	"initializer_range", "initializer_factor", "attention_dropout", "attention_probs_dropout_prob", "hidden_dropout", "hidden_dropout_prob", "resid_pdrop", "embd_pdrop",
	"attn_pdrop", "classifier_dropout", "pretraining_tp", "gradient_checkpointing", "bos_token_id", "eos_token_id", "unk_token_id", "pad_token_id", "sep_token_id", "cls_token_id",
	"decoder_start_token_id", "router_aux_loss_coef", "output_router_logits", "router_jitter_noise", "router_z_loss_coef", "id2label", "label2id", "problem_type", "num_labels",
	"task_specific_params", "summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels", "summary_first_dropout", "finetuning_task",
	"chunk_size_feed_forward", "attn_implementation", "use_flash_attn", "embedding_dropout", "output_hidden_states", "output_attentions", "reorder_and_upcast_attn", "model_max_length", "max_sequence_length",
	"unsloth_version", "unsloth_fixed", "cache_implementation", "sentence_transformers", "directionality", "tokenizer_class", "name_or_path", "output_past", "is_llama_config", "transformers.js_config", "language", "license",
}

// defaults are values of how texts are generated that say nothing. Files of older versions
// of transformers have such members, newer ones generation_config.json.
var defaults = map[string]float64{
	"num_beams": 1, "num_beam_groups": 1, "num_return_sequences": 1, "max_length": 20, "min_length": 0, "temperature": 1, "top_k": 50, "top_p": 1, "typical_p": 1,
	"repetition_penalty": 1, "length_penalty": 1, "diversity_penalty": 0, "no_repeat_ngram_size": 0, "encoder_no_repeat_ngram_size": 0,
}

func (f *fields) sizes(c *Config) {
	c.Layers, c.Hidden, c.Heads = f.int(0, "num_hidden_layers", "n_layer"), f.int(0, "hidden_size", "n_embd"), f.int(0, "num_attention_heads", "n_head")
	c.KVHeads = f.int(c.Heads, "num_key_value_heads")
	c.HeadDim = f.int(c.Hidden/max(c.Heads, 1), "head_dim")
	c.FFN = f.int(4*c.Hidden, "intermediate_size", "n_inner")
	c.Vocabulary, c.Context = f.int(0, "vocab_size"), f.int(0, "max_position_embeddings", "n_positions")
	f.ignore("n_ctx") // which is n_positions again
	c.NormEps = float32(f.number(1e-6, "rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon"))
	c.Activation = f.text("silu", "hidden_activation", "hidden_act", "activation_function")
	if f.has("tie_word_embeddings") {
		tied := f.bool(false, "tie_word_embeddings")
		c.Tied = &tied
	}
	if c.HeadDim*c.Heads != c.Hidden && !f.has("head_dim") {
		f.fail("hidden_size %d is no multiple of num_attention_heads %d", c.Hidden, c.Heads)
	}
}

// layers reads which layers have a sliding window: as a list, or by rules that
// older files leave to the program.
func (f *fields) layers(c *Config, every int) {
	window := f.int(0, "sliding_window")
	if again := f.int(window, "sliding_window_size"); again != window { // Gemma 2 says it twice
		f.fail("sliding_window_size is %d, sliding_window %d", again, window)
	}
	if !f.bool(true, "use_sliding_window") {
		window = 0
	}
	var types []string
	f.value(&types, "layer_types")
	from := f.int(0, "max_window_layers") // of Qwen: those before see everything
	every = f.int(every, "sliding_window_pattern", "_sliding_window_pattern")
	if types != nil && len(types) != c.Layers {
		f.fail("layer_types has %d entries for %d layers", len(types), c.Layers)
		return
	}
	if c.Layers < 1 || c.Layers > maxLayers {
		return // which check reports
	}
	c.Windows = make([]int, c.Layers)
	for i := range c.Windows {
		switch {
		case types == nil && i >= from && (every == 0 || (i+1)%every != 0):
			c.Windows[i] = window
		case types == nil || types[i] == "full_attention":
		case types[i] == "sliding_attention":
			c.Windows[i] = window
			if window == 0 {
				f.fail("layer_types[%d] is sliding_attention, and sliding_window is missing", i)
			}
		default:
			f.fail("layer_types[%d] is %q, supported are full_attention and sliding_attention", i, types[i])
		}
	}
}

// rotary reads rope_parameters, or what older files have instead.
func (f *fields) rotary(c *Config) {
	c.Rope = Rope{Base: f.number(10000, "rope_theta", "rotary_emb_base"), LocalBase: f.number(0, "rope_local_base_freq"), Factor: 1, Original: f.int(c.Context, "original_max_position_embeddings")}
	partial := f.number(1, "partial_rotary_factor")
	s, name := f.sub("rope_parameters"), "rope_parameters"
	if s == nil {
		s, name = f.sub("rope_scaling"), "rope_scaling"
	}
	f.ignore("rope_scaling")
	if s != nil && s.has("full_attention") { // by kind of layer
		local := s.sub("sliding_attention")
		if local != nil {
			c.Rope.LocalBase = local.number(c.Rope.Base, "rope_theta")
			local.only("rope_type", "default")
			s.join(local, "sliding_attention")
		}
		all := s.sub("full_attention")
		f.join(s, name)
		s, name = all, name+".full_attention"
	}
	if s != nil {
		partial = s.number(partial, "partial_rotary_factor")
		s.scaling(c)
		f.join(s, name)
	}
	c.Rope.Dim = int(float64(c.HeadDim) * partial)
}

// scaling reads how rotary embeddings are stretched.
func (f *fields) scaling(c *Config) {
	r := &c.Rope
	r.Base = f.number(r.Base, "rope_theta")
	r.Scaling = f.text("default", "rope_type", "type")
	r.Original = f.int(r.Original, "original_max_position_embeddings")
	r.AttnScale = f.number(0, "attention_factor")
	r.Factor = f.number(float64(c.Context)/float64(max(r.Original, 1)), "factor")
	switch r.Scaling {
	case "default", "dynamic": // the latter changes with texts beyond the context, which are refused
		r.Scaling, r.Factor = "", 1
	case "linear":
	case "llama3":
		r.LowFreq, r.HighFreq = f.number(1, "low_freq_factor"), f.number(4, "high_freq_factor")
	case "yarn":
		r.BetaFast, r.BetaSlow = f.number(32, "beta_fast"), f.number(1, "beta_slow")
		r.Fractions = !f.bool(true, "truncate")
		if m, all := f.number(0, "mscale"), f.number(0, "mscale_all_dim"); m != 0 && all != 0 && r.AttnScale == 0 {
			r.AttnScale = yarnScale(r.Factor, m) / yarnScale(r.Factor, all)
		}
	case "longrope", "su":
		r.Scaling = "longrope"
		f.value(&r.Short, "short_factor")
		f.value(&r.Long, "long_factor")
	default:
		f.fail("rope_type %q is not supported; known are default, linear, dynamic, llama3, yarn and longrope", r.Scaling)
	}
}

// yarnScale is the factor of cosines and sines that arXiv 2309.00071 recommends.
func yarnScale(factor, by float64) float64 {
	if factor <= 1 {
		return 1
	}
	return .1*by*math.Log(factor) + 1
}
