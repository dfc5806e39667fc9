package backend

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/format/safetensors"
	"github.com/salver-ml/salver/internal/llm"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/textgen"
)

// bertFolder writes a BERT of one layer, with a head for one class if it scores.
func bertFolder(t *testing.T, scores bool) string {
	t.Helper()
	dir := t.TempDir()
	shapes := map[string][]int{"embeddings.word_embeddings.weight": {8, 4}, "embeddings.position_embeddings.weight": {10, 4}, "embeddings.token_type_embeddings.weight": {2, 4},
		"encoder.layer.0.intermediate.dense.weight": {6, 4}, "encoder.layer.0.intermediate.dense.bias": {6}, "encoder.layer.0.output.dense.weight": {4, 6}}
	for _, n := range []string{"attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"} {
		shapes["encoder.layer.0."+n+".weight"] = []int{4, 4}
	}
	for _, n := range []string{"embeddings", "encoder.layer.0.attention.output", "encoder.layer.0.output"} {
		shapes[n+".LayerNorm.weight"] = []int{4}
	}
	kind := "BertModel"
	if scores {
		kind = "BertForSequenceClassification"
		shapes["pooler.dense.weight"], shapes["classifier.weight"] = []int{4, 4}, []int{1, 4}
	}
	var sources []safetensors.Source
	for i, name := range slices.Sorted(maps.Keys(shapes)) {
		v := make([]float32, tensor.Count(shapes[name]))
		for j := range v {
			v[j] = float32(math.Sin(float64(7*i + 3*j + 1)))
		}
		sources = append(sources, safetensors.Source{Name: name, Type: dtype.Float32, Shape: shapes[name], WriteTo: func(w io.Writer) error { return binary.Write(w, binary.LittleEndian, v) }})
	}
	f, err := os.Create(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := safetensors.Write(f, nil, sources); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"config.json": fmt.Sprintf(`{"model_type": "bert", "architectures": [%q], "id2label": {"0": "x"}, "hidden_size": 4, "intermediate_size": 6, "num_hidden_layers": 1, "num_attention_heads": 2,
			"vocab_size": 8, "max_position_embeddings": 10, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu"}`, kind),
		"vocab.txt":             "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\nc\nd\n",
		"tokenizer_config.json": `{"tokenizer_class": "BertTokenizer", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func openTest(t *testing.T, path string) serve.Backend {
	t.Helper()
	b, err := Open(engine.Options{}, llm.Options{})(t.Context(), serve.OpenRequest{Model: "m", Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func texts(s ...string) *tensor.Tensor { return tensor.FromStrings(s, len(s)) }

func TestEmbedder(t *testing.T) {
	b := openTest(t, bertFolder(t, false))
	if _, ok := b.(textgen.Embedder); !ok {
		t.Errorf("%T makes no vectors", b)
	}
	if _, ok := b.(textgen.Reranker); ok {
		t.Errorf("%T scores", b)
	}
	out, release, err := b.Run(t.Context(), []*tensor.Tensor{texts("a b c")})
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	square := 0.
	for _, v := range tensor.Of[float32](out[0]) {
		square += float64(v * v)
	}
	if !slices.Equal(out[0].Shape, b.Outputs()[0].Shape) || math.Abs(square-1) > 1e-5 {
		t.Errorf("the vector is %s of length %v", out[0], math.Sqrt(square))
	}
	for _, text := range []string{"\xff", strings.Repeat("a ", 20)} {
		refused(t, b, texts(text))
	}
}

func TestReranker(t *testing.T) {
	b := openTest(t, bertFolder(t, true))
	if _, ok := b.(textgen.Reranker); !ok {
		t.Errorf("%T does not score", b)
	}
	if _, ok := b.(textgen.Embedder); ok {
		t.Errorf("%T makes vectors", b)
	}
	out, release, err := b.Run(t.Context(), []*tensor.Tensor{texts("a b"), texts("c", "d d", "a")})
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	scores := tensor.Of[float32](out[0])
	if len(scores) != 3 || slices.Min(scores) <= 0 || slices.Max(scores) >= 1 || scores[0] == scores[1] {
		t.Errorf("the scores are %v", scores)
	}
	alone, again, err := b.Run(t.Context(), []*tensor.Tensor{texts("a b"), texts("d d")})
	if err != nil {
		t.Fatal(err)
	}
	defer again()
	if tensor.Of[float32](alone[0])[0] != scores[1] {
		t.Errorf("alone the score is %v, among others %v", tensor.Of[float32](alone[0])[0], scores[1])
	}
	refused(t, b, texts("a"), texts("b", "\xff"))
	refused(t, b, texts("a"), texts(strings.Repeat("b ", 20)))
}

// refused expects that a request is its sender's mistake.
func refused(t *testing.T, b serve.Backend, inputs ...*tensor.Tensor) {
	t.Helper()
	_, _, err := b.Run(context.Background(), inputs)
	if e, ok := err.(*serve.Error); !ok || e.Kind != serve.InvalidArgument {
		t.Errorf("%.40q: %v", inputs[len(inputs)-1].Strings, err)
	}
}
