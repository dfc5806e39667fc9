package llm

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/format/safetensors"
	"github.com/salver-ml/salver/internal/textgen"
)

// writeShard writes some of a golden's tensors, with numbers rounded to a type.
func (g *reference) writeShard(t *testing.T, path string, names []string, dt dtype.Type) {
	t.Helper()
	var sources []safetensors.Source
	for _, name := range names {
		sources = append(sources, safetensors.Source{Name: name, Type: dt, Shape: g.Tensors[name], WriteTo: func(w io.Writer) error {
			v := weightsOf(name, g.Tensors[name])
			if dt == dtype.Float32 {
				half := make([]byte, 2*len(v)) // numbers such as bfloat16 has them
				block.Encode(block.BF16, half, v)
				block.Decode(block.BF16, v, half)
			}
			b := make([]byte, dt.Bytes(len(v)))
			block.Encode(formats[dt], b, v)
			_, err := w.Write(b)
			return err
		}})
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := safetensors.Write(f, nil, sources); err != nil {
		t.Fatal(err)
	}
}

// Weights in bfloat16, over two files, give what the same numbers give in
// float32, which are looked at where they are.
func TestShardsAndBFloat16(t *testing.T) {
	g := readGolden(t, "llama")
	names := slices.Sorted(maps.Keys(g.Tensors))
	one := g.folder(t)
	g.writeShard(t, filepath.Join(one, "model.safetensors"), names, dtype.Float32)
	two := g.folder(t)
	if err := os.Remove(filepath.Join(two, "model.safetensors")); err != nil {
		t.Fatal(err)
	}
	index := map[string]string{}
	for i, part := range [][]string{names[:9], names[9:]} {
		file := fmt.Sprintf("model-%05d-of-00002.safetensors", i+1)
		g.writeShard(t, filepath.Join(two, file), part, dtype.BFloat16)
		for _, n := range part {
			index[n] = file
		}
	}
	b, _ := json.Marshal(map[string]any{"metadata": map[string]any{}, "weight_map": index})
	write(t, two, "model.safetensors.index.json", string(b))
	if !Recognise(one) || !Recognise(two) {
		t.Error("a folder is not recognised")
	}
	var all [2][]textgen.Token
	for i, path := range []string{one, two} {
		all[i] = tokensWith(t, loadTest(t, path, Options{}), g)
	}
	for p := range all[0] {
		byID := map[int32]float32{}
		for _, alt := range all[0][p].Top {
			byID[alt.ID] = alt.Logprob
		}
		for _, alt := range all[1][p].Top {
			if d := alt.Logprob - byID[alt.ID]; d > 1e-4 || d < -1e-4 {
				t.Errorf("position %d, token %d: %g apart", p, alt.ID, d)
			}
		}
	}
}

// tokensWith gives the probabilities at every position of a golden's prompt and
// of the answer.
func tokensWith(t *testing.T, m *Model, g *reference) (all []textgen.Token) {
	t.Helper()
	n := m.Info().Vocabulary
	r := &textgen.Request{Prompt: g.Prompt, MaxTokens: len(g.Answer), IgnoreEOS: true, Logprobs: n, PromptLogprobs: n}
	_, err := m.Generate(t.Context(), r, func(e *textgen.Event) error {
		all = append(append(all, e.Prompt...), e.Tokens...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A prompt in chunks of any size gives the same bits, in every architecture.
func TestChunksDoNotChangeBits(t *testing.T) {
	for _, name := range []string{"gemma3", "phi3", "qwen2_moe", "mixtral", "gpt2", "llama-biases"} {
		t.Run(name, func(t *testing.T) {
			g := readGolden(t, name)
			path := g.folder(t)
			want := tokensWith(t, loadTest(t, path, Options{CacheType: dtype.Float16}), g)
			for _, n := range []int{7, 16, 33} {
				got := tokensWith(t, loadTest(t, path, Options{CacheType: dtype.Float16, StepTokens: n}), g)
				for p := range want {
					if !slices.Equal(got[p].Top, want[p].Top) {
						t.Errorf("in chunks of %d, position %d has other bits", n, p)
						break
					}
				}
			}
		})
	}
}

func TestFolderFiles(t *testing.T) {
	g := readGolden(t, "llama")
	path := g.folder(t)
	write(t, path, "generation_config.json", `{"eos_token_id": [7, 9], "do_sample": true, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "repetition_penalty": 1.05}`)
	write(t, path, "tokenizer_config.json", `{"bos_token": "w2", "eos_token": "w3", "chat_template": [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "{{ bos_token }}yes"}]}`)
	s, err := open(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := (textgen.Sampling{Temperature: .6, TopK: 20, TopP: .95, Repetition: 1.05}); s.defaults.Temperature != want.Temperature || s.defaults.TopK != 20 || s.defaults.TopP != want.TopP || s.defaults.Repetition != want.Repetition {
		t.Errorf("sampling is %+v, expected %+v", s.defaults, want)
	}
	for _, id := range []int32{3, 7, 9} {
		if !slices.Contains(s.ends, id) {
			t.Errorf("answers end with %v, expected %d among them", s.ends, id)
		}
	}
	if s.template != "{{ bos_token }}yes" || s.bos != "w2" || s.eos != "w3" {
		t.Errorf("the template is %q, its tokens %q and %q", s.template, s.bos, s.eos)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
	write(t, path, "chat_template.jinja", "a file")
	write(t, path, "generation_config.json", `{"eos_token_id": 5, "temperature": 0.6}`)
	if s, err = open(path); err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if s.template != "a file" || s.defaults.Temperature != 0 || !slices.Contains(s.ends, 5) {
		t.Errorf("the template is %q, the temperature %v, ends are %v", s.template, s.defaults.Temperature, s.ends)
	}
}

func TestFoldersRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(g *reference, path string)
		want   string
	}{
		{"a tensor too many", func(g *reference, path string) {
			g.Tensors["model.layers.0.self_attn.sinks"] = []int{4}
			g.writeShard(t, filepath.Join(path, "model.safetensors"), slices.Sorted(maps.Keys(g.Tensors)), dtype.Float32)
		}, "sinks"},
		{"a tensor too few", func(g *reference, path string) {
			delete(g.Tensors, "model.layers.1.mlp.up_proj.weight")
			g.writeShard(t, filepath.Join(path, "model.safetensors"), slices.Sorted(maps.Keys(g.Tensors)), dtype.Float32)
		}, "model.layers.1.mlp.up_proj.weight"},
		{"a tensor of another shape", func(g *reference, path string) {
			g.Tensors["model.layers.1.mlp.up_proj.weight"] = []int{32, 48}
			g.writeShard(t, filepath.Join(path, "model.safetensors"), slices.Sorted(maps.Keys(g.Tensors)), dtype.Float32)
		}, "[32 48]"},
		{"no tokenizer", func(_ *reference, path string) { os.Remove(filepath.Join(path, "tokenizer.json")) }, "tokenizer"},
		{"no weights", func(_ *reference, path string) { os.Remove(filepath.Join(path, "model.safetensors")) }, "safetensors"},
		{"no default template", func(_ *reference, path string) {
			write(t, path, "tokenizer_config.json", `{"chat_template": [{"name": "a", "template": ""}, {"name": "b", "template": ""}]}`)
		}, "default"},
		{"a broken generation_config", func(_ *reference, path string) { write(t, path, "generation_config.json", `{"eos_token_id": "x"}`) }, "generation_config.json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := readGolden(t, "llama")
			path := g.folder(t)
			c.change(g, path)
			if _, err := Load(path, Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, expected an error about %s", err, c.want)
			}
		})
	}
}
