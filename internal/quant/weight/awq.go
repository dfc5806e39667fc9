package weight

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/pool"
)

// Measure gives the error of a layer whose matrices were replaced by these, in
// any unit, smaller is better. It must not keep them.
type Measure func(ctx context.Context, ws []Matrix) (float64, error)

// AWQScales are factors for the inputs of matrices that read the same values:
// weights are multiplied by them, column by column, before they are rounded, and
// inputs divided.
type AWQScales struct {
	Scales []float32
	Ratio  float64 // of the search; -1 if no scales at all were best, and all are 1
	RTN    float64 // the measure without scales
	Best   float64 // and with them
}

// awqSteps is the number of ratios that are tried.
const awqSteps = 20

// AWQ searches the scales that make the error of the outputs smallest (Lin et
// al., arXiv:2306.00978): x̄^r / w̄^(1−r) for r = 0, 1/20, …, 19/20, with the mean
// magnitudes of inputs and of weights relative to their groups. Without a measure
// it is the mean squared error of the products with a's rows.
func AWQ(ctx context.Context, ws []Matrix, a *Activations, s Scheme, measure Measure, p *pool.Pool) (*AWQScales, error) {
	if err := checkAWQ(ws, a, s); err != nil {
		return nil, err
	}
	if measure == nil {
		measure = (&outputError{ws: ws, a: a, pool: p}).measure
	}
	ones := make([]float32, a.Cols)
	for i := range ones {
		ones[i] = 1
	}
	x, m := a.MeanAbs(), relativeMagnitude(ws, s)
	best := &AWQScales{Scales: ones, Ratio: -1}
	rounded := make([]Matrix, len(ws))
	for i, w := range ws {
		rounded[i] = w.clone()
	}
	for step := -1; step < awqSteps; step++ {
		scales, ratio := ones, -1.
		if step >= 0 {
			ratio = float64(step) / awqSteps
			scales = awqScales(x, m, ratio)
		}
		for i, w := range ws {
			roundScaled(rounded[i], w, scales, s, p)
		}
		e, err := measure(ctx, rounded)
		if err != nil {
			return nil, err
		}
		if step < 0 {
			best.RTN, best.Best = e, e
		}
		if e < best.Best {
			best.Scales, best.Ratio, best.Best = scales, ratio, e
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return best, nil
}

func checkAWQ(ws []Matrix, a *Activations, s Scheme) error {
	if len(ws) == 0 || a == nil || a.Count == 0 || len(a.rows) == 0 {
		return errors.New("AWQ needs matrices, and activations with rows")
	}
	for _, w := range ws {
		if err := checkAll(w, s, nil); err != nil {
			return err
		}
		if w.Cols != a.Cols {
			return fmt.Errorf("the activations have %d inputs, the matrix %d", a.Cols, w.Cols)
		}
	}
	return nil
}

// relativeMagnitude is the mean over all rows of each weight's magnitude divided
// by the largest of its group.
func relativeMagnitude(ws []Matrix, s Scheme) []float64 {
	cols, rows := ws[0].Cols, 0
	size := s.size(cols)
	sums := make([]float64, cols)
	for _, w := range ws {
		rows += w.Rows
		for i := range w.Rows {
			line := w.row(i)
			for from := 0; from < cols; from += size {
				group := line[from:min(from+size, cols)]
				lo, hi := span(group)
				if largest := float64(max(-lo, hi)); largest > 0 {
					for j, x := range group {
						sums[from+j] += math.Abs(float64(x)) / largest
					}
				}
			}
		}
	}
	for i := range sums {
		sums[i] /= float64(rows)
	}
	return sums
}

// awqScales are those of a ratio, with 1 in the middle of their range.
func awqScales(x []float32, w []float64, ratio float64) []float32 {
	v := make([]float64, len(x))
	least, most := math.Inf(1), 0.
	for i := range v {
		v[i] = max(math.Pow(float64(x[i]), ratio)/(math.Pow(w[i], 1-ratio)+1e-4), 1e-4)
		least, most = min(least, v[i]), max(most, v[i])
	}
	by := 1 / math.Sqrt(least*most)
	scales := make([]float32, len(v))
	for i := range v {
		scales[i] = float32(v[i] * by)
		if _, ok := finite(scales[i : i+1]); !ok || scales[i] == 0 {
			scales[i] = 1
		}
	}
	return scales
}

// ScaleColumns gives a matrix with its columns multiplied.
func (m Matrix) ScaleColumns(by []float32) Matrix {
	m = m.clone()
	for i := range m.Rows {
		row := m.row(i)
		for j := range row {
			row[j] *= by[j]
		}
	}
	return m
}

// roundScaled makes dst what is left of w when its scaled numbers are rounded.
func roundScaled(dst, w Matrix, scales []float32, s Scheme, p *pool.Pool) {
	g, size := newGrid(s), s.size(w.Cols)
	eachRow(p, w.Rows, 4*w.Cols, func(row int) {
		x, y := w.row(row), dst.row(row)
		for i := range y {
			y[i] = x[i] * scales[i]
		}
		for from := 0; from < len(y); from += size {
			group := y[from:min(from+size, len(y))]
			of := g.fit(group, nil, MinMax)
			for i, v := range group {
				group[i] = g.value(g.code(v, of), of) / scales[from+i]
			}
		}
	})
}

// outputError measures the products with the rows that were kept.
type outputError struct {
	ws   []Matrix
	a    *Activations
	pool *pool.Pool
	diff []float32
	out  []float32
	task gemm.Task
}

func (o *outputError) measure(ctx context.Context, ws []Matrix) (float64, error) {
	x := o.a.Rows()
	var sum float64
	for i, w := range ws {
		m := len(x) / w.Cols
		o.diff, o.out = sized(o.diff, len(w.Data)), sized(o.out, m*w.Rows)
		for j, v := range w.Data {
			o.diff[j] = v - o.ws[i].Data[j]
		}
		t := &o.task
		t.M, t.N, t.K = m, w.Rows, w.Cols
		t.A, t.B = gemm.Matrix{Data: x, Stride: w.Cols}, gemm.Matrix{Data: o.diff, Stride: w.Cols, Trans: true}
		t.C = gemm.Matrix{Data: o.out, Stride: w.Rows}
		if err := t.Run(o.pool); err != nil {
			return 0, err
		}
		for _, v := range o.out {
			sum += float64(float64(v) * float64(v))
		}
	}
	return sum / float64(len(x)/o.a.Cols), ctx.Err()
}

func sized(v []float32, n int) []float32 {
	if cap(v) < n {
		return make([]float32, n)
	}
	return v[:n]
}

// awqClipSteps is how many ranges are tried, each 1/20 narrower.
const awqClipSteps = 10

// AWQClip rounds to nearest, with each group's range narrowed to what makes the
// squared error of the group's part in the output smallest over a's rows. w is
// scaled already, and the rows are divided by scales; nil is no scales.
func AWQClip(ctx context.Context, w Matrix, a *Activations, scales []float32, s Scheme, p *pool.Pool) (*Quantized, error) {
	if err := checkAWQ([]Matrix{w}, a, s); err != nil {
		return nil, err
	}
	q := newQuantized(s, w.Rows, w.Cols)
	clip := &clipping{grid: newGrid(s), w: w, pool: p, least: make([]float64, w.Rows)}
	size := s.size(w.Cols)
	if size > maxGram {
		return nil, fmt.Errorf("clipping by outputs needs groups of at most %d columns, not %d", maxGram, size)
	}
	for n := range q.Groups {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		from, to := n*size, min((n+1)*size, w.Cols)
		gram, err := gramOf(a, scales, from, to, p)
		if err != nil {
			return nil, err
		}
		if err := clip.group(q, from, to, n, gram); err != nil {
			return nil, err
		}
	}
	return q, nil
}

// maxGram bounds the square of a group's products.
const maxGram = 1024

// gramOf is Σ xᵀx of the kept rows' columns [from, to), divided by scales.
func gramOf(a *Activations, scales []float32, from, to int, p *pool.Pool) ([]float32, error) {
	rows, m := a.Rows(), to-from
	n := len(rows) / a.Cols
	x := make([]float32, n*m)
	for i := range n {
		for j := range m {
			v := rows[i*a.Cols+from+j]
			if scales != nil {
				v /= scales[from+j]
			}
			x[i*m+j] = v
		}
	}
	gram := make([]float32, m*m)
	t := gemm.Task{Product: gemm.Product{M: m, N: m, K: n, A: gemm.Matrix{Data: x, Stride: m, Trans: true}, B: gemm.Matrix{Data: x, Stride: m}, C: gemm.Matrix{Data: gram, Stride: m}}}
	return gram, t.Run(p)
}

// clipping chooses ranges by the error dᵀ·gram·d, d the errors of a group's weights.
type clipping struct {
	*grid
	w             Matrix
	pool          *pool.Pool
	least         []float64 // of each row
	errors, moved []float32 // d and d·gram of all rows
	task          gemm.Task
}

// group rounds columns [from, to), which are group n.
func (c *clipping) group(q *Quantized, from, to, n int, gram []float32) error {
	m := to - from
	c.errors, c.moved = sized(c.errors, c.w.Rows*m), sized(c.moved, c.w.Rows*m)
	t := &c.task
	t.M, t.N, t.K = c.w.Rows, m, m
	t.A, t.B, t.C = gemm.Matrix{Data: c.errors, Stride: m}, gemm.Matrix{Data: gram, Stride: m}, gemm.Matrix{Data: c.moved, Stride: m}
	for step := range awqClipSteps {
		by := 1 - float32(step)/20
		eachRow(c.pool, c.w.Rows, 8*m, func(row int) {
			x, d := c.w.row(row)[from:to], c.errors[row*m:][:m]
			of := c.covering(x, by)
			for i, v := range x {
				d[i] = v - c.value(c.code(v, of), of)
			}
		})
		if err := t.Run(c.pool); err != nil {
			return err
		}
		eachRow(c.pool, c.w.Rows, 2*m, func(row int) {
			var e float64
			d := c.errors[row*m:][:m]
			for i, v := range c.moved[row*m:][:m] {
				e += float64(float64(v) * float64(d[i]))
			}
			if step == 0 || e < c.least[row] {
				c.least[row] = e
				q.set(row, n, c.covering(c.w.row(row)[from:to], by))
			}
		})
	}
	eachRow(c.pool, c.w.Rows, 4*m, func(row int) {
		of := q.params(row, n)
		for i, v := range c.w.row(row)[from:to] {
			q.Codes[row*c.w.Cols+from+i] = c.code(v, of)
		}
	})
	return nil
}

// covering is cover of what a group has.
func (g *grid) covering(w []float32, by float32) params {
	lo, hi := span(w)
	return g.cover(lo, hi, by)
}

// OutputError compares the products of two matrices with the rows that were kept:
// the squares of w's outputs, and of v's differences from them, each summed over
// all.
func (a *Activations) OutputError(w, v Matrix, p *pool.Pool) (signal, noise float64, err error) {
	zero := Matrix{w.Rows, w.Cols, make([]float32, len(w.Data))}
	rows := float64(len(a.Rows()) / a.Cols)
	for of, sum := range map[*Matrix]*float64{&zero: &signal, &v: &noise} {
		o := &outputError{ws: []Matrix{w}, a: a, pool: p}
		e, err := o.measure(context.Background(), []Matrix{*of})
		if err != nil {
			return 0, 0, err
		}
		*sum = e * rows
	}
	return signal, noise, nil
}
