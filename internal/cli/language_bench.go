package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/reduce"
	"github.com/salver-ml/salver/internal/llm"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/textgen"
	"github.com/spf13/cobra"
)

// languageBenchFlags say what bench measures of a language model.
type languageBenchFlags struct {
	prompt, gen int
	prefix      int
	concurrency []int
	rounds      int
}

func (f *languageBenchFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.IntVar(&f.prompt, "prompt", 0, "language models: tokens of the prompt; 0 is 512, or three quarters of a short context")
	fl.IntVar(&f.gen, "gen", 0, "language models: tokens of the answer; 0 is 128, or what a short context leaves")
	fl.IntSliceVar(&f.concurrency, "concurrency", []int{1}, "language models: answers at once, one or more numbers")
	fl.IntVar(&f.prefix, "shared-prefix", 0, "language models: measure answers at once also to prompts that begin with so many tokens in common, which the cache holds and not")
	fl.IntVar(&f.rounds, "rounds", 3, "language models: how often each figure is measured; the best counts")
}

func (f *languageBenchFlags) check(context int) error {
	if f.prompt == 0 {
		f.prompt = min(512, context*3/4)
	}
	if f.gen == 0 {
		f.gen = max(2, min(128, context-f.prompt-1))
	}
	switch {
	case f.prompt < 1 || f.prompt+2 >= context:
		return misusef("--prompt %d: expected at least 1, and room for an answer of 2 in less than %d, which is the context", f.prompt, context)
	case f.prefix < 0 || f.prefix+f.prompt+f.gen >= context && f.prefix > 0:
		return misusef("--shared-prefix %d --prompt %d --gen %d: expected no less than 0, and together less than %d, which is the context", f.prefix, f.prompt, f.gen, context)
	case f.prompt < 1 || f.gen < 2 || f.prompt+f.gen >= context:
		return misusef("--prompt %d --gen %d: expected at least 1 and 2, and together less than %d, which is the context", f.prompt, f.gen, context)
	case f.rounds < 1:
		return misusef("--rounds %d: expected at least 1", f.rounds)
	case slices.Min(append(f.concurrency, 1)) < 1:
		return misusef("--concurrency %v: expected positive numbers", f.concurrency)
	}
	return nil
}

// languageResult is what bench --json prints of a language model.
type languageResult struct {
	Model        string         `json:"model"`
	LoadS        float64        `json:"load_s"`        // until weights are packed
	FirstTokenS  float64        `json:"first_token_s"` // from the start of loading to the first token
	PrefillTokS  float64        `json:"prefill_tok_s"`
	DecodeTokS   float64        `json:"decode_tok_s"`
	DecodeBytesS float64        `json:"decode_bytes_s"` // weights, all of which a token reads, but for the embedding's rows
	ReadBytesS   float64        `json:"read_bytes_s"`   // this machine's, with as many threads, around the answer that was decoded fastest
	Streams      []streamResult `json:"streams"`
	Scheduling   float64        `json:"scheduling_share"` // of the steps' time
	WeightBytes  int64          `json:"weight_bytes"`
	HeldBytes    int64          `json:"held_bytes"` // weights, packed weights and arenas
	KVBytes      int64          `json:"kv_bytes"`   // of the cache, of which pages are taken when they are used
	PeakRSSBytes int64          `json:"peak_rss_bytes"`
	Precision    string         `json:"precision"`
	ISA          string         `json:"isa"`
	Threads      int            `json:"threads"`
}

type streamResult struct {
	N         int     `json:"n"`
	GenTokS   float64 `json:"gen_tok_s"`
	TTFTP50MS float64 `json:"ttft_p50_ms"`
	TPOTP50MS float64 `json:"tpot_p50_ms"`
	KVWaste   float64 `json:"kv_waste"` // mean share of the blocks in use that no token fills, while all answers grow

	// With --shared-prefix: first tokens of prompts that begin alike, of which the cache
	// holds nothing, and the beginning.
	Prefix           int     `json:"shared_prefix,omitempty"` // tokens
	PrefixColdP50MS  float64 `json:"shared_prefix_cold_ttft_p50_ms,omitempty"`
	PrefixFoundP50MS float64 `json:"shared_prefix_ttft_p50_ms,omitempty"`
}

func (f *benchFlags) runLanguage(ctx context.Context, e *env, path string) error {
	if len(f.inputs)+len(f.shapes) > 0 {
		return misusef("--input and --shape are for models of tensors, not for language models")
	}
	if err := f.languageFlags.check(); err != nil {
		return err
	}
	if err := f.checkLanguage(); err != nil {
		return err
	}
	o, closePool, err := f.engineFlags.options()
	if err != nil {
		return err
	}
	defer closePool()
	start := time.Now()
	lo := f.languageFlags.options(o)
	lo.Sequences = max(lo.Sequences, slices.Max(append(f.concurrency, 1)))
	lo.NoPrefixes = f.prefix == 0 // prompts are to be computed; without a common beginning they are anyway
	if lo.CacheBytes == 0 {
		lo.CacheTokens = (f.prefix + max(f.prompt, 512) + max(f.gen, 128) + 16) * slices.Max(append(f.concurrency, 1))
	}
	m, err := llm.Load(path, lo)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := m.Warm(); err != nil {
		return err
	}
	r := languageResult{Model: path, LoadS: time.Since(start).Seconds(), Precision: o.Precision.String(), ISA: cpu.ISA(), Threads: f.threadCount()}
	if err := f.languageBenchFlags.check(m.Info().Context); err != nil {
		return err
	}
	b := &languageBench{model: m, flags: &f.languageBenchFlags, pool: o.Pool, rng: rand.New(rand.NewPCG(1, 2))}
	if _, err := b.generate(ctx, 1, 1); err != nil {
		return err
	}
	r.FirstTokenS = time.Since(start).Seconds()
	m.Settle()
	if err := b.measure(ctx, e, &r); err != nil {
		return err
	}
	s := m.Stats()
	r.Scheduling = s.SchedulerSeconds / s.StepSeconds
	r.WeightBytes, r.HeldBytes, r.KVBytes, r.PeakRSSBytes = m.Info().WeightBytes, s.WeightBytes, s.KVBytes, memoryStatus("VmHWM")
	r.DecodeBytesS = r.DecodeTokS * float64(m.TokenBytes())
	return r.print(e, f.json)
}

type languageBench struct {
	model *llm.Model
	flags *languageBenchFlags
	pool  *pool.Pool
	rng   *rand.Rand

	tenants int // rounds of prompts that share nothing
}

// generate answers one random prompt and gives the times of the first token and
// of all.
func (b *languageBench) generate(ctx context.Context, prompt, gen int) (*textgen.Usage, error) {
	return b.answer(ctx, b.request(nil, prompt, gen))
}

// request asks for gen tokens after a beginning and so many random tokens.
func (b *languageBench) request(begin []int32, prompt, gen int) *textgen.Request {
	r := &textgen.Request{Prompt: slices.Clone(begin), MaxTokens: gen, IgnoreEOS: true, Logprobs: -1, PromptLogprobs: -1}
	for range prompt {
		r.Prompt = append(r.Prompt, int32(b.rng.IntN(b.model.Info().Vocabulary)))
	}
	return r
}

func (b *languageBench) answer(ctx context.Context, r *textgen.Request) (*textgen.Usage, error) {
	return b.model.Generate(ctx, r, func(*textgen.Event) error { return nil })
}

func (b *languageBench) measure(ctx context.Context, e *env, r *languageResult) error {
	f := b.flags
	p := newProgress(e, f.rounds*(2+len(f.concurrency)), "measurements")
	defer p.done()
	done := 0
	step := func() { done++; p.at(done) }
	r.Streams = make([]streamResult, len(f.concurrency))
	for range f.rounds {
		u, err := b.generate(ctx, f.prompt, 1)
		if err != nil {
			return err
		}
		r.PrefillTokS = max(r.PrefillTokS, float64(f.prompt)/u.Total.Seconds())
		step()
		if err := b.decode(ctx, r); err != nil {
			return err
		}
		step()
		for i, n := range f.concurrency {
			s, err := b.together(ctx, n)
			if err != nil {
				return err
			}
			best := &r.Streams[i]
			cold, found := best.PrefixColdP50MS, best.PrefixFoundP50MS
			if s.GenTokS > best.GenTokS {
				*best = s
			}
			if f.prefix > 0 {
				if s.PrefixColdP50MS, s.PrefixFoundP50MS, err = b.sharing(ctx, n); err != nil {
					return err
				}
				best.Prefix, best.PrefixColdP50MS, best.PrefixFoundP50MS = f.prefix, least(cold, s.PrefixColdP50MS), least(found, s.PrefixFoundP50MS)
			}
			step()
		}
	}
	return nil
}

// decode measures one answer, and before and after it how fast memory is read: that changes
// from second to second where others use it too.
func (b *languageBench) decode(ctx context.Context, r *languageResult) error {
	before := readRate(b.pool)
	u, err := b.generate(ctx, 1, b.flags.gen+1)
	if err != nil {
		return err
	}
	if rate := float64(b.flags.gen) / (u.Total - u.FirstToken).Seconds(); rate > r.DecodeTokS {
		r.DecodeTokS, r.ReadBytesS = rate, (before+readRate(b.pool))/2
	}
	return nil
}

// least is the smaller of a time so far, 0 if there is none, and another.
func least(a, b float64) float64 {
	if a == 0 {
		return b
	}
	return min(a, b)
}

// together answers n prompts at once.
func (b *languageBench) together(ctx context.Context, n int) (streamResult, error) {
	var requests []*textgen.Request
	for range n {
		requests = append(requests, b.request(nil, b.flags.prompt, b.flags.gen))
	}
	waste := 0.
	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() { waste = b.waste(n, stop) })
	start := time.Now()
	used, err := b.all(ctx, requests)
	took := time.Since(start)
	close(stop)
	watch.Wait()
	if err != nil {
		return streamResult{}, err
	}
	return streamResult{N: n, GenTokS: float64(n*b.flags.gen) / took.Seconds(), TTFTP50MS: medianMS(used, firstToken), TPOTP50MS: medianMS(used, eachToken), KVWaste: waste}, nil
}

// sharing gives the median times to the first tokens of n prompts at once that begin
// alike. First they are of tenants of their own, who share nothing; then of one for whom
// the beginning has been computed.
func (b *languageBench) sharing(ctx context.Context, n int) (cold, found float64, err error) {
	begin := b.request(nil, b.flags.prefix, 1)
	ask := func(tenant func(i int) string) (float64, error) {
		var requests []*textgen.Request
		for i := range n {
			r := b.request(begin.Prompt, b.flags.prompt, 2)
			r.Tenant = tenant(i)
			requests = append(requests, r)
		}
		used, err := b.all(ctx, requests)
		return medianMS(used, firstToken), err
	}
	b.tenants++
	if cold, err = ask(func(i int) string { return fmt.Sprintf("alone %d.%d", b.tenants, i) }); err != nil {
		return 0, 0, err
	}
	if _, err = b.answer(ctx, b.request(begin.Prompt, 1, 2)); err != nil {
		return 0, 0, err
	}
	found, err = ask(func(int) string { return "" })
	return cold, found, err
}

// all answers requests at once.
func (b *languageBench) all(ctx context.Context, requests []*textgen.Request) ([]*textgen.Usage, error) {
	used, failed := make([]*textgen.Usage, len(requests)), make([]error, len(requests))
	var wg sync.WaitGroup
	for i, r := range requests {
		wg.Go(func() { used[i], failed[i] = b.answer(ctx, r) })
	}
	wg.Wait()
	return used, errors.Join(failed...)
}

func firstToken(u *textgen.Usage) time.Duration { return u.FirstToken }

func eachToken(u *textgen.Usage) time.Duration {
	return (u.Total - u.FirstToken) / time.Duration(max(u.GeneratedTokens-1, 1))
}

// medianMS is the median of a time, in milliseconds.
func medianMS(used []*textgen.Usage, of func(*textgen.Usage) time.Duration) float64 {
	times := make([]time.Duration, 0, len(used))
	for _, u := range used {
		if u == nil {
			return 0 // it failed, and so does what asks
		}
		times = append(times, of(u))
	}
	slices.Sort(times)
	return quantile(times, .5)
}

// waste is the mean share of the cache's blocks in use that no token fills,
// while n answers grow.
func (b *languageBench) waste(n int, stop chan struct{}) float64 {
	sum, seen, size := 0., 0, b.model.Stats().BlockTokens
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return sum / float64(max(seen, 1))
		case <-tick.C:
			if answers, tokens, blocks := b.model.Held(); answers == n && tokens >= n*b.flags.prompt {
				sum += 1 - float64(tokens)/float64(blocks*size)
				seen++
			}
		}
	}
}

func (r *languageResult) print(e *env, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(e.out).Encode(r)
	}
	const gb, mib = 1e9, 1 << 20
	fmt.Fprintf(e.out, "%s  %s, %s, %d threads\nload     %.3f s, first token after %.3f s\nprefill  %.1f tokens/s\ndecode   %.1f tokens/s: %.2f GB/s of weights, %.0f %% of the %.2f GB/s that memory gives\n",
		r.Model, r.Precision, r.ISA, r.Threads, r.LoadS, r.FirstTokenS, r.PrefillTokS, r.DecodeTokS, r.DecodeBytesS/gb, 100*r.DecodeBytesS/r.ReadBytesS, r.ReadBytesS/gb)
	for _, s := range r.Streams {
		fmt.Fprintf(e.out, "%2d at once: %.1f tokens/s, first token after %.0f ms (median), then %.1f ms a token; %.1f %% of the cache's blocks unused\n", s.N, s.GenTokS, s.TTFTP50MS, s.TPOTP50MS, 100*s.KVWaste)
		if s.Prefix > 0 {
			fmt.Fprintf(e.out, "%2d at once that begin with the same %d tokens: first token after %.0f ms (median), without the cache %.0f\n", s.N, s.Prefix, s.PrefixFoundP50MS, s.PrefixColdP50MS)
		}
	}
	_, err := fmt.Fprintf(e.out, "memory   weights %.1f MiB, held %.1f, cache up to %.1f, peak of the process %.1f\nsteps    %.2f %% of their time is scheduling and sampling\n",
		float64(r.WeightBytes)/mib, float64(r.HeldBytes)/mib, float64(r.KVBytes)/mib, float64(r.PeakRSSBytes)/mib, 100*r.Scheduling)
	return err
}

// readRate measures how fast the threads of a pool read memory that no cache
// holds, in bytes a second: the median of some rounds.
func readRate(p *pool.Pool) float64 {
	const size = 256 << 20
	buf := mmap.Alloc(size)
	defer buf.Free()
	r := &reader{words: buf.Float32s(), chunks: 64}
	for i := 0; i < len(r.words); i += 512 {
		r.words[i] = 1
	}
	r.sums = make([]float32, r.chunks)
	p.Begin()
	defer p.End()
	times := make([]time.Duration, 9)
	for i := range times {
		start := time.Now()
		p.Run(r.chunks, r)
		times[i] = time.Since(start)
	}
	slices.Sort(times)
	return size / times[len(times)/2].Seconds()
}

// reader sums memory in chunks.
type reader struct {
	words  []float32
	sums   []float32
	chunks int
}

// Do reads chunk number i.
func (r *reader) Do(i int) {
	n := len(r.words) / r.chunks
	r.sums[i] = reduce.SumRow(r.words[i*n : (i+1)*n])
}
