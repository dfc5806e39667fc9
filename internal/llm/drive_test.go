package llm

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/salver-ml/salver/internal/llm/kv"
)

// driver has a scheduler's steps computed by a fake model, in a test's goroutine.
type driver struct {
	*scheduler
	t       *testing.T
	model   *fakeModel
	answers map[uint64][][]int32 // by the requests' numbers, of those that have finished
	after   func(step []work)    // sees each step, if it is not nil
}

func newDriver(m *fakeModel, tokens, budget, most int) *driver {
	return &driver{scheduler: newScheduler(blocksFor(tokens), budget, most, true), t: m.t, model: m, answers: map[uint64][][]int32{}}
}

// add queues a request.
func (d *driver) add(number uint64, prompt []int32, tokens int, change func(*request)) *sequence {
	q := &request{Request: ask(prompt, tokens), choices: 1, number: number}
	if change != nil {
		change(q)
	}
	d.answers[number] = make([][]int32, q.choices)
	first := newSequence(q, 0)
	d.submit(first)
	return first
}

// step computes one step and gives each sequence whose tokens are all computed a token;
// false: nothing is left to do.
func (d *driver) step() bool {
	step := d.next(nil)
	if len(step) == 0 {
		return false
	}
	for _, c := range d.copies {
		d.model.copy(c)
	}
	rows, _ := d.model.run(context.Background(), step)
	d.computed(step)
	if d.after != nil {
		d.after(step)
	}
	for _, w := range step {
		if q := w.sequence; q.left() == 0 {
			d.give(q, rows[0])
			rows = rows[1:]
		}
	}
	return true
}

// give chooses a sequence's next token, and makes the other choices of its request.
func (d *driver) give(q *sequence, logits []float32) {
	choices := []*sequence{q}
	if !q.forked {
		q.forked = true
		for i := 1; i < q.choices; i++ {
			choices = append(choices, d.fork(q, i))
		}
	}
	likeliest := int32(slices.Index(logits, slices.Max(logits)))
	for _, c := range choices {
		token := likeliest
		if c.generated() == 0 {
			token = (token + int32(c.choice)) % fakeVocabulary // so that choices differ
		}
		if c.tokens = append(c.tokens, token); c.generated() == c.MaxTokens {
			d.answers[c.number][c.choice] = slices.Clone(c.tokens[c.prompt:])
			d.finish(c)
		}
	}
}

// all has every request answered.
func (d *driver) all() {
	for d.step() {
	}
	if !d.idle() || d.kv.Free() != d.kv.Len() {
		d.t.Errorf("nothing is computed any more, but %d run, %d wait and %d of %d blocks are held", len(d.running), len(d.waiting), d.kv.Len()-d.kv.Free(), d.kv.Len())
	}
}

// check compares what is known of blocks with who has them.
func (d *driver) check(step []work) {
	holders := map[int32]int{}
	for _, q := range d.running {
		for _, b := range q.blocks {
			holders[b]++
		}
	}
	for _, q := range d.waiting {
		if len(q.blocks) > 0 || q.computed > 0 {
			d.t.Fatal("a waiting sequence holds blocks")
		}
	}
	if held := d.kv.Len() - d.kv.Free(); held != len(holders) {
		d.t.Fatalf("%d blocks are held, sequences have %d", held, len(holders))
	}
	for b, n := range holders {
		if d.kv.Shared(b) != (n > 1) {
			d.t.Fatalf("block %d: %d sequences have it, shared: %v", b, n, d.kv.Shared(b))
		}
	}
	tokens := 0
	for _, w := range step {
		tokens += w.n
		for at := (w.computed - w.n) / kv.BlockTokens; at <= (w.computed-1)/kv.BlockTokens; at++ {
			if d.kv.Shared(w.blocks[at]) {
				d.t.Fatal("a step wrote into a block that others have too")
			}
		}
	}
	if tokens > d.budget || len(step) > d.most || d.seated() > d.most {
		d.t.Fatalf("a step of %d tokens of %d sequences, %d have seats; expected at most %d and %d", tokens, len(step), d.seated(), d.budget, d.most)
	}
}

// Whatever comes when, ends when, and gives way for whom: blocks are held by those who
// have them, nothing is written that others read, and answers are those of requests alone.
func TestSchedulerHoldsTogether(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(6, seed))
		m := newFakeModel(t)
		tokens, budget := 160+rng.IntN(200), 8+rng.IntN(60)
		d := newDriver(m, tokens, budget, 3+rng.IntN(8))
		d.after = d.check
		d.roles = seed%2 == 1
		shared := randomPrompt(rng, 60)
		type asked struct {
			prompt []int32
			tokens int
			choose func(*request)
		}
		requests := map[uint64]asked{}
		var live []*sequence
		ended := map[uint64]bool{}
		for number := uint64(0); number < 30; {
			for range rng.IntN(3) {
				a := asked{slices.Concat(shared[:rng.IntN(60)], randomPrompt(rng, 1+rng.IntN(40))), 1 + rng.IntN(50), nil}
				choices, priority, tenant := 1+rng.IntN(3), rng.IntN(3), []string{"a", "b"}[rng.IntN(2)]
				a.choose = func(q *request) { q.choices, q.Priority, q.Tenant = choices, priority, tenant }
				requests[number] = a
				live = append(live, d.add(number, a.prompt, a.tokens, a.choose))
				number++
			}
			if len(live) > 0 && rng.IntN(6) == 0 { // a client goes, at whatever its request is
				q := live[rng.IntN(len(live))]
				ended[q.number] = true
				d.each(func(o *sequence) {
					if o.request == q.request {
						d.finish(o)
					}
				})
			}
			d.step()
		}
		d.all()
		for number, a := range requests {
			if ended[number] {
				continue
			}
			alone := newDriver(m, 4096, 512, 64)
			alone.add(number, a.prompt, a.tokens, a.choose)
			alone.all()
			if got, want := d.answers[number], alone.answers[number]; !equal(got, want) {
				t.Errorf("seed %d: request %d answers %v, alone %v", seed, number, got, want)
			}
		}
	}
}

// Of a low priority gives way only what makes room for a higher one.
func TestNobodyGivesWayForNothing(t *testing.T) {
	priority := func(p int) func(*request) { return func(q *request) { q.Priority = p } }
	d := newDriver(newFakeModel(t), 400, 512, 8)
	large := d.add(1, make([]int32, 200), 40, priority(5))
	d.add(2, make([]int32, 40), 40, priority(0))
	d.step()
	waits := d.add(3, make([]int32, 300), 1, priority(3)) // has no room while the first one runs
	d.step()
	if d.preempted != 0 || len(d.running) != 2 {
		t.Errorf("%d gave way, %d run; expected 0 and 2", d.preempted, len(d.running))
	}
	d.finish(large)
	d.add(4, make([]int32, 80), 40, priority(0))
	d.step()
	if !slices.Contains(d.running, waits) && waits.generated() == 0 {
		t.Error("the request of a higher priority does not run, though there is room")
	}
	d.all()
}

// Blocks that several have are free only when all of them give way, and those that are
// found in the cache need no room.
func TestWayIsMadeByBlocksThatGetFree(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, c := range []struct {
		name          string
		choices       int // of the request of the lowest priority
		low, more     int // tokens of its prompt, and of the waiting one's behind what it shares with the highest
		shares, makes bool
	}{
		{"choices that share a prompt", 3, 120, 240, false, false},
		{"a prompt that is found", 1, 150, 100, true, true},
	} {
		d := newDriver(newFakeModel(t), 400, 512, 8)
		d.after = d.check
		high, more := randomPrompt(rng, 200), randomPrompt(rng, c.more)
		d.add(1, high, 40, func(q *request) { q.Priority = 5 })
		d.add(2, randomPrompt(rng, c.low), 40, func(q *request) { q.choices = c.choices })
		for range 3 {
			d.step()
		}
		if len(d.running) != 1+c.choices {
			t.Fatalf("%s: %d run", c.name, len(d.running))
		}
		if c.shares {
			more = slices.Concat(high, more)
		}
		waits := d.add(3, more, 5, func(q *request) { q.Priority = 3 })
		d.step()
		if d.preempted > 0 != c.makes || slices.Contains(d.running, waits) != c.makes {
			t.Errorf("%s: %d gave way, it runs: %v; expected %v", c.name, d.preempted, slices.Contains(d.running, waits), c.makes)
		}
		d.all()
	}
}

// A request that ends in the middle of its prompt takes nothing from those who share
// its beginning, and what it had computed is found by the next one.
func TestEndWithinASharedPrompt(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	shared := randomPrompt(rng, 64)
	m := newFakeModel(t)
	d := newDriver(m, 600, 32, 8)
	d.after = d.check
	d.add(1, slices.Concat(shared, []int32{1}), 30, nil)
	for range 4 {
		d.step()
	}
	gone := d.add(2, slices.Concat(shared, randomPrompt(rng, 100)), 5, nil)
	d.add(3, slices.Concat(shared, []int32{2}), 30, nil)
	d.step()
	if gone.computed <= 64 || gone.left() == 0 {
		t.Fatalf("%d tokens are computed, expected more than those that were found and fewer than all", gone.computed)
	}
	d.finish(gone)
	again := d.add(4, gone.tokens, 5, nil)
	d.step()
	if again.usage.CachedTokens <= 64 {
		t.Errorf("%d tokens were found, expected also those that the request before had computed", again.usage.CachedTokens)
	}
	d.all()
	for number, last := range map[uint64]int32{1: 1, 3: 2} {
		alone := newDriver(m, 600, 512, 8)
		alone.add(number, slices.Concat(shared, []int32{last}), 30, nil)
		alone.all()
		if !equal(d.answers[number], alone.answers[number]) {
			t.Errorf("request %d answers %v, alone %v", number, d.answers[number], alone.answers[number])
		}
	}
}

// A block that one sequence has let go of, and another holds, is not taken for others.
func TestSharedBlocksAreNotTaken(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	shared := randomPrompt(rng, 40)
	m := newFakeModel(t)
	d := newDriver(m, 128, 128, 8)
	d.after = d.check
	d.add(1, slices.Concat(shared, []int32{1}), 2, nil)
	d.step()
	d.add(2, slices.Concat(shared, []int32{2}), 30, nil)
	d.step() // the first one ends: it has its last token
	for i := range uint64(8) {
		d.add(3+i, randomPrompt(rng, 50), 4, nil) // each needs most of what is left
	}
	d.all()
	alone := newDriver(m, 600, 512, 8)
	alone.add(2, slices.Concat(shared, []int32{2}), 30, nil)
	alone.all()
	if !equal(d.answers[2], alone.answers[2]) {
		t.Errorf("the answer is %v, alone %v", d.answers[2], alone.answers[2])
	}
}

func TestTenantsFindNothingOfEachOther(t *testing.T) {
	prompt := randomPrompt(rand.New(rand.NewPCG(9, 9)), 64)
	d := newDriver(newFakeModel(t), 600, 512, 8)
	for i, c := range []struct {
		tenant string
		found  int
	}{{"a", 0}, {"b", 0}, {"a", 60}, {"b", 60}, {"", 0}} {
		q := d.add(uint64(i), prompt, 1, func(q *request) { q.Tenant = c.tenant })
		d.all()
		if q.usage.CachedTokens != c.found {
			t.Errorf("request %d, of %q, finds %d tokens, expected %d", i, c.tenant, q.usage.CachedTokens, c.found)
		}
	}
}

// Of a choice that is computed again, the prompt's probabilities are not wanted again.
func TestProbabilitiesOfPromptsAreComputedOnce(t *testing.T) {
	d := newDriver(newFakeModel(t), 600, 512, 8)
	q := d.add(1, make([]int32, 64), 8, func(q *request) { q.choices, q.PromptLogprobs = 2, 0 })
	if step := d.next(nil); len(step) != 1 || !q.echoing() || !q.wants(0) {
		t.Fatalf("a step of %v", step)
	}
	q.computed, q.echo = 64, slices.Grow(q.echo, 63)[:63] // as gather does
	d.kv.Publish(q.blocks[0], q.key.Next(q.tokens[:kv.BlockTokens], kv.BlockTokens))
	other := d.fork(q, 1)
	q.forked = true
	other.tokens = append(other.tokens, 3)
	if d.preempt() != other {
		t.Fatal("expected the last choice to give way")
	}
	for p := range 63 {
		if other.wants(p) {
			t.Fatalf("logits are wanted again at position %d of the prompt", p)
		}
	}
	if d.match(other); other.computed != kv.BlockTokens {
		t.Errorf("%d tokens are found in the cache, expected %d", other.computed, kv.BlockTokens)
	}
}

// What blocks hold nothing in is the rest of each sequence's last one: PagedAttention's
// authors have less than 4 % of it (arXiv 2309.06180).
func TestBlocksWasteLittle(t *testing.T) {
	for _, c := range []struct {
		prompt, answer int
		most           float64 // of the blocks' room, on average
	}{{128, 64, .02}, {512, 128, .02}, {32, 32, .04}} {
		d := newDriver(newFakeModel(t), 16*1024, 512, 64)
		room, unused := 0, 0
		d.after = func([]work) {
			for _, q := range d.running {
				room += len(q.blocks) * kv.BlockTokens
				unused += len(q.blocks)*kv.BlockTokens - len(q.tokens)
			}
		}
		for i := range uint64(16) {
			d.add(i, make([]int32, c.prompt), c.answer, nil)
		}
		d.reuse = false
		d.all()
		if waste := float64(unused) / float64(room); waste > c.most {
			t.Errorf("%d -> %d tokens: %.1f %% of the blocks hold nothing, expected at most %.0f %%", c.prompt, c.answer, 100*waste, 100*c.most)
		}
	}
}
