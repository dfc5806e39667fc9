package weight

import (
	"fmt"

	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/pool"
)

// Want is what Activations gathers, a sum of flags.
type Want uint8

// The flags. Means are always gathered.
const (
	WantHessian Want = 1 << iota // for GPTQ: Cols² numbers
	WantRows                     // for AWQ: a few rows as they are
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
	tasks       []gemm.Task
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
	for i := 0; i < len(x); i += a.Cols {
		row := x[i:][:a.Cols]
		for j, v := range row {
			f := float64(v)
			a.square[j] += float64(f * f)
			if f < 0 {
				f = -f
			}
			a.abs[j] += f
		}
		if a.want&WantRows != 0 {
			a.keep(row)
		}
		a.Count++
	}
	return a.addHessian(x, p)
}

// keep keeps rows at equal distances: when there are twice too many, every second
// one is dropped and the distance doubles.
func (a *Activations) keep(row []float32) {
	if a.Count%a.stride != 0 {
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
// panels of hessianCols columns, of which those left of the diagonal are left out.
const (
	hessianRows = 1024
	hessianCols = 256
)

func (a *Activations) addHessian(x []float32, p *pool.Pool) error {
	if a.Hessian == nil {
		return nil
	}
	n := a.Cols
	panels := (n + hessianCols - 1) / hessianCols
	if a.tasks == nil {
		a.tasks = make([]gemm.Task, panels)
	}
	for ; len(x) > 0; x = x[min(len(x), hessianRows*n):] {
		rows := min(len(x)/n, hessianRows)
		for i := range panels {
			from := i * hessianCols
			m := min(hessianCols, n-from)
			c := a.Hessian[from*n+from:]
			t := &a.tasks[i]
			t.M, t.N, t.K = m, n-from, rows
			t.A = gemm.Matrix{Data: x[from:], Stride: n, Trans: true}
			t.B = gemm.Matrix{Data: x[from:], Stride: n}
			t.C = gemm.Matrix{Data: c, Stride: n}
			t.Residual = gemm.Matrix{Data: c, Stride: n}
			if err := t.Run(p); err != nil {
				return err
			}
		}
	}
	return nil
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
