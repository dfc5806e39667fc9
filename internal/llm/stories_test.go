package llm

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/testkit"
	"github.com/salver-ml/salver/internal/textgen"
	"github.com/salver-ml/salver/internal/token"
)

// stories loads the 260,000-parameter model of ../shared/assets in a format.
func stories(t testing.TB, format string, o Options) *Model {
	t.Helper()
	load := func() (*Model, error) {
		return Load(testkit.Assets(t, "models/stories260K/stories260K-"+format+".gguf"), o)
	}
	if format == "bf16" {
		load = func() (*Model, error) { return Parse(storiesInBF16(t), o) }
	}
	m, err := load()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

type golden struct {
	Prompt     string  `json:"prompt"`
	IDs        []int32 `json:"prompt_ids"`
	Completion []int32 `json:"completion_ids"`
	Text       string  `json:"text"`
}

func greedyGoldens(t testing.TB) []golden {
	t.Helper()
	var g struct{ Cases []golden }
	readJSON(t, "models/stories260K/golden_greedy.json", &g)
	return g.Cases
}

func readJSON(t testing.TB, name string, to any) {
	t.Helper()
	b, err := os.ReadFile(testkit.Assets(t, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, to); err != nil {
		t.Fatal(err)
	}
}

// text runs a request of a text and gives the answer.
func text(t testing.TB, m *Model, r textgen.Request, prompt string) string {
	t.Helper()
	r.Prompt = m.Tokenizer().Encode(prompt, token.EncodeOptions{AddSpecial: true})
	var b strings.Builder
	if _, err := m.Generate(t.Context(), &r, func(e *textgen.Event) error { b.WriteString(e.Text); return nil }); err != nil {
		t.Error(err)
	}
	return b.String()
}

func TestGreedyGoldens(t *testing.T) {
	p := pool.New(2)
	defer p.Close()
	for _, format := range []string{"f32", "f16"} {
		m := stories(t, format, Options{Pool: p, Level: 3})
		for _, g := range greedyGoldens(t) {
			if ids := m.Tokenizer().Encode(g.Prompt, token.EncodeOptions{AddSpecial: true}); !slices.Equal(ids, g.IDs) {
				t.Errorf("%q is %v, expected %v", g.Prompt, ids, g.IDs)
			}
			r := ask(g.IDs, len(g.Completion))
			r.IgnoreEOS = false
			if got := tokensOf(t, m.engine, r)[0]; !slices.Equal(got, g.Completion) {
				t.Errorf("%s: %q goes on with\n%v, expected\n%v", format, g.Prompt, got, g.Completion)
			}
			got := text(t, m, textgen.Request{MaxTokens: len(g.Completion), Logprobs: -1, PromptLogprobs: -1}, g.Prompt)
			if want := strings.TrimSpace(g.Text); strings.TrimSpace(g.Prompt+got) != want {
				t.Errorf("%s: text %q, expected %q", format, g.Prompt+got, want)
			}
		}
	}
}

// The bits of an answer are the same however it is computed. Probabilities show
// what tokens alone would hide.
func TestAnswersAreBitIdentical(t *testing.T) {
	goldens := greedyGoldens(t)
	prompts := make([][]int32, 16)
	for i := range prompts {
		prompts[i] = slices.Clone(goldens[i%len(goldens)].IDs)
		if i >= 8 { // longer than a step of some of the engines below, with a common beginning
			prompts[i] = append(slices.Clone(goldens[0].Completion[:40+3*i]), prompts[i]...)
		}
	}
	for _, weights := range []struct {
		format    string
		precision op.Precision
	}{{"f32", op.FP32}, {"bf16", op.FP32}, {"q4_0", op.FP32}, {"q8_0", op.FP32}, {"f32", op.BF16}, {"bf16", op.BF16}} {
		if weights.precision.Available() != nil {
			continue
		}
		var want [][]textgen.Token
		for _, c := range []struct {
			name     string
			threads  int
			together bool
			level    int
			o        Options
		}{
			{"alone", 1, false, 3, Options{NoPrefixes: true}},
			{"two threads", 2, false, 3, Options{NoPrefixes: true}},
			{"together", 2, true, 3, Options{}},
			{"prefixes", 1, false, 3, Options{}},
			{"small chunks", 2, true, 3, Options{StepTokens: 7}},
			{"little memory", 2, true, 3, Options{CacheBytes: 80 * bytesOfBlock(5, 4, 8, dtype.Float16), Context: 256}},
			{"unoptimized", 2, true, 0, Options{}},
		} {
			t.Run(fmt.Sprint(weights.format, " in ", weights.precision, ", ", c.name), func(t *testing.T) {
				p := pool.New(c.threads)
				defer p.Close()
				c.o.Pool, c.o.Level, c.o.Precision = p, c.level, weights.precision
				m := stories(t, weights.format, c.o)
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

// answers gives what the model makes of the prompts, one after the other or together.
func answers(t *testing.T, m *Model, prompts [][]int32, together bool) [][]textgen.Token {
	got := make([][]textgen.Token, len(prompts))
	var wg sync.WaitGroup
	for i := range prompts {
		run := func() { got[i] = probabilities(t, m, prompts[i]) }
		if together {
			wg.Go(run)
		} else {
			run()
		}
	}
	wg.Wait()
	return got
}

// sameAnswers compares tokens and every bit of their probabilities.
func sameAnswers(t *testing.T, got, want [][]textgen.Token) {
	for i := range got {
		if a, b := fmt.Sprint(got[i]), fmt.Sprint(want[i]); a != b {
			t.Errorf("prompt %d: %.300s, alone %.300s", i, a, b)
		}
	}
}

func probabilities(t *testing.T, m *Model, prompt []int32) (tokens []textgen.Token) {
	r := ask(prompt, 40)
	r.Logprobs = 2
	if _, err := m.Generate(t.Context(), r, func(e *textgen.Event) error { tokens = append(tokens, e.Tokens...); return nil }); err != nil {
		t.Error(err)
	}
	return tokens
}

func TestPerplexityGoldens(t *testing.T) {
	var cases []struct {
		IDs []int32 `json:"ids"`
		Sum float64 `json:"mean_nll"`
	}
	readJSON(t, "models/stories260K/golden_perplexity.json", &cases)
	for _, w := range []struct {
		format    string
		precision op.Precision
		most      float64
	}{{"f32", op.FP32, 1e-3}, {"bf16", op.FP32, 2e-2}, {"bf16", op.BF16, 2e-2}, {"f16", op.BF16, 2e-2}} {
		if w.precision.Available() != nil {
			continue
		}
		m := stories(t, w.format, Options{Level: 3, Precision: w.precision})
		for _, c := range cases {
			if mean := meanLoss(t, m, c.IDs); math.Abs(mean-c.Sum) > w.most {
				t.Errorf("%s in %v: mean negative log-likelihood %v, expected %v", w.format, w.precision, mean, c.Sum)
			}
		}
	}
}

// meanLoss is the mean negative log-likelihood of tokens.
func meanLoss(t *testing.T, m *Model, ids []int32) float64 {
	r := ask(ids, 1)
	r.PromptLogprobs = 0
	sum := 0.
	if _, err := m.Generate(t.Context(), r, func(e *textgen.Event) error {
		for _, p := range e.Prompt {
			sum -= float64(p.Logprob)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return sum / float64(len(ids)-1)
}
