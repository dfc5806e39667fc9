package paged

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/kerneltest"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/tensor"
)

// model is a sequence with all its queries, keys and values.
type model struct {
	heads, kv, d, n int
	q, k, v         []float32
	prompt          bool // its tokens are a prompt's
}

func newModel(rng *rand.Rand, heads, kv, d, n int) *model {
	m := &model{heads: heads, kv: kv, d: d, n: n}
	for _, x := range []struct {
		to   *[]float32
		size int
	}{{&m.q, n * heads * d}, {&m.k, n * kv * d}, {&m.v, n * kv * d}} {
		*x.to = make([]float32, x.size)
		for i := range *x.to {
			(*x.to)[i] = float32(rng.NormFloat64())
		}
	}
	return m
}

// attend is attention in float64.
func (m *model) attend(p *Problem) []float64 {
	o := make([]float64, m.n*m.heads*m.d)
	for i := range m.n {
		for h := range m.heads {
			kv := h / (m.heads / m.kv)
			first := 0
			if p.Window > 0 {
				first = max(0, i-p.Window+1)
			}
			s, total := make([]float64, i+1), 0.
			for j := first; j <= i; j++ {
				for e := range m.d {
					s[j] += float64(m.q[(i*m.heads+h)*m.d+e]) * float64(m.k[(j*m.kv+kv)*m.d+e])
				}
				s[j] *= float64(p.Scale)
				if c := float64(p.Softcap); c > 0 {
					s[j] = c * math.Tanh(s[j]/c)
				}
				s[j] = math.Exp(s[j])
				total += s[j]
			}
			for j := first; j <= i; j++ {
				for e := range m.d {
					o[(i*m.heads+h)*m.d+e] += s[j] / total * float64(m.v[(j*m.kv+kv)*m.d+e])
				}
			}
		}
	}
	return o
}

// cache is memory for blocks with a table that lists them in a mixed order.
type cache struct {
	k, v  Cache
	table []int32
}

func newCache(rng *rand.Rand, m *model, dt dtype.Type) *cache {
	blocks := (m.n+BlockTokens-1)/BlockTokens + 3
	c := &cache{}
	size := blocks * m.kv * BlockTokens * m.d
	c.k = Cache{dt, tensor.Bytes(dt.Bytes(size))}
	c.v = Cache{dt, tensor.Bytes(dt.Bytes(size))}
	for _, b := range rng.Perm(blocks) {
		c.table = append(c.table, int32(b))
	}
	return c
}

// step computes tokens from to end of a sequence.
func (m *model) step(t *testing.T, p Problem, c *cache, from, end int, pool *pool.Pool) []float32 {
	t.Helper()
	n := end - from
	p.Heads, p.KVHeads, p.D, p.Tokens = m.heads, m.kv, m.d, n+1 // a row of padding
	w, kw := m.heads*m.d, m.kv*m.d
	pad := func(x []float32, width int) []float32 {
		return append(slices.Clone(x[from*width:end*width]), make([]float32, width)...)
	}
	p.Q, p.NewK, p.NewV = pad(m.q, w), pad(m.k, kw), pad(m.v, kw)
	p.O = make([]float32, (n+1)*w)
	p.O[len(p.O)-1] = 7
	p.K, p.V = c.k, c.v
	for i := from; i < end; i++ {
		p.Slots = append(p.Slots, c.table[i/BlockTokens]*BlockTokens+int32(i%BlockTokens))
	}
	p.Slots = append(p.Slots, -1)
	p.Sequences = []Sequence{{Row: 0, Count: n, First: from, Blocks: c.table, Prompt: m.prompt}}
	task := &Task{Problem: p}
	if err := task.Run(pool); err != nil {
		t.Fatal(err)
	}
	if p.O[len(p.O)-1] != 0 {
		t.Error("padding is not cleared")
	}
	return p.O[:n*w]
}

func TestAgainstFloat64(t *testing.T) {
	for _, c := range []struct{ heads, kv, d, n, window int }{{1, 1, 8, 1, 0}, {4, 2, 16, 37, 0}, {8, 1, 64, 300, 0}, {6, 3, 24, 290, 100}, {2, 2, 33, 150, 16}, {3, 3, 128, 129, 0}} {
		for _, softcap := range []float32{0, 2} {
			for _, dt := range []dtype.Type{dtype.Float32, dtype.Float16} {
				t.Run(fmt.Sprintf("%+v,%v,%s", c, softcap, dt), func(t *testing.T) {
					rng := rand.New(rand.NewPCG(1, uint64(c.n)))
					m := newModel(rng, c.heads, c.kv, c.d, c.n)
					p := Problem{Scale: .3, Softcap: softcap, Window: c.window}
					got := m.step(t, p, newCache(rng, m, dt), 0, c.n, nil)
					tol := 1e-5
					if dt == dtype.Float16 {
						tol = 1e-2
					}
					for i, w := range m.attend(&p) {
						if d := math.Abs(float64(got[i]) - w); !(d <= tol) {
							t.Fatalf("element %d is %v, expected %v", i, got[i], w)
						}
					}
				})
			}
		}
	}
}

// However a sequence is cut into steps, its bits are the same.
func TestChunksDoNotShow(t *testing.T) {
	pool := pool.New(2)
	defer pool.Close()
	kerneltest.Levels(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(2, 2))
		for i, heads := range []int{16, 6, 4, 2} { // 8 to 1 share keys
			for _, dt := range []dtype.Type{dtype.Float32, dtype.Float16} {
				m := newModel(rng, heads, 2, 32, 333)
				p := Problem{Scale: .25, Window: i % 2 * 50}
				whole := m.step(t, p, newCache(rng, m, dt), 0, m.n, nil)
				c := newCache(rng, m, dt)
				var parts []float32
				for from := 0; from < m.n; {
					end := min(m.n, from+1+rng.IntN(40)*rng.IntN(2))
					parts = append(parts, m.step(t, p, c, from, end, pool)...)
					from = end
				}
				if !slices.Equal(whole, parts) {
					t.Errorf("%d heads, window %d, %s: chunks change the answer", heads, p.Window, dt)
				}
			}
		}
	})
}

func TestRefusals(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	m := newModel(rng, 2, 1, 4, 20)
	good := func() *Task {
		c := newCache(rng, m, dtype.Float32)
		return &Task{Problem: Problem{Heads: 2, KVHeads: 1, D: 4, Tokens: 20, Q: m.q, NewK: m.k, NewV: m.v, O: make([]float32, len(m.q)), K: c.k, V: c.v,
			Slots: make([]int32, 20), Sequences: []Sequence{{Count: 20, Blocks: c.table}}}}
	}
	for name, spoil := range map[string]func(*Task){
		"heads":        func(t *Task) { t.KVHeads = 3 },
		"short Q":      func(t *Task) { t.Q = t.Q[1:] },
		"short slots":  func(t *Task) { t.Slots = t.Slots[1:] },
		"far slot":     func(t *Task) { t.Slots[3] = 1 << 20 },
		"short table":  func(t *Task) { t.Sequences[0].Blocks = t.Sequences[0].Blocks[:1] },
		"far block":    func(t *Task) { t.Sequences[0].Blocks[1] = 99 },
		"rows overlap": func(t *Task) { t.Sequences = append(t.Sequences, t.Sequences[0]) },
		"types":        func(t *Task) { t.K.DType = dtype.Int32 },
	} {
		task := good()
		spoil(task)
		if task.Run(nil) == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := good().Run(nil); err != nil {
		t.Error(err)
	}
}

// The levels with FMA agree bit by bit, and generic but for roundings.
func TestLevelsAgree(t *testing.T) {
	for _, d := range []int{8, 16, 24, 40, 64, 80, 96, 128} {
		for _, dt := range []dtype.Type{dtype.Float32, dtype.Float16} {
			for heads := 1; heads <= 17; heads += 4 {
				rng := rand.New(rand.NewPCG(4, uint64(d)))
				m := newModel(rng, heads, 1, d, 21)
				answers := map[cpu.Target][]float32{}
				kerneltest.Levels(t, func(t *testing.T) {
					rng := rand.New(rand.NewPCG(5, uint64(d)))
					answers[cpu.Level()] = m.step(t, Problem{Scale: .3}, newCache(rng, m, dt), 0, m.n, nil)
				})
				for level, got := range answers {
					for i, w := range answers[cpu.Generic] {
						if d := math.Abs(float64(got[i] - w)); !(d <= 1e-5) {
							t.Fatalf("%s: element %d is %v, generic %v", level, i, got[i], w)
						}
					}
					if fma, ok := answers[cpu.AVX2]; ok && level > cpu.AVX2 && !slices.Equal(got, fma) {
						t.Fatalf("%d heads of %d, %s: differs from AVX2", heads, d, level)
					}
				}
			}
		}
	}
}

// A run allocates nothing once there was one of its size, and tasks that don't run at a
// time share their memory.
func TestWorkspacesAreShared(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	m := newModel(rng, 2, 1, 56, 20)
	pool := pool.New(2)
	defer pool.Close()
	newTask := func() *Task {
		c := newCache(rng, m, dtype.Float32)
		task := &Task{Problem: Problem{Heads: 2, KVHeads: 1, D: 56, Tokens: 20, Q: m.q, NewK: m.k, NewV: m.v, O: make([]float32, len(m.q)), K: c.k, V: c.v,
			Slots: make([]int32, 20), Sequences: []Sequence{{Count: 20, Blocks: c.table}}}}
		for i := range task.Slots { // two tokens in one would be written at a time
			task.Slots[i] = c.table[i/BlockTokens]*BlockTokens + int32(i%BlockTokens)
		}
		return task
	}
	task := newTask()
	for _, task := range []*Task{task, newTask(), newTask()} {
		if err := task.Run(pool); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(idle.of[spaceSize{32, 2, 56, 2}]); n != 1 {
		t.Errorf("three tasks left the memory of %d", n)
	}
	if n := testing.AllocsPerRun(10, func() {
		if err := task.Run(pool); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
