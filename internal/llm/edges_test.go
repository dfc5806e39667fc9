package llm

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/textgen"
	"github.com/salver-ml/salver/internal/token"
)

// texts runs a request and gives the text of each choice, how it ended, and its tokens.
func texts(t *testing.T, m *Model, r *textgen.Request) (all []string, ends []textgen.Finish, usage *textgen.Usage) {
	t.Helper()
	all, ends = make([]string, max(r.N, 1)), make([]textgen.Finish, max(r.N, 1))
	usage, err := m.Generate(t.Context(), r, func(e *textgen.Event) error {
		all[e.Choice] += e.Text
		if e.Finish != "" {
			ends[e.Choice] = e.Finish
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return all, ends, usage
}

// An answer goes on to the context's end and no further; what could not end within it is
// refused by the field that is too large.
func TestContextsEnd(t *testing.T) {
	const context = 64
	m := stories(t, "f32", Options{Context: context})
	for _, c := range []struct {
		prompt, most int
		tokens       int    // of the answer
		refused      string // the field
	}{
		{prompt: context - 1, most: 0, tokens: 1},
		{prompt: context - 1, most: 1, tokens: 1},
		{prompt: context - 1, most: 2, refused: "max_tokens"},
		{prompt: context, most: 0, refused: "prompt"},
		{prompt: context, most: 1, refused: "prompt"},
		{prompt: context - 5, most: 0, tokens: 5},
		{prompt: context - 5, most: 5, tokens: 5},
		{prompt: context - 5, most: 6, refused: "max_tokens"},
	} {
		r := ask(slices.Repeat([]int32{5}, c.prompt), c.most)
		if c.refused != "" {
			_, err := m.Generate(t.Context(), r, nil)
			var refused *textgen.RequestError
			if !errors.As(err, &refused) || refused.Field != c.refused || !refused.TooLong {
				t.Errorf("%+v: got %v", c, err)
			}
			continue
		}
		if _, ends, u := texts(t, m, r); ends[0] != textgen.FinishLength || u.GeneratedTokens != c.tokens {
			t.Errorf("%+v: %d tokens, ended by %q", c, u.GeneratedTokens, ends[0])
		}
	}
}

// The probabilities of a prompt are told once, before the first answer that is given, whichever
// that is; a prompt of one token has none.
func TestProbabilitiesOfPromptsComeFirst(t *testing.T) {
	m := stories(t, "f32", Options{})
	for _, c := range []struct{ prompt, n, bestOf int }{{1, 1, 1}, {1, 2, 5}, {2, 1, 1}, {9, 3, 3}, {9, 1, 5}, {9, 2, 5}} {
		for seed := range uint64(8) {
			r := ask(slices.Repeat([]int32{5}, c.prompt), 4)
			r.N, r.BestOf, r.PromptLogprobs, r.Temperature, r.Seed = c.n, c.bestOf, 0, 1, &seed
			told, events := 0, 0
			u, err := m.Generate(t.Context(), r, func(e *textgen.Event) error {
				if e.Prompt != nil && (events > 0 || e.Choice != 0) {
					t.Errorf("%+v: the prompt is told with event %d, of choice %d", c, events, e.Choice)
				}
				told += len(e.Prompt)
				events++
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if told != c.prompt-1 || u.GeneratedTokens > 4*c.bestOf {
				t.Errorf("%+v: probabilities of %d tokens of the prompt, %d generated tokens", c, told, u.GeneratedTokens)
			}
		}
	}
}

// A stop string ends the choices that have it, and no other.
func TestStopStringsOfEachChoice(t *testing.T) {
	m := stories(t, "f32", Options{})
	seed := uint64(11)
	r := ask(m.Tokenizer().Encode("Once upon a time", token.EncodeOptions{AddSpecial: true}), 40)
	r.N, r.Temperature, r.Seed = 4, 1, &seed
	whole, _, _ := texts(t, m, r)
	for i := range whole {
		r.Stop = []string{whole[i][len(whole[i])/2:][:6]}
		got, ends, _ := texts(t, m, r)
		for j := range whole {
			want, _, stopped := strings.Cut(whole[j], r.Stop[0])
			if got[j] != want || (ends[j] == textgen.FinishStop) != stopped {
				t.Errorf("choice %d with stop %q: %q, ended by %q; without it is %q", j, r.Stop[0], got[j], ends[j], whole[j])
			}
		}
	}
}

// The best of several answers are the same ones where choices give way for others.
func TestBestOfWithLittleMemory(t *testing.T) {
	run := func(o Options) (all [4][]string, s textgen.Stats) {
		m := stories(t, "f32", o)
		prompt := m.Tokenizer().Encode("Lily and Tom went to the park", token.EncodeOptions{AddSpecial: true})
		var wg sync.WaitGroup
		for i := range all {
			wg.Go(func() {
				seed := uint64(i)
				r := ask(prompt, 60)
				r.N, r.BestOf, r.Temperature, r.Seed = 2, 4, 1, &seed
				all[i], _, _ = texts(t, m, r)
			})
		}
		wg.Wait()
		return all, m.Stats()
	}
	want, _ := run(Options{})
	got, s := run(Options{CacheBytes: 60 * bytesOfBlock(5, 4, 8, dtype.Float16), Context: 128})
	if s.Preemptions == 0 {
		t.Error("nothing gave way")
	}
	for i := range want {
		if !slices.Equal(got[i], want[i]) || got[i][0] == got[i][1] {
			t.Errorf("request %d: %q, with much memory %q", i, got[i], want[i])
		}
	}
}

// A GGUF file is known by its first bytes, since programs that fetch models name files by their digests.
func TestRecogniseByContent(t *testing.T) {
	for _, c := range []struct {
		name, content string
		want          bool
	}{
		{"sha256-0f3a", "GGUF\x03\x00\x00\x00", true}, {"model.gguf", "", true}, {"model.onnx", "\x08\x08", false}, {"short", "GGU", false},
	} {
		path := filepath.Join(t.TempDir(), c.name)
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if Recognise(path) != c.want {
			t.Errorf("%s with %q: expected %v", c.name, c.content, c.want)
		}
	}
}
