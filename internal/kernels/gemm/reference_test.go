package gemm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/mmap/guard"
	"github.com/salver-ml/salver/internal/pool"
)

// A problem is a Task in the making, with integers small enough that every
// order of summation is exact, in memory that ends or starts at a guard page.
type problem struct {
	t    testing.TB
	rng  *rand.Rand
	side guard.Side
	task Task
	want []float32 // all of C, with what lies between its rows
}

func (p *problem) matrix(rows, cols int, steps []int) Matrix {
	m := Matrix{Stride: cols + p.rng.IntN(3)*p.rng.IntN(20), Steps: steps}
	if steps != nil {
		size := rows*m.Stride + p.rng.IntN(5)
		p.fillSteps(m.Steps, size)
	}
	last, err := tiling.Batch(p.task.Batch).Last(m.Steps)
	if err != nil {
		p.t.Fatal(err)
	}
	m.Data = p.slice(last + max(rows-1, 0)*m.Stride + cols)
	return m
}

// fillSteps makes a dense batch of matrices of a size; some dimensions share.
func (p *problem) fillSteps(steps []int, size int) {
	for i := len(steps) - 1; i >= 0; i-- {
		steps[i] = size
		size *= p.task.Batch[i]
	}
}

func (p *problem) slice(n int) []float32 {
	s := guard.Slice[float32](p.t, n, p.side)
	for i := range s {
		s[i] = float32(p.rng.IntN(9) - 4)
	}
	return s
}

func (p *problem) steps() []int {
	if len(p.task.Batch) == 0 {
		return nil
	}
	return make([]int, len(p.task.Batch))
}

// newProblem makes a random product of the given sizes.
func newProblem(t testing.TB, rng *rand.Rand, m, n, k int, batch []int) *problem {
	p := &problem{t: t, rng: rng, side: guard.Side(rng.IntN(2)), task: Task{Product: Product{M: m, N: n, K: k, Batch: batch}}}
	x := &p.task
	x.A = p.transposable(m, k)
	x.B = p.transposable(k, n)
	x.C = p.matrix(m, n, p.steps())
	p.epilogue()
	p.want = slices.Clone(x.C.Data)
	p.reference()
	return p
}

func (p *problem) transposable(rows, cols int) Matrix {
	trans := p.rng.IntN(2) == 1
	if trans {
		rows, cols = cols, rows
	}
	steps := p.steps()
	if p.rng.IntN(4) == 0 {
		steps = nil
	}
	m := p.matrix(rows, cols, steps)
	m.Trans = trans
	return m
}

func (p *problem) epilogue() {
	x, rng := &p.task, p.rng
	e := &x.Epilogue
	if rng.IntN(2) == 0 {
		return
	}
	e.Alpha = [...]float32{0, 1, 0.5, -2}[rng.IntN(4)]
	if rng.IntN(2) == 0 {
		e.ColBias.Data = p.slice(x.N)
	}
	if rng.IntN(2) == 0 {
		e.RowBias.Data = p.slice(x.M)
	}
	switch rng.IntN(3) {
	case 0:
		e.Residual = p.matrix(x.M, x.N, p.steps())
	case 1:
		e.Residual = x.C
	}
	e.Beta = [...]float32{0, 1, 3}[rng.IntN(3)]
	e.Act = Activation(rng.IntN(4))
	e.Lo, e.Hi, e.Slope = -3, 20, 0.25
	if rng.IntN(3) == 0 {
		e.Post = func(x []float32) {
			for i := range x {
				x[i]++
			}
		}
	}
}

func (m *Matrix) at(off, i, j int) float64 {
	if m.Trans {
		i, j = j, i
	}
	return float64(m.Data[off+i*m.Stride+j])
}

// reference computes want in float64.
func (p *problem) reference() {
	x := &p.task
	for item := range x.items() {
		a, b := x.offset(item, x.A.Steps), x.offset(item, x.B.Steps)
		c, r := x.offset(item, x.C.Steps), x.offset(item, x.Residual.Steps)
		for i := range x.M {
			for j := range x.N {
				s := 0.0
				for k := range x.K {
					s += x.A.at(a, i, k) * x.B.at(b, k, j)
				}
				res := 0.0
				if x.Residual.Data != nil {
					res = x.Residual.at(r, i, j)
				}
				p.want[c+i*x.C.Stride+j] = float32(p.finish(s, i, j, res))
			}
		}
	}
}

func (p *problem) finish(s float64, i, j int, res float64) float64 {
	e := &p.task.Epilogue
	s *= float64(one(e.Alpha))
	if e.ColBias.Data != nil {
		s += float64(e.ColBias.Data[j])
	}
	if e.RowBias.Data != nil {
		s += float64(e.RowBias.Data[i])
	}
	s += res * float64(one(e.Beta))
	switch e.Act {
	case ReLU:
		s = max(s, 0)
	case Clip:
		s = min(max(s, float64(e.Lo)), float64(e.Hi))
	case LeakyReLU:
		if s < 0 {
			s *= float64(e.Slope)
		}
	}
	if e.Post != nil {
		s++
	}
	return s
}

// pack replaces B by its packed form, where items are evenly apart.
func (p *problem) pack() {
	x := &p.task
	items, step := 1, 0
	if x.B.Steps != nil && len(x.Batch) > 0 {
		items, step = x.items(), x.B.Steps[len(x.B.Steps)-1]
	}
	dst := guard.Slice[float32](p.t, PackedSize(x.K, x.N, items), p.side)
	for i := range dst {
		dst[i] = float32(math.NaN())
	}
	packed, err := PackB(dst, x.B, x.K, x.N, items, step)
	if err != nil {
		p.t.Fatal(err)
	}
	x.Packed = packed
	if p.rng.IntN(2) == 0 {
		if x.Packed, err = Prepacked(dst, x.K, x.N, items); err != nil {
			p.t.Fatal(err)
		}
	}
	x.B = Matrix{Steps: x.B.Steps}
	if items > 1 {
		x.B.Steps = make([]int, len(x.Batch))
		p.fillSteps(x.B.Steps, 1)
	}
}

func (p *problem) check(threads *pool.Pool) {
	p.t.Helper()
	x := &p.task
	x.Scratch = guard.Slice[float32](p.t, x.ScratchSize(threads.Threads()), p.side)
	if err := x.Run(threads); err != nil {
		p.t.Fatal(err)
	}
	if x.own != nil {
		p.t.Errorf("%v: ScratchSize was not enough", p)
	}
	for i, want := range p.want {
		if got := x.C.Data[i]; got != want {
			p.t.Fatalf("%v: C[%d] = %v, want %v", p, i, got, want)
		}
	}
}

func (p *problem) String() string {
	x := &p.task
	return fmt.Sprintf("M=%d N=%d K=%d batch %v, A trans %v, B trans %v, packed %v, epilogue %+v",
		x.M, x.N, x.K, x.Batch, x.A.Trans, x.B.Trans, x.Packed != nil, p.brief())
}

func (p *problem) brief() string {
	e := &p.task.Epilogue
	return fmt.Sprintf("alpha %v col %v row %v residual %v beta %v act %v post %v", e.Alpha, e.ColBias.Data != nil,
		e.RowBias.Data != nil, e.Residual.Data != nil, e.Beta, e.Act, e.Post != nil)
}
