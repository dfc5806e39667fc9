package weight

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/format/packed"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/pool"
)

// Matrix is a matrix of weights, [Rows, Cols] = [outputs, inputs], row-major.
type Matrix struct {
	Rows, Cols int
	Data       []float32
}

func (m Matrix) row(i int) []float32 { return m.Data[i*m.Cols:][:m.Cols] }

func (m Matrix) clone() Matrix {
	m.Data = append([]float32(nil), m.Data...)
	return m
}

// check refuses what cannot be quantized.
func (m Matrix) check() error {
	if m.Rows < 1 || m.Cols < 1 || len(m.Data) != m.Rows*m.Cols {
		return fmt.Errorf("a matrix of %d×%d has %d numbers, expected at least one row and column, and their product", m.Rows, m.Cols, len(m.Data))
	}
	if at, ok := finite(m.Data); !ok {
		return fmt.Errorf("row %d, column %d is %v: weights must be finite", at/m.Cols, at%m.Cols, m.Data[at])
	}
	return nil
}

// Quantized is a matrix of few bits.
type Quantized struct {
	Scheme     Scheme
	Rows, Cols int
	Groups     int       // of a row
	Codes      []uint8   // [Rows, Cols]
	Scales     []float32 // [Rows, Groups]; Scheme.Scale holds them exactly
	Zeros      []float32 // [Rows, Groups]; nil if the scheme is symmetric
	// GroupOf is the group of each column, nil if columns are in order: column c
	// is in group c / Group.
	GroupOf []int32
	// Loss is what GPTQ or HQQ left of its objective; of GPTQ, the mean squared error
	// of the outputs, damping included, summed over them.
	Loss float64
}

func newQuantized(s Scheme, rows, cols int) *Quantized {
	q := &Quantized{Scheme: s, Rows: rows, Cols: cols, Groups: s.groups(cols), Codes: make([]uint8, rows*cols)}
	q.Scales = make([]float32, rows*q.Groups)
	if s.Kind == Int && !s.Symmetric {
		q.Zeros = make([]float32, rows*q.Groups)
	}
	return q
}

func (q *Quantized) set(row, group int, p params) {
	q.Scales[row*q.Groups+group] = p.scale
	if q.Zeros != nil {
		q.Zeros[row*q.Groups+group] = p.zero
	}
}

func (q *Quantized) params(row, group int) params {
	p := params{scale: q.Scales[row*q.Groups+group], zero: q.Scheme.middle()}
	if q.Zeros != nil {
		p.zero = q.Zeros[row*q.Groups+group]
	}
	return p
}

// Group is the group of a column.
func (q *Quantized) Group(col int) int {
	if q.GroupOf != nil {
		return int(q.GroupOf[col])
	}
	return col / q.Scheme.size(q.Cols)
}

// Dequantize writes the numbers that the codes stand for to dst, [Rows, Cols].
func (q *Quantized) Dequantize(dst []float32, p *pool.Pool) {
	g := newGrid(q.Scheme)
	eachRow(p, q.Rows, q.Cols, func(row int) {
		out, codes := dst[row*q.Cols:][:q.Cols], q.Codes[row*q.Cols:][:q.Cols]
		last, of := -1, params{}
		for i, c := range codes {
			if n := q.Group(i); n != last {
				last, of = n, q.params(row, n)
			}
			out[i] = g.value(c, of)
		}
	})
}

// Bytes is what codes, scales and zero points take when they are packed.
func (q *Quantized) Bytes() int64 {
	return int64(q.Scheme.BitsPerWeight(q.Cols) * float64(q.Rows) * float64(q.Cols) / 8)
}

// rowTask does something with every row, in chunks.
type rowTask struct {
	rows, parts int
	do          func(row int)
}

func (t *rowTask) Do(i int) {
	lo, hi := split.Range(t.rows, t.parts, i)
	for row := lo; row < hi; row++ {
		t.do(row)
	}
}

// eachRow calls do for every row, on the pool's threads; work is what a row costs.
func eachRow(p *pool.Pool, rows, work int, do func(row int)) {
	const grain = 1 << 14
	t := &rowTask{rows, split.Parts(rows, max(1, grain/max(work, 1))), do}
	p.Run(t.parts, t)
}

// Packed is the matrix as files of language models hold it. Zero points that are
// no whole numbers, and the kinds NF4 and MXFP4, have no such layout.
func (q *Quantized) Packed() (*packed.Matrix, error) {
	s := q.Scheme
	m := &packed.Matrix{Rows: q.Rows, Cols: q.Cols, Bits: s.Width(), Group: s.size(q.Cols), Codes: q.Codes, Scales: q.Scales, GroupOf: q.GroupOf}
	switch {
	case s.Kind == E4M3:
		m.Float = dtype.Float8E4M3FN
	case s.Kind == E5M2:
		m.Float = dtype.Float8E5M2
	case s.Kind != Int || s.FloatZero:
		return nil, fmt.Errorf("%v has no layout in GPTQ, AWQ or compressed-tensors files: expected integers with whole zero points, or 8-bit floats", s)
	}
	if q.Zeros != nil {
		m.Zeros = make([]uint8, len(q.Zeros))
		for i, z := range q.Zeros {
			m.Zeros[i] = uint8(z)
		}
	}
	return m, nil
}
