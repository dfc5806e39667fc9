package llm

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/salver-ml/salver/internal/llm/kv"
)

// scheduler decides what each step computes. The engine's goroutine alone uses it; others
// may read what never changes.
//
// A step has a budget of tokens. Sequences that generate take one each; what is
// left goes to prompts in chunks, those that have begun first: all of it to a long
// one, but half to several, whose first tokens would otherwise all come at the end of
// a long step.
//
// A sequence gets the blocks of all its tokens when it is admitted, and one more
// whenever it has filled its last; where none is free, the sequence that matters least
// gives its blocks back and is computed again later (preemption by recompute).
type scheduler struct {
	kv      *kv.Manager
	budget  int            // tokens of a step
	most    int            // sequences at once
	reuse   bool           // prefixes
	roles   bool           // prompts have an arithmetic of their own
	running []*sequence    // those that matter most first
	waiting []*sequence    // in no order
	served  map[string]int // tokens computed for each tenant that has requests
	copies  []blockCopy    // to be made before the step

	preempted    uint64
	asked, found uint64 // tokens looked for in the prefix cache
}

// maxLogits is how many tokens of prompts whose probabilities are wanted a step
// computes at most: each needs logits of the whole vocabulary, half a megabyte of
// 128k tokens.
const maxLogits = 128

// work is a sequence's part in a step: n tokens from number from on.
type work struct {
	*sequence
	from, n int
}

// role is 0 for tokens that were generated, and 1 for those of the prompt, of which
// work has either. Those that were generated come first in a step.
func (w work) role() int {
	if w.from >= w.prompt {
		return 0
	}
	return 1
}

// blockCopy gives a sequence a block of its own where it had a shared one.
type blockCopy struct{ from, to int32 }

func newScheduler(blocks, budget, most int, reuse bool) *scheduler {
	return &scheduler{kv: kv.New(blocks), budget: budget, most: most, reuse: reuse, served: map[string]int{}}
}

// reset forgets all sequences, and what the cache holds.
func (s *scheduler) reset() {
	s.kv = kv.New(s.kv.Len())
	s.running, s.waiting, s.copies = nil, nil, nil
	clear(s.served)
}

// rank orders sequences: what matters more is less.
func rank(a, b *sequence) int {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.number, b.number), cmp.Compare(a.choice, b.choice))
}

// submit queues a request's first sequence.
func (s *scheduler) submit(q *sequence) {
	if _, ok := s.served[q.Tenant]; !ok {
		s.served[q.Tenant] = s.leastServed()
	}
	s.waiting = append(s.waiting, q)
}

// leastServed is where a tenant begins that had no requests: it has no claim to
// what others got while it was away (virtual token counters, arXiv 2401.00588).
func (s *scheduler) leastServed() int {
	if len(s.served) == 0 {
		return 0
	}
	return slices.Min(slices.Collect(maps.Values(s.served)))
}

// next decides a step. No work means that nothing is running or waiting, or
// that nothing fits.
func (s *scheduler) next(step []work) []work {
	step, s.copies = step[:0], s.copies[:0]
	s.makeWay()
	used, limit, logits := 0, s.budget, maxLogits
	take := func(q *sequence) {
		n := min(q.left(), limit-used)
		if ahead := q.prompt - q.computed; ahead > 0 {
			n = min(n, ahead) // what is computed again has its role
		}
		if q.echoing() {
			if n = min(n, logits); n == 0 {
				return // others have the logits of this step
			}
			logits -= n
		}
		step = append(step, work{q, q.computed, n})
		used += n
		s.served[q.Tenant] += n
	}
	// A token for each answer. extend may preempt the last ones, which come after q, or q itself.
	for i := 0; i < len(s.running) && used < limit; i++ {
		if q := s.running[i]; q.left() == 1 && s.extend(q) {
			take(q)
		}
	}
	several := (used + s.budget) / 2 // where prompts end that come behind the first
	if padded(several) > several {
		several -= several % padding // so that nothing is computed in vain
	}
	// Prompts that have begun, and what is computed again; then those that wait.
	for _, q := range s.running {
		if q.left() > 1 && used < limit {
			take(q)
			limit = several
		}
	}
	for used < limit {
		q := s.admit()
		if q == nil {
			break
		}
		take(q)
		limit = several
	}
	slices.SortStableFunc(step, func(a, b work) int { return cmp.Compare(a.role(), b.role()) })
	return step
}

// makeWay preempts running sequences for the next waiting one if it has a higher priority,
// and has room without them: else they would give way for nothing.
func (s *scheduler) makeWay() {
	q, kept := s.first(), len(s.running)
	if q == nil || kept == 0 || s.running[kept-1].Priority >= q.Priority || s.fits(q) {
		return
	}
	s.match(q) // what it finds it need not wait for
	defer s.release(q)
	need := blocksFor(len(q.tokens)) - len(q.blocks)
	seats, blocks := s.most-s.seated(), s.kv.Free()
	given := map[int32]int{} // how many would give a block: it is free once all have who hold it
	for kept > 0 && s.running[kept-1].Priority < q.Priority {
		kept--
		seats += s.running[kept].seats()
		for _, b := range s.running[kept].blocks {
			if given[b]++; given[b] == s.kv.Holders(b) {
				blocks++
			}
		}
	}
	if seats < q.seats() || blocks < need {
		return
	}
	for len(s.running) > kept && (s.seated()+q.seats() > s.most || s.kv.Free() < need) {
		s.preempt()
	}
}

// first is the waiting sequence that is admitted next: of the highest priority,
// whose tenant has got least, that came first.
func (s *scheduler) first() *sequence {
	if len(s.waiting) == 0 {
		return nil
	}
	return slices.MinFunc(s.waiting, func(a, b *sequence) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(s.served[a.Tenant], s.served[b.Tenant]), rank(a, b))
	})
}

// fits reports whether a waiting sequence has room, without what it may find in
// the prefix cache.
func (s *scheduler) fits(q *sequence) bool {
	return s.seated()+q.seats() <= s.most && s.kv.Free() >= blocksFor(len(q.tokens))
}

// seated is how many sequences the running ones are or will be.
func (s *scheduler) seated() (n int) {
	for _, q := range s.running {
		n += q.seats()
	}
	return n
}

// seats is how many sequences one becomes: all choices of a request, until they exist.
func (q *sequence) seats() int {
	if q.forked {
		return 1
	}
	return q.choices
}

func blocksFor(tokens int) int { return (tokens + kv.BlockTokens - 1) / kv.BlockTokens }

// admit makes the next waiting sequence a running one, or gives nil.
func (s *scheduler) admit() *sequence {
	q := s.first()
	if q == nil || s.seated()+q.seats() > s.most {
		return nil
	}
	s.match(q)
	if s.kv.Free() < blocksFor(len(q.tokens))-len(q.blocks) {
		s.release(q)
		return nil
	}
	for len(q.blocks) < blocksFor(len(q.tokens)) {
		b, _ := s.kv.Take()
		q.blocks = append(q.blocks, b)
	}
	if q.admitted.IsZero() {
		q.admitted = time.Now()
		if s.reuse && !q.echoing() {
			s.asked += uint64(q.prompt)
			s.found += uint64(q.computed)
			q.usage.CachedTokens = q.computed
		}
	}
	s.waiting = slices.DeleteFunc(s.waiting, func(o *sequence) bool { return o == q })
	at, _ := slices.BinarySearchFunc(s.running, q, rank)
	s.running = slices.Insert(s.running, at, q)
	return q
}

// match takes the longest prefix that is in the cache. One token at least is
// left to compute, since its logits are wanted.
func (s *scheduler) match(q *sequence) {
	if !s.reuse || q.echoing() {
		return
	}
	for q.computed+kv.BlockTokens < len(q.tokens) {
		k := s.nextKey(q, q.computed)
		b, ok := s.kv.Find(k)
		if !ok {
			break
		}
		q.blocks, q.key, q.computed = append(q.blocks, b), k, q.computed+kv.BlockTokens
	}
}

// nextKey names the block of a sequence's tokens from a position on. Tokens of prompts
// and generated ones are told apart where their keys and values are computed differently.
func (s *scheduler) nextKey(q *sequence, at int) kv.Key {
	prompt := kv.BlockTokens
	if s.roles {
		prompt = min(max(q.prompt-at, 0), kv.BlockTokens)
	}
	return q.key.Next(q.tokens[at:at+kv.BlockTokens], prompt)
}

// extend gives a generating sequence a block to write its next key and value
// to. It fails if the sequence itself was the one to give way.
func (s *scheduler) extend(q *sequence) bool {
	at := q.computed / kv.BlockTokens
	if at < len(q.blocks) && !s.kv.Shared(q.blocks[at]) {
		return true
	}
	for s.kv.Free() == 0 {
		if s.preempt() == q {
			return false
		}
	}
	b, _ := s.kv.Take()
	if at == len(q.blocks) {
		q.blocks = append(q.blocks, b)
		return true
	}
	s.copies = append(s.copies, blockCopy{q.blocks[at], b})
	s.kv.Release(q.blocks[at])
	q.blocks[at] = b
	return true
}

// preempt takes the blocks of the running sequence that matters least.
func (s *scheduler) preempt() *sequence {
	q := s.running[len(s.running)-1]
	s.running = s.running[:len(s.running)-1]
	s.release(q)
	s.waiting = append(s.waiting, q)
	s.preempted++
	return q
}

// release gives a sequence's blocks back. Those that are published can be found
// again; the last ones are reused first.
func (s *scheduler) release(q *sequence) {
	for _, b := range slices.Backward(q.blocks) {
		s.kv.Release(b)
	}
	q.blocks, q.computed, q.key = q.blocks[:0], 0, kv.Root(q.Tenant)
}

// computed notes what a step has done.
func (s *scheduler) computed(step []work) {
	for _, w := range step {
		q := w.sequence
		full := q.computed / kv.BlockTokens
		q.computed += w.n
		for ; s.reuse && full < q.computed/kv.BlockTokens; full++ {
			q.key = s.nextKey(q, full*kv.BlockTokens)
			s.kv.Publish(q.blocks[full], q.key)
		}
	}
}

// fork makes another choice of a request whose prompt is computed.
func (s *scheduler) fork(q *sequence, choice int) *sequence {
	f := newSequence(q.request, choice)
	f.computed, f.key, f.echo = q.computed, q.key, q.echo
	f.blocks = slices.Clone(q.blocks)
	for _, b := range f.blocks {
		s.kv.Hold(b)
	}
	at, _ := slices.BinarySearchFunc(s.running, f, rank)
	s.running = slices.Insert(s.running, at, f)
	return f
}

// finish ends a sequence wherever it is.
func (s *scheduler) finish(q *sequence) {
	q.done = true
	s.release(q)
	is := func(o *sequence) bool { return o == q }
	s.running, s.waiting = slices.DeleteFunc(s.running, is), slices.DeleteFunc(s.waiting, is)
	tenant := func(o *sequence) bool { return o.Tenant == q.Tenant }
	if !slices.ContainsFunc(s.running, tenant) && !slices.ContainsFunc(s.waiting, tenant) {
		delete(s.served, q.Tenant)
	}
}

// idle reports whether there is nothing to do.
func (s *scheduler) idle() bool { return len(s.running) == 0 && len(s.waiting) == 0 }

// each visits all sequences, which it may finish.
func (s *scheduler) each(f func(*sequence)) {
	for _, q := range slices.Concat(s.running, s.waiting) {
		f(q)
	}
}
