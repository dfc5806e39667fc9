package weight

import (
	"context"
	"math"
	"slices"
	"sort"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/pool"
)

// textbook is GPTQ as the paper has it: column by column in float64, with the
// inverse Hessian of the columns that are left, from which each is eliminated.
// Groups are fitted to what the columns have become.
func textbook(w Matrix, x []float32, s Scheme, o GPTQOptions) Matrix {
	n := w.Cols
	h := make([][]float64, n)
	var mean float64
	for i := range h {
		h[i] = make([]float64, n)
		for j := range h[i] {
			for k := 0; k < len(x); k += n {
				h[i][j] += 2 * float64(x[k+i]) * float64(x[k+j]) / float64(len(x)/n)
			}
		}
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	if o.ActOrder {
		sort.SliceStable(order, func(a, b int) bool { return h[order[a]][order[a]] > h[order[b]][order[b]] })
	}
	data := make([]float64, len(w.Data))
	for i, v := range w.Data {
		data[i] = float64(v)
	}
	for i := range n {
		if h[i][i] == 0 {
			h[i][i] = 1
			for row := range w.Rows {
				data[row*n+i] = 0
			}
		}
		mean += h[i][i] / float64(n)
	}
	for i := range n {
		h[i][i] += o.Damp * mean
	}
	inverse := inverted(h)
	g, size := newGrid(s), s.size(n)
	out := Matrix{w.Rows, n, make([]float32, len(w.Data))}
	of := make([]params, w.Rows)
	static := make([][]params, w.Rows)
	fit := func(row int, cols []int) params {
		var v []float32
		for _, c := range cols {
			v = append(v, float32(data[row*n+c]))
		}
		return g.fit(v, nil, o.Clip)
	}
	for row := range static {
		for from := 0; from < n; from += size {
			var cols []int
			for c := from; c < min(from+size, n); c++ {
				cols = append(cols, c)
			}
			static[row] = append(static[row], fit(row, cols))
		}
	}
	for i, col := range order {
		for row := range w.Rows {
			if o.StaticGroups {
				of[row] = static[row][col/size]
			} else if i%size == 0 {
				of[row] = fit(row, order[i:min(i+size, n)])
			}
			v := float32(data[row*n+col])
			q := g.value(g.code(v, of[row]), of[row])
			out.Data[row*n+col] = q
			e := (data[row*n+col] - float64(q)) / inverse[col][col]
			for _, c := range order[i+1:] {
				data[row*n+c] -= e * inverse[col][c]
			}
		}
		for _, a := range order[i+1:] {
			f := inverse[a][col] / inverse[col][col]
			for _, b := range order[i+1:] {
				inverse[a][b] -= f * inverse[col][b]
			}
		}
	}
	return out
}

// inverted is the inverse by Gauss-Jordan elimination.
func inverted(h [][]float64) [][]float64 {
	n := len(h)
	m := make([][]float64, n)
	for i := range m {
		m[i] = append(slices.Clone(h[i]), make([]float64, n)...)
		m[i][n+i] = 1
	}
	for k := range m {
		p := m[k][k]
		for j := range m[k] {
			m[k][j] /= p
		}
		for i := range m {
			if f := m[i][k]; i != k && f != 0 {
				for j := range m[i] {
					m[i][j] -= f * m[k][j]
				}
			}
		}
	}
	for i := range m {
		m[i] = m[i][n:]
	}
	return m
}

var gptqCases = []struct {
	name string
	s    Scheme
	o    GPTQOptions
}{
	{"groups", Scheme{Bits: 4, Group: 32, Symmetric: true, Scale: dtype.Float16}, GPTQOptions{}},
	{"a short last group", Scheme{Bits: 3, Group: 48}, GPTQOptions{}},
	{"groups that are no strips", Scheme{Bits: 4, Group: 20}, GPTQOptions{RTNOptions: RTNOptions{Clip: MSE}}},
	{"large groups", Scheme{Bits: 4, Group: 96, Scale: dtype.Float16}, GPTQOptions{RTNOptions: RTNOptions{Clip: MSE}}},
	{"rows", Scheme{Bits: 4}, GPTQOptions{StaticGroups: true}},
	{"act-order", Scheme{Bits: 4, Group: 32, Symmetric: true}, GPTQOptions{ActOrder: true}},
	{"static groups", Scheme{Bits: 4, Group: 32}, GPTQOptions{StaticGroups: true}},
	{"act-order, static groups", Scheme{Bits: 3, Group: 32}, GPTQOptions{ActOrder: true, StaticGroups: true, Damp: .05}},
	{"NF4", Scheme{Kind: NF4, Group: 64, Symmetric: true}, GPTQOptions{}},
	{"MXFP4", Scheme{Kind: MXFP4, Group: 32, Symmetric: true}, GPTQOptions{}},
}

// GPTQ rounds as the textbook does, but for numbers halfway between levels.
func TestGPTQ(t *testing.T) {
	const cols, rows = 172, 24
	x := correlated(11, 400, cols)
	for i := 20; i < len(x); i += cols {
		x[i] = 0 // a dead input
	}
	w := randomMatrix(12, rows, cols, true)
	alive := w.clone()
	for i := 20; i < len(w.Data); i += cols {
		alive.Data[i] = 0
	}
	for _, c := range gptqCases {
		t.Run(c.name, func(t *testing.T) {
			a := gathered(t, x, cols, nil)
			q, err := GPTQ(context.Background(), w, a, c.s, c.o, nil)
			if err != nil {
				t.Fatal(err)
			}
			checkCodes(t, q.Quantized)
			if q.Dead != 1 {
				t.Errorf("%d inputs are dead, expected 1", q.Dead)
			}
			o := c.o
			if o.Damp == 0 {
				o.Damp = .01
			}
			want, got := textbook(w, x, c.s, o), q.matrix()
			differ := 0
			for i := range got.Data {
				if math.Abs(float64(got.Data[i]-want.Data[i])) > 1e-3 {
					differ++
				}
			}
			if differ > len(got.Data)/50 {
				t.Errorf("%d of %d weights differ from the textbook's", differ, len(got.Data))
			}
			plain, err := RTN(w, c.s, c.o.RTNOptions, nil)
			if err != nil {
				t.Fatal(err)
			}
			e, book, r := outputs(w, got, x), outputs(w, want, x), outputs(w, plain.matrix(), x)
			t.Logf("errors of outputs: %.4g, textbook %.4g, RTN %.4g; %d weights differ", e, book, r, differ)
			if e > 1.03*book || e > .7*r {
				t.Errorf("the outputs' error is %g, the textbook's %g, RTN's %g", e, book, r)
			}
			var mean float64
			for _, v := range a.MeanSquare() {
				mean += float64(v) / cols
			}
			if damped := e + o.Damp*mean*squared(alive, got); math.Abs(q.Loss-damped) > .01*damped {
				t.Errorf("the loss with damping is %g, expected %g", q.Loss, damped)
			}
			sameOnThreads(t, w, x, c.s, c.o, q.Quantized)
		})
	}
}

func sameOnThreads(t *testing.T, w Matrix, x []float32, s Scheme, o GPTQOptions, want *Quantized) {
	t.Helper()
	p := pool.New(3)
	defer p.Close()
	q, err := GPTQ(context.Background(), w, gathered(t, x, w.Cols, p), s, o, p)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(q.Codes, want.Codes) || !slices.Equal(q.Scales, want.Scales) || !slices.Equal(q.Zeros, want.Zeros) || !slices.Equal(q.GroupOf, want.GroupOf) || q.Loss != want.Loss {
		t.Error("three threads give other codes than one")
	}
}

// R·Rᵀ is the damped matrix, for sizes around those of blocks.
func TestCholesky(t *testing.T) {
	for _, n := range []int{1, 2, 63, 64, 65, 130, 300} {
		a := gathered(t, correlated(uint64(n), 2*n, n), n, nil)
		h := make([]float32, n*n)
		var mean float64
		for i := range n {
			for j := range n {
				h[i*n+j] = a.Hessian[min(i, j)*n+max(i, j)]
			}
			mean += float64(h[i*n+i]) / float64(n)
		}
		f, damp, err := factor(context.Background(), slices.Clone(h), n, .01, nil)
		if err != nil || damp != .01 {
			t.Fatalf("damping %g, error %v", damp, err)
		}
		r := func(i, k int) float64 {
			if i == k {
				return f.diagonal[k]
			}
			return float64(f.unit[i*n+k]) * f.diagonal[k]
		}
		for i := range n {
			for j := i; j < n; j++ {
				var sum float64
				for k := j; k < n; k++ {
					sum += r(i, k) * r(j, k)
				}
				want := float64(h[i*n+j])
				if i == j {
					want += .01 * mean
				}
				if math.Abs(sum-want) > 1e-4*math.Sqrt(float64(h[i*n+i])*float64(h[j*n+j])) {
					t.Fatalf("n = %d: [%d,%d] is %g, expected %g", n, i, j, sum, want)
				}
			}
		}
	}
}

// Damping is raised until a matrix is positive definite.
func TestIndefinite(t *testing.T) {
	h := []float32{1, 3, 3, 1}
	_, damp, err := factor(context.Background(), h, 2, .01, nil)
	if err != nil || damp < 2 || damp > 10.1 {
		t.Errorf("damping %g, error %v; expected 10", damp, err)
	}
	if _, _, err := factor(context.Background(), []float32{1, 1e9, 1e9, 1}, 2, .01, nil); err == nil {
		t.Error("no error where no damping helps")
	}
	// one row seen: the Hessian has rank 1
	x := correlated(3, 1, 70)
	if _, err := GPTQ(context.Background(), randomMatrix(1, 3, 70, false), gathered(t, x, 70, nil), Scheme{Bits: 4}, GPTQOptions{}, nil); err != nil {
		t.Error(err)
	}
}

func BenchmarkGPTQ(b *testing.B) {
	const n = 1024
	p := pool.New(2)
	defer p.Close()
	a := gathered(b, correlated(1, n, n), n, p)
	w := randomMatrix(1, n, n, false)
	for b.Loop() {
		if _, err := GPTQ(context.Background(), w, a, Scheme{Bits: 4, Group: 128, Symmetric: true, Scale: dtype.Float16}, GPTQOptions{}, p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRTN(b *testing.B) {
	p := pool.New(2)
	defer p.Close()
	w := randomMatrix(1, 1024, 1024, false)
	for _, clip := range []Clip{MinMax, MSE} {
		b.Run([]string{"range", "error"}[clip], func(b *testing.B) {
			for b.Loop() {
				if _, err := RTN(w, schemes[0], RTNOptions{Clip: clip}, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
