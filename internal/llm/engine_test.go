package llm

import (
	"context"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/llm/kv"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/textgen"
)

// fakeModel gives logits that depend on every token of a sequence, and checks
// that all of them are in the cache where the sequence's table says.
type fakeModel struct {
	t     *testing.T
	mu    sync.Mutex
	slots map[int32]int32 // what each slot of the cache holds
	seed  maphash.Seed
	steps int
	most  int // tokens of a step
	parts int // sequences of a step, at most
	pool  *pool.Pool
}

const fakeVocabulary = 50

func newFakeModel(t *testing.T) *fakeModel {
	p := pool.New(2)
	t.Cleanup(p.Close)
	return &fakeModel{t: t, slots: map[int32]int32{}, seed: maphash.MakeSeed(), pool: p}
}

func (m *fakeModel) run(_ context.Context, step []work) (rows [][]float32, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.steps++
	tokens := 0
	for _, w := range step {
		for p := w.computed; p < w.computed+w.n; p++ {
			m.slots[slotOf(w.sequence, p)] = w.tokens[p]
			tokens++
		}
	}
	m.most, m.parts = max(m.most, tokens), max(m.parts, len(step))
	for _, w := range step {
		var h maphash.Hash
		h.SetSeed(m.seed)
		for p := range w.computed + w.n {
			if got := m.slots[slotOf(w.sequence, p)]; got != w.tokens[p] {
				m.t.Errorf("position %d holds token %d, expected %d", p, got, w.tokens[p])
			}
			maphash.WriteComparable(&h, w.tokens[p])
			if p < w.computed || !w.wants(p) {
				continue
			}
			row := make([]float32, fakeVocabulary)
			rng := rand.New(rand.NewPCG(h.Sum64(), 1))
			for i := range row {
				row[i] = float32(rng.NormFloat64())
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

func slotOf(s *sequence, p int) int32 {
	return s.blocks[p/kv.BlockTokens]*kv.BlockTokens + int32(p%kv.BlockTokens)
}

func (m *fakeModel) copy(c blockCopy) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range int32(kv.BlockTokens) {
		m.slots[c.to*kv.BlockTokens+i] = m.slots[c.from*kv.BlockTokens+i]
	}
}

var nothingToPack = packing{piece: func() bool { return false }}

func (m *fakeModel) engine(tokens, budget, most int) *engine {
	return (&engine{run: m.run, copy: m.copy, packing: nothingToPack, pool: m.pool, sched: newScheduler(blocksFor(tokens), budget, most, true), eos: []int32{1}, context: min(tokens, 512), maxQueue: 100}).start()
}

// tokensOf runs a request and gives the tokens of each choice.
func tokensOf(t *testing.T, e *engine, r *textgen.Request) [][]int32 {
	t.Helper()
	q := &request{Request: r, choices: max(r.N, 1), arrived: time.Now(), out: newQueue(), seed: 7}
	if err := e.submit(q); err != nil {
		t.Fatal(err)
	}
	out := make([][]int32, q.choices)
	for open := q.choices; open > 0; {
		<-q.out.ready
		for _, p := range q.out.take(nil) {
			if p.err != nil {
				t.Error(p.err)
				return out
			}
			if p.prompt != nil {
				continue
			}
			out[p.choice] = append(out[p.choice], p.token.ID)
			if p.finish != "" {
				open--
			}
		}
	}
	return out
}

func ask(prompt []int32, max int) *textgen.Request {
	return &textgen.Request{Prompt: prompt, MaxTokens: max, IgnoreEOS: true, Logprobs: -1, PromptLogprobs: -1}
}

func randomPrompt(rng *rand.Rand, n int) []int32 {
	p := make([]int32, n)
	for i := range p {
		p[i] = int32(rng.IntN(fakeVocabulary))
	}
	return p
}

// The same answers alone, together, in small chunks, with little memory (so that
// sequences are preempted), and with prefixes that are found.
func TestAnswersDoNotDependOnOthers(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	shared := randomPrompt(rng, 40)
	var requests []*textgen.Request
	for i := range 24 {
		p := randomPrompt(rng, 1+rng.IntN(70))
		if i%3 == 0 {
			p = slices.Concat(shared, p[:1+i%5])
		}
		r := ask(p, 1+rng.IntN(60))
		if i%4 == 0 {
			r.Temperature = 1
		}
		if i%6 == 0 {
			r.N = 3
		}
		if i%5 == 0 {
			r.PromptLogprobs = 0
		}
		requests = append(requests, r)
	}
	m := newFakeModel(t)
	var want [][][]int32
	func() {
		e := m.engine(960, 512, 8)
		defer e.close()
		for _, r := range requests {
			want = append(want, tokensOf(t, e, r))
		}
	}()
	for _, c := range []struct{ tokens, budget, most int }{{3200, 512, 64}, {3200, 7, 64}, {192, 32, 16}, {640, 16, 4}} {
		n := newFakeModel(t)
		n.seed = m.seed
		e := n.engine(c.tokens, c.budget, c.most)
		got := make([][][]int32, len(requests))
		var wg sync.WaitGroup
		for i, r := range requests {
			wg.Go(func() { got[i] = tokensOf(t, e, r) })
		}
		wg.Wait()
		s := e.snapshot()
		e.close()
		for i := range want {
			if !equal(got[i], want[i]) {
				t.Errorf("%+v: request %d answers %v, alone %v", c, i, got[i], want[i])
			}
		}
		if n.most > c.budget {
			t.Errorf("%+v: a step has %d tokens", c, n.most)
		}
		if s.Running+s.Waiting != 0 || s.BlocksUsed != 0 || s.Requests["length"] != uint64(len(requests)) {
			t.Errorf("%+v: afterwards %+v", c, s)
		}
		if c.tokens == 192 && s.Preemptions == 0 {
			t.Errorf("%+v: nothing was preempted", c)
		}
		if s.PrefixHits == 0 {
			t.Errorf("%+v: no prefix was found", c)
		}
	}
}

func equal(a, b [][]int32) bool { return slices.EqualFunc(a, b, slices.Equal[[]int32]) }

// Requests that are aborted at any moment leave nothing behind and disturb nobody.
func TestAborts(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	m := newFakeModel(t)
	e := m.engine(480, 16, 8)
	want := tokensOf(t, e, ask([]int32{3, 4, 5}, 30))
	var wg sync.WaitGroup
	for i := range 60 {
		r := ask(randomPrompt(rng, 1+rng.IntN(100)), 0)
		r.N = 1 + i%3
		wg.Go(func() {
			q := &request{Request: r, choices: r.N, arrived: time.Now(), out: newQueue()}
			if err := e.submit(q); err != nil {
				t.Error(err)
			}
			if i%2 == 0 {
				<-q.out.ready
			}
			e.abort(q)
		})
		if i%20 == 10 {
			if got := tokensOf(t, e, ask([]int32{3, 4, 5}, 30)); !equal(got, want) {
				t.Errorf("answers %v, expected %v", got, want)
			}
		}
	}
	wg.Wait()
	tokensOf(t, e, ask([]int32{9}, 1)) // comes after the aborts
	s := e.snapshot()
	if s.Running+s.Waiting+s.BlocksUsed != 0 || e.waiting != 0 {
		t.Errorf("afterwards %+v", s)
	}
	e.close()
	if err := e.submit(&request{Request: ask(nil, 0)}); err != textgen.ErrClosed {
		t.Errorf("after close: %v", err)
	}
}

func TestPriorityAndFairness(t *testing.T) {
	s := newScheduler(400, 96, 4, false)
	add := func(tenant string, priority int, number uint64) *sequence {
		r := ask(make([]int32, 32), 100)
		r.Tenant, r.Priority = tenant, priority
		q := newSequence(&request{Request: r, choices: 1, number: number, out: newQueue()}, 0)
		s.submit(q)
		return q
	}
	for i := range uint64(6) {
		add("greedy", 0, i)
	}
	modest := add("modest", 0, 10)
	step := s.next(nil)
	if len(step) != 2 || step[0].Tenant == step[1].Tenant {
		t.Errorf("the first step has %d parts, expected one of each tenant", len(step))
	}
	s.computed(step)
	for range 3 {
		s.computed(s.next(nil))
	}
	urgent := add("greedy", 5, 20)
	if step = s.next(nil); !slices.ContainsFunc(step, func(w work) bool { return w.sequence == urgent }) {
		t.Error("the urgent request does not run at once")
	}
	if s.preempted != 1 || len(s.running) != 4 {
		t.Errorf("%d preempted, %d run", s.preempted, len(s.running))
	}
	_ = modest
}

func TestQueueIsBounded(t *testing.T) {
	block := make(chan struct{})
	e := (&engine{run: func(context.Context, []work) ([][]float32, error) { <-block; return nil, context.Canceled }, packing: nothingToPack, sched: newScheduler(16, 16, 1, false), context: 64, maxQueue: 3}).start()
	var full error
	for range 5 {
		if err := e.submit(&request{Request: ask([]int32{1}, 1), choices: 1, out: newQueue()}); err != nil {
			full = err
		}
	}
	if _, ok := full.(*textgen.FullError); !ok {
		t.Errorf("got %v", full)
	}
	close(block)
	e.close()
}

// What is to be packed since, while the loop packs a piece, is not forgotten.
func TestPackAgain(t *testing.T) {
	looks, goOn := make(chan struct{}), make(chan struct{})
	e := (&engine{packing: packing{piece: func() bool { looks <- struct{}{}; <-goOn; return false }}, sched: newScheduler(16, 16, 1, false), context: 64, maxQueue: 3}).start()
	<-looks
	e.packAgain()
	goOn <- struct{}{}
	select {
	case <-looks:
	case <-time.After(30 * time.Second):
		t.Fatal("the loop waits, though there may be something to pack since")
	}
	close(goOn)
	e.close()
}
