package paged

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/mma"
	"github.com/salver-ml/salver/internal/pool"
)

// needsTiles skips where prompts are computed as other tokens are.
func needsTiles(t *testing.T) {
	if current().packKeys32 == nil {
		t.Skip("no AMX")
	}
}

func TestPromptAgainstFloat64(t *testing.T) {
	needsTiles(t)
	for _, c := range []struct{ heads, kv, d, n, window int }{{1, 1, 32, 1, 0}, {4, 2, 32, 37, 0}, {8, 1, 64, 300, 0}, {6, 2, 96, 290, 100}, {2, 2, 64, 700, 16}, {3, 3, 128, 129, 0}} {
		for _, softcap := range []float32{0, 2} {
			for _, dt := range []dtype.Type{dtype.Float32, dtype.Float16} {
				t.Run(fmt.Sprintf("%+v,%v,%s", c, softcap, dt), func(t *testing.T) {
					rng := rand.New(rand.NewPCG(1, uint64(c.n)))
					m := newModel(rng, c.heads, c.kv, c.d, c.n)
					m.prompt = true
					p := Problem{Scale: .3, Softcap: softcap, Window: c.window}
					got := m.step(t, p, newCache(rng, m, dt), 0, c.n, nil)
					squares := 0.
					for i, w := range m.attend(&p) {
						d := float64(got[i]) - w
						squares += d * d
						if !(math.Abs(d) <= .1) {
							t.Fatalf("element %d is %v, expected %v", i, got[i], w)
						}
					}
					if rms := math.Sqrt(squares / float64(len(got))); rms > .005 {
						t.Errorf("root mean square of errors is %v", rms)
					}
				})
			}
		}
	}
}

// However a prompt is cut into steps, and on two threads, its bits are the same.
func TestChunksOfPromptsDoNotShow(t *testing.T) {
	needsTiles(t)
	pool := pool.New(2)
	defer pool.Close()
	rng := rand.New(rand.NewPCG(2, 2))
	for i, heads := range []int{16, 6, 4, 2} { // 8 to 1 share keys
		for _, dt := range []dtype.Type{dtype.Float32, dtype.Float16} {
			m := newModel(rng, heads, 2, 64, 833)
			m.prompt = true
			p := Problem{Scale: .25, Window: i % 2 * 50}
			whole := m.step(t, p, newCache(rng, m, dt), 0, m.n, nil)
			c := newCache(rng, m, dt)
			var parts []float32
			for from := 0; from < m.n; {
				end := min(m.n, from+1+rng.IntN(90)*rng.IntN(2))
				parts = append(parts, m.step(t, p, c, from, end, pool)...)
				from = end
			}
			if !slices.Equal(whole, parts) {
				t.Errorf("%d heads, window %d, %s: chunks change the answer", heads, p.Window, dt)
			}
		}
	}
}

// What is packed is what Go packs, bit by bit.
func TestPacking(t *testing.T) {
	needsTiles(t)
	rng := rand.New(rand.NewPCG(3, 3))
	kern := current()
	for _, dt := range []dtype.Type{dtype.Float32, dtype.Float16} {
		for _, d := range []int{32, 64, 96} {
			m := newModel(rng, 1, 1, d, TileTokens)
			c := newCache(rng, m, dt)
			m.step(t, Problem{Scale: 1}, c, 0, m.n, nil)
			task := &Task{Problem: Problem{KVHeads: 1, D: d, K: c.k, V: c.v}}
			list := func(c *Cache, table []int32) (a []uintptr) {
				for _, b := range table {
					a = append(a, uintptr(unsafe.Pointer(&c.block(task, 0, int(b))[0])))
				}
				return a
			}
			keys, values := make([]uint16, panelTokens*d), make([]uint16, 2*TileTokens*d)
			wantKeys, wantValues := slices.Clone(keys), slices.Clone(values)
			const blocks, panel = 5, 2 * TileTokens * mma.Cols
			if dt == dtype.Float16 {
				kern.packKeys16(&keys[0], &list(&c.k, c.table)[0], d)
				kern.packValues16(&values[0], &list(&c.v, c.table)[0], 2*panel, d, blocks)
			} else {
				kern.packKeys32(&keys[0], &list(&c.k, c.table)[0], d)
				kern.packValues32(&values[0], &list(&c.v, c.table)[0], 2*panel, d, blocks)
			}
			number := func(x []float32, token, e int) uint16 {
				y := x[token*d+e]
				if dt == dtype.Float16 {
					y = dtype.F16ToF32(dtype.F32ToF16(y))
				}
				return mma.Round(y)
			}
			for e := range d {
				for token := range panelTokens {
					wantKeys[e/2*2*panelTokens+2*token+e%2] = number(m.k, token, e)
				}
				for token := range blocks * BlockTokens {
					wantValues[e/32*panel+token/2*64+2*(e%32)+token%2] = number(m.v, token, e)
				}
			}
			if !slices.Equal(keys, wantKeys) {
				t.Errorf("%s, d = %d: keys differ", dt, d)
			}
			if !slices.Equal(values, wantValues) {
				t.Errorf("%s, d = %d: values differ", dt, d)
			}
		}
	}
}
