package llm

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/salver-ml/salver/internal/textgen"
)

// The choices that a prompt will have count as soon as it runs: a step never
// has more parts than there is room for, whatever comes between.
func TestChoicesHaveTheirPlaces(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for _, most := range []int{4, 5, 8} {
		m := newFakeModel(t)
		e := m.engine(3200, 64, most)
		var wg sync.WaitGroup
		for i := range 40 {
			r := ask(randomPrompt(rng, 1+rng.IntN(100)), 1+rng.IntN(20))
			r.N = 1 + i%4
			r.Priority = i % 3
			wg.Go(func() { tokensOf(t, e, r) })
		}
		wg.Wait()
		e.close()
		if m.parts > most {
			t.Errorf("a step has %d parts, expected %d at most", m.parts, most)
		}
	}
}

// A prompt that waits for memory is looked up in every step, and counted once.
func TestPrefixFiguresCountPromptsOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	shared := randomPrompt(rng, 64)
	s := newScheduler(36, 64, 8, true)
	add := func(number uint64, prompt []int32) *sequence {
		q := newSequence(&request{Request: ask(prompt, 20), choices: 1, number: number, out: newQueue()}, 0)
		s.submit(q)
		return q
	}
	first := add(1, shared)
	s.computed(s.next(nil))
	waits := add(2, slices.Concat(shared[:32], randomPrompt(rng, 110)))
	for range 5 {
		s.computed(s.next(nil))
	}
	if len(s.waiting) != 1 || s.asked != 64 || s.found != 0 {
		t.Errorf("%d wait, %d tokens were looked up and %d found, expected 1, 64 and 0", len(s.waiting), s.asked, s.found)
	}
	s.finish(first)
	s.next(nil)
	if s.asked != 64+142 || s.found != 32 || waits.usage.CachedTokens != 32 {
		t.Errorf("%d tokens were looked up and %d found, expected 206 and 32", s.asked, s.found)
	}
}

// Tokens that the model has not are refused by the field that names them.
func TestTokensAreOfTheVocabulary(t *testing.T) {
	m := stories(t, "f32", Options{})
	for _, id := range []int32{-1, int32(m.Info().Vocabulary)} {
		for field, change := range map[string]func(*textgen.Request){
			"prompt": func(r *textgen.Request) { r.Prompt = []int32{1, id} }, "stop_token_ids": func(r *textgen.Request) { r.StopTokens = []int32{1, id} },
			"logit_bias": func(r *textgen.Request) { r.LogitBias = map[int32]float32{id: 1} },
		} {
			r := ask([]int32{1}, 1)
			change(r)
			var refused *textgen.RequestError
			if err := m.check(r); !errors.As(err, &refused) || refused.Field != field {
				t.Errorf("%s with token %d: got %v", field, id, err)
			}
		}
	}
}

// More answers than the engine computes at once are refused by the field that asks for them.
func TestTooManyAnswersAreRefused(t *testing.T) {
	m := stories(t, "f32", Options{Sequences: 3})
	for field, change := range map[string]func(*textgen.Request){
		"n": func(r *textgen.Request) { r.N = 4 }, "best_of": func(r *textgen.Request) { r.N, r.BestOf = 2, 4 },
	} {
		r := ask([]int32{1}, 1)
		change(r)
		var refused *textgen.RequestError
		if err := m.check(r); !errors.As(err, &refused) || refused.Field != field || !strings.Contains(err.Error(), "at most 3") {
			t.Errorf("%s: got %v", field, err)
		}
	}
}

func TestLogitsOfAStepAreBounded(t *testing.T) {
	s := newScheduler(400, 512, 8, true)
	for i, n := range []int{0, 0, -1} {
		r := ask(make([]int32, 400), 1)
		r.PromptLogprobs = n
		s.submit(newSequence(&request{Request: r, choices: 1, number: uint64(i), out: newQueue()}, 0))
	}
	step := s.next(nil)
	if len(step) != 2 || step[0].n != maxLogits || step[1].number != 2 || step[1].n != 512/2-maxLogits {
		t.Errorf("a step of %+v", step)
	}
	s.computed(step)
	s.finish(step[0].sequence)
	if step = s.next(step); step[0].number != 1 || step[0].n != maxLogits {
		t.Errorf("once the first one has ended, a step of %+v", step)
	}
}

// Of prompts that come at once, those that came first are computed first: half of the
// first tokens are there when little more than half of all prompts is computed.
func TestFirstTokensDoNotAllComeAtTheEnd(t *testing.T) {
	const prompts, tokens = 16, 128
	s := newScheduler(4000, 512, 64, false)
	for i := range prompts {
		s.submit(newSequence(&request{Request: ask(make([]int32, tokens), 64), choices: 1, number: uint64(i), out: newQueue()}, 0))
	}
	var first []int // what was computed before each first token
	computed := 0
	for step := s.next(nil); len(first) < prompts; step = s.next(step) {
		s.computed(step)
		for _, w := range step {
			computed += w.n
		}
		for _, w := range step {
			if w.left() == 0 {
				if w.generated() == 0 {
					first = append(first, computed)
				}
				w.tokens = append(w.tokens, 1)
			}
		}
	}
	if most := prompts*tokens/2 + 512/2; first[prompts/2] > most {
		t.Errorf("half of the first tokens are there after %d tokens, expected at most %d: %v", first[prompts/2], most, first)
	}
}

// With roles, blocks of what was generated are not found by a prompt, work has one role,
// and what was generated comes first in a step.
func TestRolesAreApart(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	prompt, answer := randomPrompt(rng, 32), randomPrompt(rng, 32)
	for _, roles := range []bool{false, true} {
		s := newScheduler(100, 64, 8, true)
		s.roles = roles
		add := func(number uint64, prompt []int32) *sequence {
			q := newSequence(&request{Request: ask(prompt, 50), choices: 1, number: number, out: newQueue()}, 0)
			s.submit(q)
			return q
		}
		first := add(1, prompt)
		for _, id := range answer {
			s.computed(s.next(nil))
			first.tokens = append(first.tokens, id)
		}
		next := add(2, slices.Concat(prompt, answer, randomPrompt(rng, 10)))
		step := s.next(nil)
		if len(step) != 2 || step[0].sequence != first || step[0].role() != 0 || step[1].role() != 1 {
			t.Fatalf("roles %v: a step of %v", roles, step)
		}
		want := 60 // the last of the answer is not computed yet
		if roles {
			want = 32
		}
		if next.computed != want {
			t.Errorf("roles %v: %d tokens found, expected %d", roles, next.computed, want)
		}
		s.preempt()
		s.preempt()
		if s.match(first); roles && first.computed != 60 {
			t.Errorf("%d tokens found of a sequence that is computed again, expected 60", first.computed)
		}
		s.release(first)
		s.reuse = false
		for step = s.next(nil); len(step) > 0 && first.left() > 0; step = s.next(nil) {
			for _, w := range step {
				if w.computed < w.prompt && w.computed+w.n > w.prompt {
					t.Fatalf("roles %v: work with both roles", roles)
				}
			}
			s.computed(step)
		}
	}
}
