package llm

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/format/gguf"
	"github.com/salver-ml/salver/internal/llm/arch"
	"github.com/salver-ml/salver/internal/tensor"
)

// ggufNames are what GGUF files call architectures that it has other names for.
var ggufNames = map[string]string{"mistral": "llama", "mixtral": "llama", "gemma3_text": "gemma3", "qwen2_moe": "qwen2moe", "qwen3_moe": "qwen3moe", "roberta": "bert", "xlm-roberta": "bert"}

// ggufTensors are the names that a GGUF file may have, of the model and its layers.
var ggufTensors = []string{"token_embd", "position_embd", "token_types", "token_embd_norm", "output_norm", "output", "cls", "cls.output"}

var ggufLayer = []string{"attn_norm", "attn_q", "attn_k", "attn_v", "attn_qkv", "attn_output", "attn_q_norm", "attn_k_norm", "attn_output_norm", "post_attention_norm",
	"ffn_norm", "ffn_gate", "ffn_up", "ffn_down", "post_ffw_norm", "layer_output_norm", "ffn_gate_inp", "ffn_gate_inp_shexp", "ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp"}

// gguf writes the golden's model as llama.cpp's converter would.
func (g *reference) gguf(t *testing.T, vocabulary string) string {
	t.Helper()
	c, err := arch.FromHuggingFace(g.Config)
	if err != nil {
		t.Fatal(err)
	}
	a, err := arch.Find(c.Architecture, true)
	if err != nil {
		t.Fatal(err)
	}
	w := &ggufWriter{g: g, c: c, a: a, name: c.Architecture}
	if n, ok := ggufNames[w.name]; ok {
		w.name = n
	}
	w.metadata(vocabulary)
	w.rotary()
	for _, n := range ggufTensors {
		w.copy(n)
	}
	for l := range c.Layers {
		p := fmt.Sprintf("blk.%d.", l)
		for _, n := range ggufLayer {
			w.copy(p + n)
		}
		for _, n := range []string{"ffn_gate_exp", "ffn_up_exp", "ffn_down_exp"} {
			w.stack(p + n)
		}
	}
	path := filepath.Join(t.TempDir(), "model.gguf")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := gguf.Write(f, w.pairs, w.sources); err != nil {
		t.Fatal(err)
	}
	return path
}

type ggufWriter struct {
	g       *reference
	c       *arch.Config
	a       *arch.Architecture
	name    string
	pairs   []gguf.Pair
	sources []gguf.Source
}

func (w *ggufWriter) set(key string, v any) {
	if n, ok := v.(int); ok {
		v = uint32(n)
	}
	w.pairs = append(w.pairs, gguf.Pair{Key: strings.ReplaceAll(key, "*", w.name), Value: v})
}

func (w *ggufWriter) metadata(vocabulary string) {
	c := w.c
	w.set("general.architecture", w.name)
	for _, p := range []struct {
		key string
		v   int
	}{{"block_count", c.Layers}, {"embedding_length", c.Hidden}, {"attention.head_count", c.Heads}, {"attention.head_count_kv", c.KVHeads}, {"context_length", c.Context},
		{"feed_forward_length", c.FFN}, {"attention.key_length", c.HeadDim}, {"attention.value_length", c.HeadDim}, {"vocab_size", c.Vocabulary}, {"expert_count", c.Experts},
		{"expert_used_count", c.ExpertsUsed}, {"expert_feed_forward_length", c.ExpertFFN}, {"expert_shared_feed_forward_length", c.SharedFFN}} {
		if p.v > 0 {
			w.set("*."+p.key, p.v)
		}
	}
	eps := "*.attention.layer_norm_rms_epsilon"
	if w.name == "gpt2" || w.name == "bert" {
		eps = "*.attention.layer_norm_epsilon"
	}
	w.set(eps, c.NormEps)
	if c.AttnSoftcap > 0 {
		w.set("*.attn_logit_softcapping", c.AttnSoftcap)
		w.set("*.final_logit_softcapping", c.LogitSoftcap)
	}
	if n := slices.Max(append(c.Windows, 0)); n > 0 {
		w.set("*.attention.sliding_window", n)
		if w.name == "qwen2" {
			var list []bool
			for _, v := range c.Windows {
				list = append(list, v > 0)
			}
			w.set("*.attention.sliding_window_pattern", list)
		}
	}
	if c.TokenTypes > 0 {
		w.set("tokenizer.ggml.token_type_count", c.TokenTypes)
		w.set("*.pooling_type", 1)
		w.set("*.attention.causal", false)
	}
	w.set("tokenizer.ggml.model", vocabulary)
	if vocabulary == "no_vocab" {
		return
	}
	tokens, scores, types := []string{"<unk>", "<s>", "</s>"}, make([]float32, c.Vocabulary), make([]int32, c.Vocabulary)
	for i := range c.Vocabulary {
		if types[i] = 1; i < 3 {
			types[i] = 3
		} else {
			tokens = append(tokens, fmt.Sprintf("▁w%d", i))
		}
	}
	w.set("tokenizer.ggml.tokens", tokens)
	w.set("tokenizer.ggml.scores", scores)
	w.set("tokenizer.ggml.token_type", types)
}

func (w *ggufWriter) rotary() {
	r := w.c.Rope
	if r.Dim == 0 {
		return
	}
	w.set("*.rope.freq_base", float32(r.Base))
	w.set("*.rope.dimension_count", r.Dim)
	floats := func(name string, v []float64) {
		var f []float32
		for _, x := range v {
			f = append(f, float32(x))
		}
		w.add(name, []int{len(f)}, f)
	}
	switch r.Scaling {
	case "linear", "yarn":
		w.set("*.rope.scaling.type", r.Scaling)
		w.set("*.rope.scaling.factor", float32(r.Factor))
		w.set("*.rope.scaling.original_context_length", r.Original)
	case "longrope":
		w.set("*.rope.scaling.original_context_length", r.Original)
		w.set("*.rope.scaling.attn_factor", float32(math.Sqrt(1+math.Log(r.Factor)/math.Log(float64(r.Original)))))
		floats("rope_factors_short.weight", r.Short)
		floats("rope_factors_long.weight", r.Long)
	case "llama3": // as numbers by which frequencies are divided
		var v []float64
		for i := range r.Dim / 2 {
			wave := 2 * math.Pi * math.Pow(r.Base, 2*float64(i)/float64(r.Dim))
			low, high := float64(r.Original)/r.LowFreq, float64(r.Original)/r.HighFreq
			smooth := (float64(r.Original)/wave - r.LowFreq) / (r.HighFreq - r.LowFreq)
			switch {
			case wave < high:
				v = append(v, 1)
			case wave > low:
				v = append(v, r.Factor)
			default:
				v = append(v, 1/((1-smooth)/r.Factor+smooth))
			}
		}
		floats("rope_freqs.weight", v)
	}
}

func (w *ggufWriter) add(name string, dims []int, v []float32) {
	if f := w.g.blocks; f != block.F32 && len(dims) > 1 {
		b := make([]byte, len(v)/f.Elems()*f.Bytes())
		block.Encode(f, b, v)
		w.sources = append(w.sources, gguf.Source{Name: name, Format: f, Shape: dims, WriteTo: func(out io.Writer) error {
			_, err := out.Write(b)
			return err
		}})
		return
	}
	w.sources = append(w.sources, gguf.Source{Name: name, Format: block.F32, Shape: dims, WriteTo: func(out io.Writer) error {
		return binary.Write(out, binary.LittleEndian, v)
	}})
}

// find gives a tensor of the golden by its GGUF name.
func (w *ggufWriter) find(name string) (dims []int, v []float32) {
	own, ok := w.a.HuggingFaceName(name)
	if dims = w.g.Tensors[own]; !ok || dims == nil {
		return nil, nil
	}
	return dims, weightsOf(own, dims)
}

// copy writes a tensor's weight and bias, as GGUF has them.
func (w *ggufWriter) copy(name string) {
	for _, end := range []string{".weight", ".bias"} {
		dims, v := w.find(name + end)
		if dims == nil {
			continue
		}
		switch {
		case w.name == "llama" && strings.HasSuffix(name, "attn_q"):
			v = interleave(v, w.c.Heads, w.c.HeadDim)
		case w.name == "llama" && strings.HasSuffix(name, "attn_k"):
			v = interleave(v, w.c.KVHeads, w.c.HeadDim)
		case strings.HasPrefix(w.name, "gemma") && strings.HasSuffix(name, "norm"):
			for i := range v {
				v[i]++
			}
		case w.a.IsTransposed(name + end):
			v, dims = transpose(v, dims), []int{dims[1], dims[0]}
		case name == "position_embd":
			n := w.c.FirstPosition
			v, dims = v[n*dims[1]:], []int{dims[0] - n, dims[1]}
		case strings.HasSuffix(name, "ffn_gate_inp_shexp"):
			dims = dims[1:]
		}
		w.add(name+end, dims, v)
	}
}

// stack writes the matrices of all experts as one tensor.
func (w *ggufWriter) stack(name string) {
	var all []float32
	var dims []int
	for e := range w.c.Experts {
		d, v := w.find(fmt.Sprintf("%s.%d.weight", name, e))
		if d == nil {
			return
		}
		dims, all = d, append(all, v...)
	}
	if all != nil {
		w.add(name+"s.weight", append([]int{w.c.Experts}, dims...), all)
	}
}

// interleave puts rows that rotary embeddings turn together next to each other.
func interleave(v []float32, heads, dim int) []float32 {
	out := make([]float32, 0, len(v))
	width := len(v) / (heads * dim)
	for h := range heads {
		for i := range dim / 2 {
			for _, j := range []int{i, i + dim/2} {
				out = append(out, v[(h*dim+j)*width:][:width]...)
			}
		}
	}
	return out
}

func transpose(v []float32, dims []int) []float32 {
	out := make([]float32, tensor.Count(dims))
	for i := range dims[0] {
		for j := range dims[1] {
			out[j*dims[0]+i] = v[i*dims[1]+j]
		}
	}
	return out
}

// The same models as GGUF files give the same. With SALVER_KEEP_GGUF the files
// stay in that folder, for other programs.
func TestGGUFAgainstTransformers(t *testing.T) {
	for _, name := range decoders {
		if name == "gemma2-scaled" || name == "gemma3-vision" {
			continue // GGUF has no key for the scale of attention
		}
		t.Run(name, func(t *testing.T) {
			g := readGolden(t, name)
			if dir := os.Getenv("SALVER_KEEP_GGUF"); dir != "" {
				if err := os.Rename(g.gguf(t, "no_vocab"), filepath.Join(dir, name+".gguf")); err != nil {
					t.Fatal(err)
				}
			}
			o := Options{StepTokens: 16}
			if name == "phi3-short" {
				o.Context = 32
			}
			g.compare(t, loadTest(t, g.gguf(t, "llama"), o))
		})
	}
}

func TestGGUFEncodersAgainstTransformers(t *testing.T) {
	for _, name := range []string{"bert", "roberta"} {
		t.Run(name, func(t *testing.T) {
			g := readGolden(t, name)
			e, ok := loadEncoder(t, g.gguf(t, "llama"), Options{}).Embedder()
			if !ok {
				t.Fatal("it makes no vectors")
			}
			got, err := e.Embed(t.Context(), g.Texts)
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range got {
				if d := apart(v, unit(g.Vectors[i])); !(d < 1e-5) {
					t.Errorf("text %d: vectors are %.3g apart", i, d)
				}
			}
		})
	}
}
