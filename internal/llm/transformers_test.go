package llm

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/format/safetensors"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/textgen"
)

// reference is what testdata/make_goldens.py writes.
type reference struct {
	Config  json.RawMessage
	Tensors map[string][]int

	Prompt, Answer []int32
	Positions      []int
	Logprobs       [][]float64
	Texts          [][]int32
	Vectors        [][]float64
	Query          []int32
	Documents      [][]int32
	Scores         []float64

	blocks block.Format // of matrices in a GGUF file
}

func readGolden(t *testing.T, name string) *reference {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	g := &reference{}
	if err := json.Unmarshal(b, g); err != nil {
		t.Fatal(err)
	}
	return g
}

// numbers are those that make_goldens.py makes of a name.
func numbers(name string, count int) []float32 {
	h := fnv.New64a()
	h.Write([]byte(name))
	v := make([]float32, count)
	z := h.Sum64()
	for i := range v {
		z += 0x9e3779b97f4a7c15
		x := (z ^ z>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		x ^= x >> 31
		v[i] = float32(float64(x>>40)/(1<<23) - 1)
	}
	return v
}

func weightsOf(name string, dims []int) []float32 {
	v := numbers(name, tensor.Count(dims))
	for i := range v {
		if len(dims) > 1 {
			v[i] = float32(v[i]*2) / float32(math.Sqrt(float64(dims[len(dims)-1])))
			continue
		}
		v[i] *= .25
		if strings.Contains(strings.ToLower(name), "norm") || strings.Contains(name, ".ln_") {
			v[i]++
		}
	}
	return v
}

// folder writes the golden's model as transformers would.
func (g *reference) folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var sources []safetensors.Source
	for _, name := range slices.Sorted(maps.Keys(g.Tensors)) {
		sources = append(sources, safetensors.Source{Name: name, Type: dtype.Float32, Shape: g.Tensors[name], WriteTo: func(w io.Writer) error {
			return binary.Write(w, binary.LittleEndian, weightsOf(name, g.Tensors[name]))
		}})
	}
	f, err := os.Create(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	if err := safetensors.Write(f, nil, sources); err != nil {
		t.Fatal(err)
	}
	f.Close()
	write(t, dir, "config.json", string(g.Config))
	write(t, dir, "tokenizer.json", wordTokenizer())
	return dir
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

// wordTokenizer has 64 words, w0 to w63; 2 and 3 stand around a text.
func wordTokenizer() string {
	var words []string
	for i := range 64 {
		words = append(words, fmt.Sprintf(`"w%d": %d`, i, i))
	}
	return `{"version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"},
		"post_processor": {"type": "BertProcessing", "sep": ["w3", 3], "cls": ["w2", 2]}, "decoder": null,
		"model": {"type": "WordLevel", "unk_token": "w0", "vocab": {` + strings.Join(words, ", ") + `}}}`
}

func loadTest(t *testing.T, path string, o Options) *Model {
	t.Helper()
	if o.CacheType == dtype.Invalid {
		o.CacheType = dtype.Float32
	}
	o.Pool, o.Level = pool.New(2), 3
	t.Cleanup(o.Pool.Close)
	m, err := Load(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// compare runs a model over the golden's prompt, in several chunks and with some
// tokens generated, and compares logarithms of probabilities.
func (g *reference) compare(t *testing.T, m *Model) {
	t.Helper()
	vocabulary := m.Info().Vocabulary
	all := &textgen.Request{Prompt: g.Prompt, MaxTokens: len(g.Answer), IgnoreEOS: true, Logprobs: vocabulary, PromptLogprobs: vocabulary}
	var prompt, answer []textgen.Token
	_, err := m.Generate(context.Background(), all, func(e *textgen.Event) error {
		prompt, answer = append(prompt, e.Prompt...), append(answer, e.Tokens...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, tok := range answer {
		if tok.ID != g.Answer[i] {
			t.Errorf("token %d of the answer is %d, expected %d", i, tok.ID, g.Answer[i])
		}
	}
	// The probabilities at a position are told with the token that follows it.
	tokens := slices.Concat(prompt, answer)
	if len(tokens) == len(g.Prompt)+len(g.Answer) {
		tokens = tokens[1:] // the first token has none before it
	}
	for i, p := range g.Positions {
		worst := 0.
		for _, alt := range tokens[p].Top {
			worst = max(worst, math.Abs(float64(alt.Logprob)-g.Logprobs[i][alt.ID]))
		}
		scale := 0.
		for _, v := range g.Logprobs[i] {
			scale = max(scale, math.Abs(v))
		}
		if len(tokens[p].Top) != vocabulary {
			t.Errorf("position %d has %d probabilities, expected %d", p, len(tokens[p].Top), vocabulary)
		}
		if !(worst <= 1e-4*scale) {
			t.Errorf("position %d: the logarithms are up to %.3g away, of %.3g at most", p, worst, scale)
		}
	}
}

var decoders = []string{
	"llama", "llama-biases", "llama3", "llama-linear", "llama-dynamic", "llama-yarn", "llama-yarn-fractions", "mistral", "qwen2", "qwen3",
	"gemma", "gemma2", "gemma2-scaled", "gemma3", "gemma3-vision", "phi3", "phi3-long", "phi3-short", "gpt2",
	"mixtral", "qwen2_moe", "qwen3_moe",
}

// Small random models of each architecture give what transformers gives.
func TestFoldersAgainstTransformers(t *testing.T) {
	for _, name := range decoders {
		t.Run(name, func(t *testing.T) {
			g := readGolden(t, name)
			o := Options{StepTokens: 16}
			if name == "phi3-short" { // served with the context it had before it was stretched
				o.Context = 32
			}
			g.compare(t, loadTest(t, g.folder(t), o))
		})
	}
}
