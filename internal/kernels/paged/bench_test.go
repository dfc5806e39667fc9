package paged

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/pool"
)

// benchShapes are TinyLlama's and SmolLM's, and wider heads, eight and one of keys.
var benchShapes = []struct{ heads, kv, d int }{{32, 4, 64}, {9, 3, 64}, {32, 8, 128}, {8, 1, 128}}

// fastest runs tasks one after the other and gives the least time of one: other
// processes only ever slow one down.
func fastest(b *testing.B, p *pool.Pool, tasks []*Task) time.Duration {
	p.Begin()
	defer p.End()
	best := time.Hour
	for i := 0; b.Loop(); i++ {
		start := time.Now()
		if err := tasks[i%len(tasks)].Run(p); err != nil {
			b.Fatal(err)
		}
		best = min(best, time.Since(start))
	}
	b.ReportMetric(float64(best.Nanoseconds())/1000, "best-us/op")
	return best
}

// An arena is memory in huge pages, as that of caches is.
type arena struct{ free []byte }

func newArena(b *testing.B, n int) *arena {
	buf := mmap.Alloc(n)
	b.Cleanup(buf.Free)
	return &arena{buf.Bytes()}
}

func (a *arena) take(n int) []byte {
	b := a.free[:n:n]
	a.free = a.free[n:]
	return b
}

// newBenchTask is a step of count tokens for each of several sequences of n in all.
func newBenchTask(memory *arena, sequences, heads, kv, d, count, n int, mixed bool) *Task {
	rng := rand.New(rand.NewPCG(6, 6))
	m := newModel(rng, heads, kv, d, sequences*count)
	m.n = sequences * (n + BlockTokens)
	c := newCache(rng, m, dtype.Float16)
	if !mixed {
		slices.Sort(c.table)
	}
	c.k.Data, c.v.Data = memory.take(len(c.k.Data)), memory.take(len(c.v.Data))
	for i := range c.k.Data { // small positive numbers
		c.k.Data[i], c.v.Data[i] = byte(i&1)*0x20, byte(i&1)*0x20
	}
	t := &Task{Problem: Problem{Heads: heads, KVHeads: kv, D: d, Scale: .1, Tokens: sequences * count, Q: m.q, NewK: m.k, NewV: m.v, O: make([]float32, len(m.q)), K: c.k, V: c.v,
		Slots: make([]int32, sequences*count)}}
	blocks := (n + BlockTokens - 1) / BlockTokens
	for s := range sequences {
		t.Sequences = append(t.Sequences, Sequence{Row: s * count, Count: count, First: n - count, Blocks: c.table[s*blocks:][:blocks]})
		for i := range count {
			at := n - count + i
			t.Slots[s*count+i] = c.table[s*blocks+at/BlockTokens]*BlockTokens + int32(at%BlockTokens)
		}
	}
	return t
}

// BenchmarkDecode is a token for each of some sequences, whose keys and values no
// cache holds, as those of a model's layers. Their blocks lie in order, as in a cache that
// is new, or mixed.
func BenchmarkDecode(b *testing.B) {
	for _, c := range benchShapes {
		for _, s := range []struct{ sequences, n, layers int }{{16, 160, 32}, {1, 640, 64}, {1, 2000, 64}, {1, 8000, 24}, {1, 16000, 12}} {
			for _, mixed := range []bool{false, true} {
				b.Run(fmt.Sprintf("%dof%dx%d/%dx%d/mixed=%v", c.heads, c.kv, c.d, s.sequences, s.n, mixed), func(b *testing.B) {
					bytes := 4 * s.sequences * s.n * c.kv * c.d
					memory := newArena(b, s.layers*(bytes+s.sequences<<16))
					var tasks []*Task
					for range s.layers {
						tasks = append(tasks, newBenchTask(memory, s.sequences, c.heads, c.kv, c.d, 1, s.n, mixed))
					}
					for _, threads := range []int{1, 2} {
						b.Run(fmt.Sprintf("threads=%d", threads), func(b *testing.B) {
							p := pool.New(threads)
							defer p.Close()
							b.ReportMetric(float64(bytes)/float64(fastest(b, p, tasks).Nanoseconds()), "GB/s")
						})
					}
				})
			}
		}
	}
}

// BenchmarkPrompt is a prompt that is computed at once, with one arithmetic for all
// tokens and with the prompts' own; of the products only those are counted that count.
func BenchmarkPrompt(b *testing.B) {
	for _, c := range benchShapes {
		for _, n := range []int{128, 512} {
			for _, l := range cpu.Levels() {
				for _, prompt := range []bool{false, true} {
					b.Run(fmt.Sprintf("%dof%dx%d/%d/%v/prompt=%v", c.heads, c.kv, c.d, n, l, prompt), func(b *testing.B) {
						defer cpu.Force(l)()
						flops := 2 * float64(n) * float64(n+1) * float64(c.heads*c.d)
						t := newBenchTask(newArena(b, 8<<20), 1, c.heads, c.kv, c.d, n, n, true)
						t.Sequences[0].Prompt = prompt
						b.ReportMetric(flops/float64(fastest(b, nil, []*Task{t}).Nanoseconds()), "GFLOP/s")
					})
				}
			}
		}
	}
}
