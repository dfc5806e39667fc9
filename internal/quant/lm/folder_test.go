package lm

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/format/safetensors"
	"github.com/salver-ml/salver/internal/llm"
)

// folder writes a model of transformers with random weights: of a configuration
// and shapes that package llm is tested with, and a tokenizer of letters.
func folder(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "llm", "testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Config  json.RawMessage
		Tensors map[string][]int
	}
	if err := json.Unmarshal(b, &golden); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(1, 2))
	var sources []safetensors.Source
	for _, n := range slices.Sorted(maps.Keys(golden.Tensors)) {
		shape := golden.Tensors[n]
		v := make([]float32, 1)
		for _, d := range shape {
			v = slices.Repeat(v, d)
		}
		for i := range v {
			v[i] = float32(r.NormFloat64()) * 0.3
			if len(shape) == 1 && strings.Contains(n, "norm") {
				v[i] += 1
			}
		}
		sources = append(sources, safetensors.Source{Name: n, Type: dtype.Float32, Shape: shape, WriteTo: func(w io.Writer) error {
			b := make([]byte, 4*len(v))
			block.Encode(block.F32, b, v)
			_, err := w.Write(b)
			return err
		}})
	}
	f, err := os.Create(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := safetensors.Write(f, nil, sources); err != nil {
		t.Fatal(err)
	}
	for n, text := range map[string]string{"config.json": string(golden.Config), "tokenizer.json": letters(), "tokenizer_config.json": `{"bos_token":"<s>","eos_token":"</s>","chat_template":"{{ messages }}"}`} {
		if err := os.WriteFile(filepath.Join(dir, n), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// letters is a tokenizer.json of single letters and two merges.
func letters() string {
	vocab := map[string]int{"<s>": 0, "</s>": 1, "Ġ": 2}
	for c := 'a'; c <= 'z'; c++ {
		vocab[string(c)] = len(vocab)
	}
	vocab["th"], vocab["the"] = len(vocab), len(vocab)+1
	b, _ := json.Marshal(map[string]any{
		"added_tokens":  []any{map[string]any{"id": 0, "content": "<s>", "special": true}, map[string]any{"id": 1, "content": "</s>", "special": true}},
		"pre_tokenizer": map[string]any{"type": "ByteLevel", "add_prefix_space": false},
		"decoder":       map[string]any{"type": "ByteLevel"},
		"model":         map[string]any{"type": "BPE", "vocab": vocab, "merges": []string{"t h", "th e"}},
	})
	return string(b)
}

// quantize writes a model as a GGUF file.
func quantize(t *testing.T, m *Model, o Options) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "out.gguf")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := Write(t.Context(), m, f, o); err != nil {
		t.Fatal(err)
	}
	return path
}

// mix is one that exists.
func mix(t *testing.T, name string) Mix {
	t.Helper()
	m, err := ParseMix(name)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// open opens a model until the test ends.
func open(t *testing.T, path string) *Model {
	t.Helper()
	m, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// logits are those of a model at each token of a text but the last.
func logits(t *testing.T, path string, tokens []int32) (all []float32) {
	t.Helper()
	m, err := llm.Load(path, llm.Options{CacheType: dtype.Float32})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Logits(t.Context(), tokens, func(_ int, l []float32) { all = append(all, l...) }); err != nil {
		t.Fatal(err)
	}
	return all
}

// far is the largest difference.
func far(a, b []float32) (most float64) {
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		most = max(most, d, -d)
	}
	return most
}

var prompt = []int32{0, 5, 9, 14, 3, 3, 8, 20, 11, 6, 7, 2, 12}

// A folder and the GGUF file that is made of it are the same model.
func TestConvert(t *testing.T) {
	for _, name := range []string{"llama", "llama-biases", "llama-linear", "llama3", "qwen2", "qwen3", "qwen3_moe", "mixtral", "gemma", "gemma2", "gemma3", "phi3", "gpt2", "mistral"} {
		t.Run(name, func(t *testing.T) {
			if _, err := os.Stat(filepath.Join("..", "..", "llm", "testdata", name+".json")); err != nil {
				t.Skip("package llm is not tested with it")
			}
			dir := folder(t, name)
			path := quantize(t, open(t, dir), Options{Mix: mix(t, "F32")})
			want, got := logits(t, dir, prompt), logits(t, path, prompt)
			if len(want) != len(got) || len(want) == 0 {
				t.Fatalf("%d logits, expected %d", len(got), len(want))
			}
			if d := far(want, got); d > 2e-4 {
				t.Errorf("logits are up to %g apart", d)
			}
		})
	}
}

// What a GGUF file can't say is refused.
func TestConvertRefuses(t *testing.T) {
	for name, want := range map[string]string{"bert": "encoder"} {
		if _, err := Open(folder(t, name)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, expected %q", name, err, want)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no error for a folder that is not there")
	}
}

// Metadata name the tokenizer, the template and what the model is.
func TestConvertMetadata(t *testing.T) {
	m := open(t, folder(t, "llama"))
	for key, want := range map[string]any{"general.architecture": "llama", "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.bos_token_id": uint32(0),
		"tokenizer.ggml.eos_token_id": uint32(1), "tokenizer.chat_template": "{{ messages }}"} {
		if got := m.value(key); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s is %v, expected %v", key, got, want)
		}
	}
}
