package llm

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/textgen"
)

// wide is a model whose heads are as large as tiles want them, so that with
// block-quantized weights its prompts have an arithmetic of their own on AMX.
func wide(t *testing.T, f block.Format) string {
	t.Helper()
	const hidden, ffn, kv, vocabulary = 128, 256, 64, 320
	g := &reference{Tensors: map[string][]int{"model.embed_tokens.weight": {vocabulary, hidden}, "model.norm.weight": {hidden}, "lm_head.weight": {vocabulary, hidden}}, blocks: f}
	for l := range 2 {
		p := fmt.Sprintf("model.layers.%d.", l)
		for name, dims := range map[string][]int{
			"self_attn.q_proj": {hidden, hidden}, "self_attn.k_proj": {kv, hidden}, "self_attn.v_proj": {kv, hidden}, "self_attn.o_proj": {hidden, hidden},
			"mlp.gate_proj": {ffn, hidden}, "mlp.up_proj": {ffn, hidden}, "mlp.down_proj": {hidden, ffn}, "input_layernorm": {hidden}, "post_attention_layernorm": {hidden},
		} {
			g.Tensors[p+name+".weight"] = dims
		}
	}
	var err error
	g.Config, err = json.Marshal(map[string]any{"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "hidden_size": hidden, "intermediate_size": ffn, "num_hidden_layers": 2,
		"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": vocabulary, "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000, "hidden_act": "silu"})
	if err != nil {
		t.Fatal(err)
	}
	return g.gguf(t, "llama")
}

// The bits of an answer don't depend on company, threads, chunks, found prefixes and
// preemption either where tokens of prompts are computed differently.
func TestAnswersWithRolesAreBitIdentical(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	shared := make([]int32, 150)
	for i := range shared {
		shared[i] = int32(3 + rng.IntN(300))
	}
	prompts := make([][]int32, 12)
	for i := range prompts {
		prompts[i] = append(slices.Clone(shared[:rng.IntN(2)*(100+rng.IntN(50))]), shared[:1+rng.IntN(149)]...)
	}
	for _, f := range []block.Format{block.Q4_0, block.Q8_0} {
		path := wide(t, f)
		var want [][]textgen.Token
		for _, c := range []struct {
			name     string
			threads  int
			together bool
			o        Options
		}{
			{"alone", 1, false, Options{NoPrefixes: true}},
			{"two threads", 2, false, Options{NoPrefixes: true}},
			{"together", 2, true, Options{}},
			{"prefixes", 1, false, Options{}},
			{"small chunks", 2, true, Options{StepTokens: 19}},
			{"little memory", 2, true, Options{CacheBytes: 150 * bytesOfBlock(2, 2, 32, dtype.Float16), Context: 400}},
		} {
			t.Run(fmt.Sprint(f, ", ", c.name), func(t *testing.T) {
				p := pool.New(c.threads)
				defer p.Close()
				c.o.Pool, c.o.Level = p, 3
				m, err := Load(path, c.o)
				if err != nil {
					t.Fatal(err)
				}
				defer m.Close()
				got := answers(t, m, prompts, c.together)
				if want == nil {
					want = got
				}
				sameAnswers(t, got, want)
				if s := m.Stats(); c.o.CacheBytes > 0 && s.Preemptions == 0 || c.name == "prefixes" && s.PrefixHits == 0 {
					t.Errorf("nothing was preempted or found: %+v", s)
				}
			})
		}
	}
}
