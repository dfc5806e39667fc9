package dgemm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/kerneltest"
	"github.com/salver-ml/salver/internal/pool"
)

// numbers are n of them, the last of which is followed by memory that can't be touched.
func numbers(t *testing.T, rng *rand.Rand, n int) []float64 {
	if n == 0 {
		return nil
	}
	x := unsafe.Slice((*float64)(unsafe.Pointer(&kerneltest.Guarded(t, 8*n)[0])), n)
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	return x
}

// want is the definition.
func want(p Product, a, b, addend []float64) []float64 {
	var c []float64
	for item := range p.FromA {
		for i := range p.M {
			for j := range p.N {
				var s float64
				for k := range p.K {
					s = math.FMA(a[p.FromA[item]+i*p.A.Row+k*p.A.Col], b[p.FromB[item]+k*p.B.Row+j*p.B.Col], s)
				}
				s = float64(p.Alpha * s)
				if addend != nil {
					s += float64(p.Beta * addend[i*p.Addend.Row+j*p.Addend.Col])
				}
				c = append(c, s)
			}
		}
	}
	return c
}

// Products have the bits of their definition at every level, however matrices lie in memory.
func TestProducts(t *testing.T) {
	on := pool.New(3)
	defer on.Close()
	kerneltest.Levels(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 6))
		for _, s := range [][3]int{{1, 1, 1}, {1, 24, 3}, {1, 50, 17}, {2, 47, 9}, {3, 100, 5}, {4, 12, 8}, {5, 13, 0}, {7, 8, 31}, {9, 25, 33}, {30, 1, 40}, {33, 3, 7}, {40, 60, 20}, {70, 24, 11}, {200, 90, 64}, {55, 1, 13}, {31, 2, 100}} {
			for form := range 16 {
				p := Product{M: s[0], N: s[1], K: s[2], Alpha: 1, FromA: []int{0}, FromB: []int{0}}
				p.A, p.B = Strides{p.K, 1}, Strides{p.N, 1}
				if form&1 != 0 {
					p.A = Strides{1, p.M}
				}
				if form&2 != 0 {
					p.B = Strides{1, p.K}
				}
				if form&4 != 0 {
					p.FromA, p.FromB = []int{0, p.M * p.K, 0}, []int{p.K * p.N, 0, p.K * p.N}
				}
				a, b := numbers(t, rng, p.M*p.K*2), numbers(t, rng, p.K*p.N*2)
				var addend []float64
				if form%3 == 0 {
					p.Alpha, p.Beta, p.Addend = .75, -3, Strides{0, 1}
					addend = numbers(t, rng, p.N)
				}
				exact := want(p, a, b, addend)
				q := p
				if err := q.Prepare(); err != nil {
					t.Fatal(err)
				}
				from := b
				if form&8 != 0 && q.PackedSize() > 0 {
					q.Pack(numbers(t, rng, q.PackedSize()), b)
					from = nil
				}
				got := numbers(t, rng, len(exact))
				q.Run(on, got, a, from, addend, numbers(t, rng, q.ScratchSize()))
				if !slices.Equal(got, exact) {
					t.Fatalf("%v in form %d: %v, want %v", s, form, got[:min(9, len(got))], exact[:min(9, len(got))])
				}
			}
		}
	})
}

func BenchmarkProduct(b *testing.B) {
	for _, n := range []int{64, 512} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := Product{M: n, N: n, K: n, A: Strides{n, 1}, B: Strides{n, 1}, FromA: []int{0}, FromB: []int{0}, Alpha: 1}
			if err := p.Prepare(); err != nil {
				b.Fatal(err)
			}
			x, c, scratch := make([]float64, n*n), make([]float64, n*n), make([]float64, p.ScratchSize())
			for b.Loop() {
				p.Run(nil, c, x, x, nil, scratch)
			}
			b.ReportMetric(2*float64(n*n*n)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
		})
	}
}
