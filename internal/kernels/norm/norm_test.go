package norm

import (
	"fmt"
	"math"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/kerneltest"
	"github.com/salver-ml/salver/internal/pool"
)

func naiveMoments(x []float32) (mean, variance float64) {
	for _, v := range x {
		mean += float64(v)
	}
	mean /= float64(len(x))
	for _, v := range x {
		variance += (float64(v) - mean) * (float64(v) - mean)
	}
	return mean, variance / float64(len(x))
}

func near(t *testing.T, what string, got []float32, want []float64) {
	t.Helper()
	for i := range got {
		if !(math.Abs(float64(got[i])-want[i]) <= 2e-6*math.Max(1, math.Abs(want[i]))) {
			t.Fatalf("%s element %d: %v, want %v", what, i, got[i], want[i])
		}
	}
}

// same checks that every level gives the bits of portable code.
func same(t *testing.T, what string, f func() []float32) {
	t.Helper()
	restore := cpu.Force(cpu.Generic)
	want := f()
	restore()
	for i, v := range f() {
		if !kerneltest.Same(v, want[i]) {
			t.Fatalf("%s element %d: %v, portable %v", what, i, v, want[i])
		}
	}
}

func TestLayer(t *testing.T) {
	p := pool.New(3)
	defer p.Close()
	kerneltest.Levels(t, func(t *testing.T) {
		widths := []int{768, 4097, 9000}
		for n := 1; n <= 130; n++ {
			widths = append(widths, n)
		}
		for _, w := range widths {
			const rows = 3
			x, gamma, beta := kerneltest.Floats(t, rows*w, nil), kerneltest.Floats(t, w, nil), kerneltest.Floats(t, w, nil)
			dst := kerneltest.Floats(t, rows*w, nil)
			mean, inv := make([]float32, rows), make([]float32, rows)
			l := NewLayer(rows, w, 1e-5)
			l.RunExtra(p, dst, x, gamma, beta, Extra{Mean: mean, Inv: inv})
			want := make([]float64, rows*w)
			for r := range rows {
				m, v := naiveMoments(x[r*w : (r+1)*w])
				s := 1 / math.Sqrt(v+1e-5)
				near(t, "mean", mean[r:r+1], []float64{m})
				if w > 1 {
					near(t, "inv", inv[r:r+1], []float64{s})
				}
				for i := range w {
					want[r*w+i] = (float64(x[r*w+i])-m)*s*float64(gamma[i]) + float64(beta[i])
				}
			}
			for i := range dst { // gamma and beta are up to 8
				if !(math.Abs(float64(dst[i])-want[i]) < 4e-5) {
					t.Fatalf("width %d element %d: %v, want %v", w, i, dst[i], want[i])
				}
			}
			same(t, fmt.Sprint("width ", w), func() []float32 {
				NewLayer(rows, w, 1e-5).Run(nil, dst, x, gamma, beta)
				return append([]float32(nil), dst...)
			})
			same(t, fmt.Sprint("no beta, width ", w), func() []float32 {
				NewLayer(rows, w, 1e-5).Run(nil, dst, x, gamma, nil)
				return append([]float32(nil), dst...)
			})
			same(t, fmt.Sprint("plain, width ", w), func() []float32 {
				NewLayer(rows, w, 1e-5).Run(nil, dst, x, nil, nil)
				return append([]float32(nil), dst...)
			})
			same(t, fmt.Sprint("rms, width ", w), func() []float32 {
				NewRMS(rows, w, 1e-5).Run(nil, dst, x, gamma, nil)
				return append([]float32(nil), dst...)
			})
		}
	})
}

func TestSkipIsAddThenNorm(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		const rows, w = 4, 77
		x, skip, bias := kerneltest.Floats(t, rows*w, nil), kerneltest.Floats(t, rows*w, func(i int) float32 { return float32(i%13) - 6 }), kerneltest.Floats(t, w, nil)
		sum, dst := make([]float32, rows*w), make([]float32, rows*w)
		NewLayer(rows, w, 1e-5).RunExtra(nil, dst, x, bias, nil, Extra{Skip: skip, Bias: bias, Sum: sum})
		added, want := make([]float32, rows*w), make([]float32, rows*w)
		for i := range added {
			added[i] = x[i] + skip[i] + bias[i%w]
		}
		NewLayer(rows, w, 1e-5).Run(nil, want, added, bias, nil)
		for i := range want {
			if sum[i] != added[i] || dst[i] != want[i] {
				t.Fatalf("element %d: %v and %v, want %v and %v", i, sum[i], dst[i], added[i], want[i])
			}
		}
	})
}

func TestRMS(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		x, gamma := kerneltest.Floats(t, 100, nil), kerneltest.Floats(t, 100, nil)
		dst := make([]float32, 100)
		NewRMS(1, 100, 1e-6).Run(nil, dst, x, gamma, nil)
		sum := 0.0
		for _, v := range x {
			sum += float64(v) * float64(v)
		}
		want := make([]float64, 100)
		for i := range want {
			want[i] = float64(x[i]) / math.Sqrt(sum/100+1e-6) * float64(gamma[i])
		}
		near(t, "rms", dst, want)
	})
}

func TestGroup(t *testing.T) {
	p := pool.New(3)
	defer p.Close()
	kerneltest.Levels(t, func(t *testing.T) {
		shape := []int{2, 6, 5, 7}
		x, gamma, beta := kerneltest.Floats(t, 2*6*35, nil), kerneltest.Floats(t, 6, nil), kerneltest.Floats(t, 6, nil)
		for _, groups := range []int{1, 2, 3, 6} {
			g, err := NewGroup(shape, groups, 1e-5)
			if err != nil {
				t.Fatal(err)
			}
			dst := kerneltest.Floats(t, len(x), nil)
			g.Run(p, dst, x, gamma, beta)
			n := 6 / groups * 35
			for i := range x {
				u := i / n
				m, v := naiveMoments(x[u*n : (u+1)*n])
				c := i / 35 % 6
				want := (float64(x[i])-m)/math.Sqrt(v+1e-5)*float64(gamma[c]) + float64(beta[c])
				if math.Abs(float64(dst[i])-want) > 2e-5 {
					t.Fatalf("%d groups, element %d: %v, want %v", groups, i, dst[i], want)
				}
			}
			same(t, "group", func() []float32 {
				g.Run(nil, dst, x, gamma, beta)
				return append([]float32(nil), dst...)
			})
		}
	})
	if _, err := NewGroup([]int{1, 6, 2}, 4, 0); err == nil {
		t.Error("4 groups of 6 channels were let through")
	}
}

func TestBatch(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for _, c := range []int{1, 3, 16, 32} {
			one := func(int) float32 { return 2 }
			scale, shift := Fold(kerneltest.Floats(t, c, nil), kerneltest.Floats(t, c, nil), kerneltest.Floats(t, c, nil), kerneltest.Floats(t, c, one), 1e-5)
			for _, block := range []int{1, 3, 8, 16} {
				if c%block != 0 {
					continue
				}
				for _, inner := range []int{1, 9, 50} {
					x, dst := kerneltest.Floats(t, 2*c*inner, nil), kerneltest.Floats(t, 2*c*inner, nil)
					b, err := NewBatch(2, inner, block, scale, shift)
					if err != nil {
						t.Fatal(err)
					}
					b.Run(nil, dst, x)
					for i := range x {
						ch := i/block/inner%(c/block)*block + i%block
						if want := float32(x[i]*scale[ch]) + shift[ch]; dst[i] != want {
							t.Fatalf("%d channels in blocks of %d × %d, element %d: %v, want %v", c, block, inner, i, dst[i], want)
						}
					}
				}
			}
		}
	})
}

func TestLp(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for _, axis := range []int{0, 1} {
			for _, order := range []int{1, 2} {
				x := kerneltest.Floats(t, 30*40, nil)
				for i := range x {
					if axis == 1 && i/40 == 3 || axis == 0 && i%40 == 3 {
						x[i] = 0
					}
				}
				l, err := NewLp(order, []int{30, 40}, axis)
				if err != nil {
					t.Fatal(err)
				}
				dst := kerneltest.Floats(t, len(x), nil)
				l.Run(nil, dst, x, kerneltest.Floats(t, l.Scratch(), nil))
				for i := range x {
					sum := 0.0
					for j := range x {
						if axis == 1 && j/40 == i/40 || axis == 0 && j%40 == i%40 {
							sum += math.Pow(math.Abs(float64(x[j])), float64(order))
						}
					}
					want := 0.0
					if sum > 0 {
						want = float64(x[i]) / math.Pow(sum, 1/float64(order))
					}
					if math.Abs(float64(dst[i])-want) > 1e-6 {
						t.Fatalf("axis %d order %d element %d: %v, want %v", axis, order, i, dst[i], want)
					}
				}
			}
		}
	})
}

func TestLRN(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for _, c := range []struct {
			batch, channels, area, before, after int
			beta                                 float32
		}{{2, 7, 600, 2, 2, .75}, {1, 3, 5, 2, 2, .5}, {3, 9, 1, 1, 2, 1}, {1, 5, 513, 0, 0, .6}, {1, 2, 7, 9, 9, .75}} {
			x := kerneltest.Floats(t, c.batch*c.channels*c.area, nil)
			l, err := NewLRN(c.batch, c.channels, c.area, c.before, c.after, .3, c.beta, 1.5)
			if err != nil {
				t.Fatal(err)
			}
			dst := kerneltest.Floats(t, len(x), nil)
			l.Run(nil, dst, x, kerneltest.Floats(t, l.Scratch(), nil))
			for i := range x {
				ch, sum := i/c.area%c.channels, 0.
				for k := max(0, ch-c.before); k <= min(c.channels-1, ch+c.after); k++ {
					sum += float64(x[i+(k-ch)*c.area]) * float64(x[i+(k-ch)*c.area])
				}
				if want := float64(x[i]) / math.Pow(1.5+.3*sum, float64(c.beta)); kerneltest.ULP(dst[i], want) > 8 {
					t.Fatalf("%+v, element %d: %v, want %v", c, i, dst[i], want)
				}
			}
		}
	})
}

func TestRunDoesNotAllocate(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		x, g := make([]float32, 64*64), make([]float32, 64)
		layer := NewLayer(64, 64, 1e-5)
		group, _ := NewGroup([]int{1, 64, 64}, 8, 1e-5)
		lp, _ := NewLp(2, []int{64, 64}, 1)
		lrn, _ := NewLRN(1, 64, 64, 2, 2, 1, .75, 1)
		y, scratch := make([]float32, 64*64), make([]float32, lrn.Scratch())
		batch, _ := NewBatch(1, 64, 1, g, g)
		for name, f := range map[string]func(){
			"layer": func() { layer.RunExtra(nil, x, x, g, g, Extra{Skip: x, Sum: x}) },
			"group": func() { group.Run(nil, x, x, g, g) },
			"lp":    func() { lp.Run(nil, x, x, nil) },
			"lrn":   func() { lrn.Run(nil, y, x, scratch) },
			"batch": func() { batch.Run(nil, x, x) },
		} {
			if n := testing.AllocsPerRun(10, f); n != 0 {
				t.Errorf("%s: %v allocations", name, n)
			}
		}
	})
}

func BenchmarkLayer(b *testing.B) {
	for _, w := range []int{384, 768, 4096} {
		for _, l := range cpu.Levels() {
			b.Run(fmt.Sprintf("128x%d/%v", w, l), func(b *testing.B) {
				defer cpu.Force(l)()
				x, g := kerneltest.Floats(b, 128*w, nil), kerneltest.Floats(b, w, nil)
				dst := make([]float32, 128*w)
				n := NewLayer(128, w, 1e-5)
				b.SetBytes(int64(8 * 128 * w))
				for b.Loop() {
					n.Run(nil, dst, x, g, g)
				}
			})
		}
	}
}
