package weight

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/kernels/bgemm"
	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/pool"
)

// Want is what Activations gathers, a sum of flags.
type Want uint8

// The flags. Means are always gathered.
const (
	WantHessian Want = 1 << iota // for GPTQ: Cols² numbers
	WantRows                     // for AWQ: a few rows as they are
	WantBF16                     // the Hessian is that of inputs rounded to bfloat16, for CPUs with AMX
)

// keptRows is how many rows are kept as they are.
const keptRows = 512

// Activations gathers what a layer reads, row by row, in memory that does not
// grow with their number.
type Activations struct {
	Cols  int
	Count int // rows seen
	// Hessian is Σ xᵀx, of which [i, j] with j ≥ i is filled; nil if unwanted. GPTQ's
	// H is it times 2/Count.
	Hessian []float32

	abs, square []float64 // sums by column
	rows        []float32 // kept: those whose number is a multiple of stride
	stride      int
	want        Want
	panels      []panel
}

// NewActivations is for a layer with so many inputs.
func NewActivations(cols int, want Want) *Activations {
	a := &Activations{Cols: cols, want: want, stride: 1, abs: make([]float64, cols), square: make([]float64, cols)}
	if want&WantHessian != 0 {
		a.Hessian = make([]float32, cols*cols)
	}
	return a
}

// Bytes is the memory that an Activations of so many inputs takes.
func (w Want) Bytes(cols int) int64 {
	n := 16 * int64(cols)
	if w&WantHessian != 0 {
		n += 4 * int64(cols) * int64(cols)
	}
	if w&WantRows != 0 {
		n += 4 * 2 * keptRows * int64(cols)
	}
	return n
}

// Add takes in rows of x, [n, Cols]. It refuses NaN and infinities, and then has
// taken in nothing. How rows are dealt out to calls changes sums in their last
// bits.
func (a *Activations) Add(x []float32, p *pool.Pool) error {
	if a.Cols < 1 || len(x)%a.Cols != 0 {
		return fmt.Errorf("%d numbers are no rows of %d", len(x), a.Cols)
	}
	if at, ok := finite(x); !ok {
		return fmt.Errorf("input %d of row %d is %v: calibration needs finite numbers", at%a.Cols, a.Count+at/a.Cols, x[at])
	}
	rows := len(x) / a.Cols
	p.Run((a.Cols+sumCols-1)/sumCols, &sumTask{a, x})
	if a.want&WantRows != 0 {
		for i := range rows {
			a.keep(a.Count+i, x[i*a.Cols:][:a.Cols])
		}
	}
	a.Count += rows
	return a.addHessian(x, p)
}

// sumCols is how many columns a thread adds up at a time.
const sumCols = 256

// sumTask adds rows to the sums by column.
type sumTask struct {
	*Activations
	x []float32
}

// Do adds up some columns, row by row.
func (t *sumTask) Do(i int) {
	from := i * sumCols
	to := min(from+sumCols, t.Cols)
	abs, square := t.abs[from:to], t.square[from:to]
	for x := t.x; len(x) > 0; x = x[t.Cols:] {
		for j, v := range x[from:to] {
			f := float64(v)
			square[j] += float64(f * f)
			abs[j] += math.Abs(f)
		}
	}
}

// keep keeps rows at equal distances: when there are twice too many, every second
// one is dropped and the distance doubles.
func (a *Activations) keep(number int, row []float32) {
	if number%a.stride != 0 {
		return
	}
	a.rows = append(a.rows, row...)
	if len(a.rows) < 2*keptRows*a.Cols {
		return
	}
	for i := 0; i < keptRows; i++ {
		copy(a.rows[i*a.Cols:][:a.Cols], a.rows[2*i*a.Cols:][:a.Cols])
	}
	a.rows = a.rows[:keptRows*a.Cols]
	a.stride *= 2
}

// The sums over rows are cut into chains of hessianRows products, so that their
// rounding errors do not grow with the number of rows; the Hessian is computed in
// panels of columns, of which those left of the diagonal are left out. Panels are
// wider in bfloat16, where rounding x for each of them takes longer than what is
// computed below the diagonal.
const (
	hessianRows     = 2048
	hessianCols     = 256
	hessianColsBF16 = 1024
)

// panel computes some rows of the Hessian.
type panel struct {
	full gemm.Task
	half bgemm.Task
}

func (a *Activations) addHessian(x []float32, p *pool.Pool) error {
	if a.Hessian == nil {
		return nil
	}
	n, cols, half := a.Cols, hessianCols, a.want&WantBF16 != 0
	if half {
		cols = hessianColsBF16
	}
	if a.panels == nil {
		a.panels = make([]panel, (n+cols-1)/cols)
	}
	for ; len(x) > 0; x = x[min(len(x), hessianRows*n):] {
		rows := min(len(x)/n, hessianRows)
		for i := range a.panels {
			if err := a.panels[i].add(a, x, rows, i*cols, min((i+1)*cols, n), half, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// add adds what some rows of x give to rows [from, to) of the Hessian.
func (t *panel) add(a *Activations, x []float32, rows, from, to int, half bool, p *pool.Pool) error {
	n := a.Cols
	c := gemm.Matrix{Data: a.Hessian[from*n+from:], Stride: n}
	product := gemm.Product{M: to - from, N: n - from, K: rows, C: c, Epilogue: gemm.Epilogue{Residual: c},
		A: gemm.Matrix{Data: x[from:], Stride: n, Trans: true}, B: gemm.Matrix{Data: x[from:], Stride: n}}
	if half {
		t.half.Product = product
		return t.half.Run(p)
	}
	t.full.Product = product
	return t.full.Run(p)
}

// MeanSquare is the mean of x² for each input, an importance for RTN; nil before
// anything was added.
func (a *Activations) MeanSquare() []float32 { return a.mean(a.square) }

// MeanAbs is the mean of |x| for each input.
func (a *Activations) MeanAbs() []float32 { return a.mean(a.abs) }

func (a *Activations) mean(sums []float64) []float32 {
	if a.Count == 0 {
		return nil
	}
	v := make([]float32, a.Cols)
	for i, s := range sums {
		v[i] = float32(s / float64(a.Count))
	}
	return v
}

// Rows are up to 512 of the rows seen, at equal distances; nil if unwanted.
func (a *Activations) Rows() []float32 {
	if len(a.rows) <= keptRows*a.Cols {
		return a.rows
	}
	n := len(a.rows) / a.Cols
	v := make([]float32, 0, keptRows*a.Cols)
	for i := range keptRows {
		v = append(v, a.rows[i*n/keptRows*a.Cols:][:a.Cols]...)
	}
	return v
}
