package paged

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/kerneltest"
	"github.com/salver-ml/salver/internal/pool"
)

// However the keys of a query are cut among threads, and whatever is computed beside it,
// its bits are the same.
func TestCutsOfKeysDoNotShow(t *testing.T) {
	var pools []*pool.Pool
	for threads := 1; threads <= 4; threads++ {
		p := pool.New(threads)
		defer p.Close()
		pools = append(pools, p)
	}
	kerneltest.Levels(t, func(t *testing.T) {
		for _, c := range []struct{ heads, kv, d, n, window int }{{9, 3, 32, 257, 0}, {8, 1, 16, 1500, 0}, {6, 2, 24, 1300, 0}, {4, 4, 8, 2600, 0}, {4, 2, 9, 700, 0}, {6, 2, 16, 1200, 700}} {
			t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(8, uint64(c.n)))
				m := newModel(rng, c.heads, c.kv, c.d, c.n)
				blocks := newCache(rng, m, dtype.Float16)
				p := Problem{Scale: .2, Window: c.window}
				m.step(t, p, blocks, 0, c.n, pools[3])
				last := func(rows int, p Problem, pool *pool.Pool) []float32 {
					o := m.step(t, p, blocks, c.n-rows, c.n, pool)
					return o[(rows-1)*c.heads*c.d:]
				}
				want := last(1, p, nil)
				for i, pool := range pools {
					for _, rows := range []int{1, 2, 19} {
						if !slices.Equal(last(rows, p, pool), want) {
							t.Errorf("%d rows on %d threads: other bits", rows, i+1)
						}
					}
				}
				if got := m.among(t, p, blocks, pools[1]); !slices.Equal(got, want) {
					t.Error("among others: other bits")
				}
			})
		}
	})
}

// among computes the last token of a sequence beside others, which are its beginnings.
func (m *model) among(t *testing.T, p Problem, c *cache, pool *pool.Pool) []float32 {
	t.Helper()
	const others = 9
	width := m.heads * m.d
	p.Heads, p.KVHeads, p.D, p.Tokens = m.heads, m.kv, m.d, others+1
	p.K, p.V, p.O = c.k, c.v, make([]float32, (others+1)*width)
	for i := range others + 1 {
		at := m.n - 1
		if i > 0 {
			at = m.n * i / (others + 1)
		}
		p.Q = append(p.Q, m.q[at*width:(at+1)*width]...)
		p.NewK = append(p.NewK, m.k[at*m.kv*m.d:(at+1)*m.kv*m.d]...)
		p.NewV = append(p.NewV, m.v[at*m.kv*m.d:(at+1)*m.kv*m.d]...)
		p.Slots = append(p.Slots, -1)
		p.Sequences = append(p.Sequences, Sequence{Row: i, Count: 1, First: at, Blocks: c.table})
	}
	if err := (&Task{Problem: p}).Run(pool); err != nil {
		t.Fatal(err)
	}
	return p.O[:width]
}
