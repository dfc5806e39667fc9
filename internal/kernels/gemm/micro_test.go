package gemm

import (
	"math/rand/v2"
	"testing"
)

// TestMicro holds strips to the bits of a Task: of packed B and of B as it is, in
// one block of K and in two.
func TestMicro(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(7, 8))
		var m Micro
		m.Use()
		for range 200 {
			rows, n, k := 1+rng.IntN(m.Rows()), 2+rng.IntN(300), 2+rng.IntN(70)
			if rng.IntN(2) == 0 {
				rows = 1 + rng.IntN(2) // several panels at once
			}
			a, b, residual := random(rng, rows*k), random(rng, k*n), random(rng, rows*n)
			x := Product{M: rows, N: n, K: k, A: Matrix{Data: a, Stride: k}, B: Matrix{Data: b, Stride: n}}
			x.Residual = Matrix{Data: residual, Stride: n}
			x.ColBias.Data = random(rng, n)
			want := run(t, x, nil)

			s := Strip{Rows: rows, N: n, K: k, A: a, StrideA: k, B: b, StrideB: n, StrideC: n}
			whole := s
			whole.ColBias, whole.Residual, whole.StrideRes = x.ColBias.Data, residual, n
			check := func(how string, strips ...Strip) {
				t.Helper()
				c := make([]float32, rows*n)
				for _, s := range strips {
					s.C = c
					m.Multiply(&s)
				}
				if i := firstDifference(c, want); i >= 0 {
					t.Errorf("%d×%d×%d %s: element %d is %x, want %x", rows, n, k, how, i, c[i], want[i])
				}
			}
			if !m.NeedsPanels(n) {
				check("as it is", whole)
			}
			panels := make([]float32, m.PanelSize(k, n))
			m.Pack(panels, &x.B, k, n)
			whole.B, whole.StrideB = panels, 0
			check("packed", whole)
			fetching := whole
			fetching.Fetch = make([]byte, rng.IntN(1000))
			check("fetching", fetching)

			first, cut := whole, 1+rng.IntN(k-1)
			first.K, first.Panel, first.ColBias, first.Residual = cut, k*m.Width(), nil, nil
			x.ColBias.Data, x.Residual.Data = nil, nil
			want = run(t, x, nil)
			rest := first
			rest.A, rest.B, rest.K, rest.Continue = a[cut:], panels[cut*m.Width():], k-cut, true
			check("in two blocks", first, rest)
		}
	})
}

// A strip without columns is nothing to compute.
func TestStripOfNoColumns(t *testing.T) {
	eachLevel(t, func(*testing.T) {
		var m Micro
		m.Use()
		m.Multiply(&Strip{Rows: 2, K: 3, A: make([]float32, 6), StrideA: 3})
	})
}
