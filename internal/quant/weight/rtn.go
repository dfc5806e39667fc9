package weight

import (
	"fmt"

	"github.com/salver-ml/salver/internal/pool"
)

// Clip is how the range of a group is chosen.
type Clip uint8

// The ways.
const (
	MinMax Clip = iota // all numbers are covered
	MSE                // the range, at least half of it, with the smallest squared error
)

// RTNOptions are those of rounding to nearest.
type RTNOptions struct {
	Clip Clip
	// Importance weighs the error of each column when ranges are chosen, such as
	// the mean square of the input (Activations.MeanSquare); nil: all alike.
	Importance []float32
}

// RTN rounds every number to the nearest level of its group.
func RTN(w Matrix, s Scheme, o RTNOptions, p *pool.Pool) (*Quantized, error) {
	if err := checkAll(w, s, o.Importance); err != nil {
		return nil, err
	}
	return rtn(w, s, o, p), nil
}

// rtn is RTN of what has been checked.
func rtn(w Matrix, s Scheme, o RTNOptions, p *pool.Pool) *Quantized {
	q, g := newQuantized(s, w.Rows, w.Cols), newGrid(s)
	size := s.size(w.Cols)
	eachRow(p, w.Rows, 16*w.Cols, func(row int) {
		x, codes := w.row(row), q.Codes[row*w.Cols:]
		for n := range q.Groups {
			from, to := n*size, min((n+1)*size, w.Cols)
			of := g.fit(x[from:to], part(o.Importance, from, to), o.Clip)
			q.set(row, n, of)
			for i := from; i < to; i++ {
				codes[i] = g.code(x[i], of)
			}
		}
	})
	return q
}

// part is v[from:to], or nil of nil.
func part(v []float32, from, to int) []float32 {
	if v == nil {
		return nil
	}
	return v[from:to]
}

func checkAll(w Matrix, s Scheme, importance []float32) error {
	if err := s.Check(); err != nil {
		return err
	}
	if err := w.check(); err != nil {
		return err
	}
	if importance == nil {
		return nil
	}
	if len(importance) != w.Cols {
		return fmt.Errorf("there are %d importances for %d columns", len(importance), w.Cols)
	}
	for i, v := range importance {
		if _, ok := finite([]float32{v}); !ok || v < 0 {
			return fmt.Errorf("the importance of column %d is %v, expected a finite number that is not negative", i, v)
		}
	}
	return nil
}
