package attn

import (
	"fmt"
	"math"
	"testing"

	"github.com/salver-ml/salver/internal/kernels/kerneltest"
	"github.com/salver-ml/salver/internal/kernels/mma"
	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/mmap/guard"
	"github.com/salver-ml/salver/internal/pool"
)

// reference computes p in float64.
func reference(p *Problem) []float64 {
	out := make([]float64, len(p.O.Data))
	b := tiling.Batch(p.Batch)
	for item := range p.items() {
		q, k, v, o := b.Offset(item, p.Q.Steps), b.Offset(item, p.K.Steps), b.Offset(item, p.V.Steps), b.Offset(item, p.O.Steps)
		for i := range p.M {
			w := weights(p, item, q+i*p.Q.Stride, k, i)
			for j, x := range w {
				for d := range p.DV {
					out[o+i*p.O.Stride+d] += x * float64(p.V.Data[v+j*p.V.Stride+d])
				}
			}
		}
	}
	return out
}

func weights(p *Problem, item, q, k, i int) []float64 {
	w := make([]float64, p.N)
	lo, hi := 0, p.N
	if p.Keys.Limited {
		lo, hi = p.visible(item, i)
	}
	top, sum := math.Inf(-1), 0.
	for j := range w {
		for d := range p.D {
			at := k + j*p.K.Stride + d
			if p.K.Trans {
				at = k + d*p.K.Stride + j
			}
			w[j] += float64(p.Q.Data[q+d]) * float64(p.K.Data[at])
		}
		w[j] *= float64(p.Scale)
		if p.Softcap > 0 {
			w[j] = float64(p.Softcap) * math.Tanh(w[j]/float64(p.Softcap))
		}
		if m := &p.Mask; m.Data != nil {
			w[j] += float64(m.Data[tiling.Batch(p.Batch).Offset(item, m.Steps)+i*m.Row+j*m.Col])
		}
		if p.HasFill {
			w[j] = math.Max(w[j], float64(p.Fill))
		}
		if j < lo || j >= hi {
			w[j] = math.Inf(-1)
		}
		top = math.Max(top, w[j])
	}
	for j := range w {
		w[j] = math.Exp(w[j] - top)
		sum += w[j]
	}
	for j := range w {
		w[j] /= sum
		if p.ZeroMasked && math.IsInf(top, -1) {
			w[j] = 0
		}
	}
	return w
}

// heads makes a problem of [batch, sequence, heads, size] tensors.
func heads(t testing.TB, batch, h, m, n, d, dv int) *Problem {
	noise := func(n int) []float32 {
		return kerneltest.Floats(t, n, func(i int) float32 { return float32((i*7919+i*i*31)%1009)/504.5 - 1 })
	}
	p := &Problem{Batch: []int{batch, h}, M: m, N: n, D: d, DV: dv, Scale: 1 / float32(math.Sqrt(float64(d)))}
	view := func(seq, size int) View {
		return View{Data: noise(batch * seq * h * size), Stride: h * size, Steps: []int{seq * h * size, size}}
	}
	p.Q, p.K, p.V = view(m, d), view(n, d), view(n, dv)
	p.O = View{Data: make([]float32, batch*m*h*dv), Stride: h * dv, Steps: []int{m * h * dv, dv}}
	return p
}

func run(t testing.TB, p *Problem, threads *pool.Pool) []float32 {
	t.Helper()
	for i := range p.O.Data {
		p.O.Data[i] = 99
	}
	task := Task{Problem: *p}
	task.Scratch = kerneltest.Floats(t, task.ScratchSize(threads.Threads()), func(int) float32 { return nan })
	if err := task.Run(threads); err != nil {
		t.Fatal(err)
	}
	if task.own != nil {
		t.Errorf("scratch of %d elements is not enough", len(task.Scratch))
	}
	return append([]float32{}, p.O.Data...)
}

func check(t *testing.T, p *Problem) {
	t.Helper()
	for _, p.BF16 = range []bool{false, true} {
		bound := 1e-5
		if p.BF16 {
			bound = 2e-2
		}
		got := run(t, p, nil)
		for i, want := range reference(p) {
			if x := float64(got[i]); math.IsNaN(x) != math.IsNaN(want) || math.Abs(x-want) > bound {
				t.Fatalf("element %d is %v, want %v; bf16 %v", i, x, want, p.BF16)
			}
		}
		if p.BF16 && (mma.Available() || p.M*p.N < 500) { // the portable tiles are slow
			checkHalves(t, p, got)
		}
	}
}

// checkHalves compares with operands that are stored in bfloat16.
func checkHalves(t *testing.T, p *Problem, want []float32) {
	t.Helper()
	q := *p
	q.Halves = true
	for _, v := range []*View{&q.Q, &q.K, &q.V} {
		v.Data16 = guard.Slice[uint16](t, len(v.Data), guard.End)
		for i, x := range v.Data {
			v.Data16[i] = mma.Round(x)
		}
		v.Data = nil
	}
	for i, x := range run(t, &q, nil) {
		if !kerneltest.Same(x, want[i]) {
			t.Fatalf("stored in bfloat16: element %d is %v, want %v", i, x, want[i])
		}
	}
}

func TestAgainstFloat64(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for _, s := range []struct{ batch, h, m, n, d, dv int }{
			{1, 1, 1, 1, 1, 1}, {1, 1, 1, 2, 3, 2}, {2, 3, 5, 7, 8, 8}, {1, 2, 17, 33, 32, 20}, {1, 2, 65, 64, 64, 64},
			{2, 1, 3, 513, 16, 40}, {1, 1, 50, 1100, 33, 17}, {1, 1, 4, 0, 4, 4}, {3, 2, 1, 63, 65, 31},
		} {
			t.Run(fmt.Sprint(s), func(t *testing.T) { check(t, heads(t, s.batch, s.h, s.m, s.n, s.d, s.dv)) })
		}
	})
}

func TestSizes(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for n := 1; n <= 65; n++ {
			check(t, heads(t, 1, 2, 66-n, n, (n*7)%19+1, (n*5)%37+1))
		}
	})
}

// masks of every way to broadcast over [2, 3, 5, 600].
func TestMasks(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for bits := range 16 {
			p := heads(t, 2, 3, 5, 600, 8, 8)
			dims, steps, n := []int{2, 3, 5, 600}, make([]int, 4), 1
			for i := 3; i >= 0; i-- {
				if bits>>i&1 != 0 {
					steps[i], n = n, n*dims[i]
				}
			}
			p.Mask = Mask{Data: kerneltest.Floats(t, n, func(i int) float32 {
				if n > 1 && i%5 == 0 {
					return negInf
				}
				return float32(i%7) / 4
			}), Steps: steps[:2], Row: steps[2], Col: steps[3]}
			check(t, p)
			p.Softcap = 2
			check(t, p)
		}
	})
}

func TestLimitedKeys(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for _, k := range []Keys{
			{Left: -1, Right: 0}, {Left: -1, Right: 0, Offset: 580}, {Left: 3, Right: -1}, {Left: 2, Right: 1, Offset: 510},
			{Left: -1, Right: -1, Lens: []int{7, 600}}, {Left: -1, Right: 0, Lens: []int{20, 530}}, {Left: 0, Right: 0, Lens: []int{0, 3}},
		} {
			k.Limited = true
			p := heads(t, 2, 2, 20, 600, 8, 8)
			p.Keys = k
			check(t, p)
			p.ZeroMasked = true
			check(t, p)
		}
	})
}

func TestMaskedRows(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		p := heads(t, 1, 1, 4, 520, 8, 8)
		p.Mask = Mask{Data: make([]float32, 4*520), Row: 520, Col: 1}
		for j := range 520 {
			p.Mask.Data[520+j] = negInf // query 1 sees nothing
			p.Mask.Data[2*520+j] = -math.MaxFloat32
			if j < 512 {
				p.Mask.Data[3*520+j] = negInf // query 3 sees only the second tile
			}
		}
		check(t, p) // NaN
		p.ZeroMasked = true
		check(t, p)
		p.ZeroMasked, p.HasFill, p.Fill = false, true, -1e4
		check(t, p) // all keys alike
	})
}

// masked makes a mask of [m, n] that shows what see says.
func masked(p *Problem, low float32, see func(i, j int) bool) {
	p.Mask = Mask{Data: make([]float32, p.M*p.N), Row: p.N, Col: 1}
	for k := range p.Mask.Data {
		if p.Mask.Data[k] = float32(k%5) / 4; !see(k/p.N, k%p.N) {
			p.Mask.Data[k] = low
		}
	}
}

// TestMaskedTiles: passing over what a mask hides changes no bit. A query alone, for
// which less is hidden from the row tile, is the same as among others.
func TestMaskedTiles(t *testing.T) {
	for name, see := range map[string]func(i, j int) bool{
		"causal":     func(i, j int) bool { return j <= i+600 },
		"window":     func(i, j int) bool { return j > i+480 && j < i+560 },
		"left":       func(i, j int) bool { return j > 1070-i },
		"some blind": func(i, j int) bool { return i%3 > 0 && j == 513+i },
		"holes":      func(i, j int) bool { return j/40%3 == 1 },
	} {
		for _, low := range []float32{negInf, -math.MaxFloat32, -1e25} {
			t.Run(fmt.Sprintf("%s %g", name, low), func(t *testing.T) {
				kerneltest.Levels(t, func(t *testing.T) { maskedTiles(t, see, low) })
			})
		}
	}
}

func maskedTiles(t *testing.T, see func(i, j int) bool, low float32) {
	p := heads(t, 1, 1, 37, 1100, 8, 40)
	masked(p, low, see)
	for _, p.HasFill = range []bool{false, true} {
		p.Fill = -3e4
		want := run(t, p, nil)
		for i, x := range reference(p) {
			if got := float64(want[i]); math.IsNaN(x) != math.IsNaN(got) || math.Abs(x-got) > 1e-5 {
				t.Fatalf("element %d is %v, want %v", i, got, x)
			}
		}
		for _, i := range []int{0, 20, 36} {
			one := *p
			one.M, one.Q.Data, one.Mask.Data, one.O.Data = 1, p.Q.Data[i*p.Q.Stride:], p.Mask.Data[i*p.Mask.Row:], make([]float32, len(p.O.Data))
			got := run(t, &one, nil)
			for d := range 40 {
				if w := want[i*p.O.Stride+d]; !kerneltest.Same(got[d], w) {
					t.Fatalf("query %d alone: element %d is %v, among others %v", i, d, got[d], w)
				}
			}
		}
	}
}

// Heads share what is known of their mask, and only of theirs.
func TestMasksOfItems(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		p := heads(t, 3, 2, 30, 700, 8, 8)
		p.Mask = Mask{Data: make([]float32, 3*30*700), Row: 700, Col: 1, Steps: []int{30 * 700, 0}}
		for i := range p.Mask.Data {
			if b, j := i/(30*700), i%700; j >= 20+300*b {
				p.Mask.Data[i] = negInf
			}
		}
		check(t, p)
		for i, m := range []int{0, 0, 1, 1, 2, 2} {
			if got := p.maskOf(i); got != m || p.masks() != 3 {
				t.Errorf("item %d has mask %d of %d, want %d of 3", i, got, p.masks(), m)
			}
		}
	})
}

func TestNotFinite(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for _, x := range []float32{nan, float32(math.Inf(1)), negInf} {
			for _, at := range []int{0, 515} {
				p := heads(t, 1, 1, 3, 520, 4, 4)
				p.Mask = Mask{Data: make([]float32, 3*520), Row: 520, Col: 1}
				p.Mask.Data[520+at] = x
				got := run(t, p, nil)
				for i, want := range reference(p) {
					row := i / 4
					if math.IsNaN(want) != (got[i] != got[i]) {
						t.Errorf("score %v at key %d: row %d is %v, want %v", x, at, row, got[i], want)
					}
				}
			}
		}
	})
}

func TestGroupedQueriesAndTransposedKeys(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		p := heads(t, 2, 6, 19, 70, 8, 8)
		p.Batch = []int{2, 2, 3} // 2 heads of keys, 3 groups of queries
		p.Q.Steps, p.O.Steps = []int{19 * 48, 24, 8}, []int{19 * 48, 24, 8}
		p.K.Steps, p.V.Steps = []int{70 * 48, 8, 0}, []int{70 * 48, 8, 0}
		check(t, p)
		p.K = View{Data: p.K.Data, Stride: 70, Trans: true, Steps: []int{2 * 8 * 70, 8 * 70, 0}}
		check(t, p)
	})
}

// TestSameBits: neither threads nor the batch, nor other queries change a bit.
func TestSameBits(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		t.Run("fp32", func(t *testing.T) { sameBits(t, false) })
		t.Run("bf16", func(t *testing.T) { sameBits(t, true) })
	})
}

func sameBits(t *testing.T, bf16 bool) {
	p := heads(t, 3, 2, 130, 700, 32, 32)
	p.BF16 = bf16
	want := run(t, p, nil)
	for _, n := range []int{2, 3} {
		threads := pool.New(n)
		threads.Begin()
		got := run(t, p, threads)
		threads.End()
		threads.Close()
		for i := range got {
			if !kerneltest.Same(got[i], want[i]) {
				t.Fatalf("%d threads: element %d is %v, alone %v", n, i, got[i], want[i])
			}
		}
	}
	one := *p
	one.Batch, one.M = []int{1, 2}, 1
	one.Q.Data, one.K.Data, one.V.Data = p.Q.Data[p.Q.Steps[0]+57*p.Q.Stride:], p.K.Data[p.K.Steps[0]:], p.V.Data[p.V.Steps[0]:]
	one.O.Data = make([]float32, len(p.O.Data))
	got := run(t, &one, nil)
	for i, x := range got[:64] {
		if w := want[p.O.Steps[0]+57*p.O.Stride+i]; !kerneltest.Same(x, w) {
			t.Fatalf("a query alone: element %d is %v, in the batch %v", i, x, w)
		}
	}
}

func TestRunAllocatesNothing(t *testing.T) {
	for _, bf16 := range []bool{false, true} {
		task := Task{Problem: *heads(t, 1, 2, 20, 600, 8, 8)}
		task.BF16 = bf16
		task.Scratch = make([]float32, task.ScratchSize(1))
		if n := testing.AllocsPerRun(10, func() {
			if err := task.Run(nil); err != nil {
				t.Fatal(err)
			}
		}); n > 0 {
			t.Errorf("%v allocations a run, bf16 %v", n, bf16)
		}
	}
}

func TestCheck(t *testing.T) {
	for name, break_ := range map[string]func(p *Problem){
		"queries":     func(p *Problem) { p.Q.Data = p.Q.Data[1:] },
		"keys":        func(p *Problem) { p.N++ },
		"output":      func(p *Problem) { p.O.Steps = []int{1 << 40, 0} },
		"mask":        func(p *Problem) { p.Mask = Mask{Data: make([]float32, 3), Col: 1} },
		"mask stride": func(p *Problem) { p.Mask = Mask{Data: make([]float32, 100), Col: 2} },
		"lengths":     func(p *Problem) { p.Keys = Keys{Limited: true, Lens: []int{1}} },
		"transposed":  func(p *Problem) { p.V.Trans = true },
		"no elements": func(p *Problem) { p.D = 0 },
		"batch":       func(p *Problem) { p.Batch = []int{2, -3} },
	} {
		p := heads(t, 2, 3, 4, 5, 8, 8)
		break_(p)
		task := Task{Problem: *p}
		if err := task.Run(nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
