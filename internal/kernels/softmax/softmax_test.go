package softmax

import (
	"fmt"
	"math"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/kerneltest"
	"github.com/salver-ml/salver/internal/pool"
)

func naive(kind Kind, x []float32) []float64 {
	m, sum := math.Inf(-1), 0.0
	for _, v := range x {
		m = math.Max(m, float64(v))
	}
	for _, v := range x {
		sum += math.Exp(float64(v) - m)
	}
	out := make([]float64, len(x))
	for i, v := range x {
		if kind == Log {
			out[i] = float64(v) - m - math.Log(sum)
		} else {
			out[i] = math.Exp(float64(v)-m) / sum
		}
	}
	return out
}

func run(t testing.TB, kind Kind, shape []int, axis int, x []float32, p *pool.Pool) []float32 {
	s, err := New(kind, shape, axis)
	if err != nil {
		t.Fatal(err)
	}
	dst := kerneltest.Floats(t, len(x), nil)
	s.Run(p, dst, x, kerneltest.Floats(t, s.Scratch(), nil))
	return dst
}

func TestRowsAgainstFloat64(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for n := range 131 {
			checkRow(t, n)
		}
		checkRow(t, 4097)
		checkRow(t, 20000)
	})
}

func checkRow(t *testing.T, n int) {
	x := kerneltest.Floats(t, n, nil)
	for _, kind := range []Kind{Plain, Log} {
		got, want := run(t, kind, []int{n}, 0, x, nil), naive(kind, x)
		for i := range got {
			tol := 8.0
			if kind == Log { // the subtractions round at the size of the terms
				tol = 4 + 16/math.Max(math.Abs(want[i]), 0.01)
			}
			if u := kerneltest.ULP(got[i], want[i]); u > tol {
				t.Fatalf("%v of %d, element %d: %v, want %v: %.2f ulp", kind, n, i, got[i], want[i], u)
			}
		}
	}
}

// The bits of a row do not depend on the axis, the batch or the threads.
func TestColumnsAreRows(t *testing.T) {
	p := pool.New(3)
	defer p.Close()
	kerneltest.Levels(t, func(t *testing.T) {
		for _, c := range []struct{ n, inner int }{{1, 2}, {5, 3}, {40, 17}, {33, 64}, {1000, 20}} {
			x := kerneltest.Floats(t, 2*c.n*c.inner, nil)
			for _, kind := range []Kind{Plain, Log} {
				got := run(t, kind, []int{2, c.n, c.inner}, 1, x, p)
				for o := range 2 {
					for j := range c.inner {
						row := make([]float32, c.n)
						at := func(i int) int { return (o*c.n+i)*c.inner + j }
						for i := range row {
							row[i] = x[at(i)]
						}
						for i, v := range run(t, kind, []int{c.n}, 0, row, nil) {
							if !kerneltest.Same(v, got[at(i)]) {
								t.Fatalf("%v %+v column %d: %v, alone %v", kind, c, j, got[at(i)], v)
							}
						}
					}
				}
			}
		}
	})
}

func TestInPlace(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for _, kind := range []Kind{Plain, Log} {
			for axis := range 2 {
				x := kerneltest.Floats(t, 50*70, nil)
				want := run(t, kind, []int{50, 70}, axis, x, nil)
				s, _ := New(kind, []int{50, 70}, axis)
				s.Run(nil, x, x, make([]float32, s.Scratch()))
				for i := range x {
					if x[i] != want[i] {
						t.Fatalf("%v axis %d element %d: %v, not %v", kind, axis, i, x[i], want[i])
					}
				}
			}
		}
	})
}

func TestSpecialRows(t *testing.T) {
	inf := float32(math.Inf(1))
	nan := float32(math.NaN())
	kerneltest.Levels(t, func(t *testing.T) {
		for _, c := range []struct{ x, want []float32 }{
			{[]float32{-inf, 0, -inf}, []float32{0, 1, 0}},
			{[]float32{-inf, -inf}, []float32{nan, nan}},
			{[]float32{inf, 0}, []float32{nan, nan}},
			{[]float32{nan, 0}, []float32{nan, nan}},
			{[]float32{3e38, -3e38}, []float32{1, 0}},
		} {
			s, _ := New(Plain, []int{len(c.x)}, 0)
			got := make([]float32, len(c.x))
			s.Run(nil, got, c.x, nil)
			for i := range got {
				if !kerneltest.Same(got[i], c.want[i]) {
					t.Errorf("%v: %v, want %v", c.x, got, c.want)
					break
				}
			}
		}
	})
}

func TestRunDoesNotAllocate(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for _, kind := range []Kind{Plain, Log} {
			for axis := range 2 {
				s, _ := New(kind, []int{64, 64}, axis)
				x, scratch := make([]float32, 4096), make([]float32, s.Scratch())
				if n := testing.AllocsPerRun(10, func() { s.Run(nil, x, x, scratch) }); n != 0 {
					t.Errorf("%v axis %d: %v allocations", kind, axis, n)
				}
			}
		}
	})
}

func BenchmarkSoftmax(b *testing.B) {
	for _, c := range []struct {
		shape []int
		axis  int
	}{{[]int{12 * 128, 128}, 1}, {[]int{64, 1000}, 1}, {[]int{64, 100, 16}, 1}} {
		for _, kind := range []Kind{Plain, Log} {
			for _, l := range cpu.Levels() {
				b.Run(fmt.Sprintf("%v/%d/%d/%v", c.shape, c.axis, kind, l), func(b *testing.B) {
					defer cpu.Force(l)()
					s, _ := New(kind, c.shape, c.axis)
					n := 1
					for _, d := range c.shape {
						n *= d
					}
					x := kerneltest.Floats(b, n, nil)
					dst, scratch := make([]float32, n), make([]float32, s.Scratch())
					for b.Loop() {
						s.Run(nil, dst, x, scratch)
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/element")
				})
			}
		}
	}
}
