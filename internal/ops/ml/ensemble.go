package ml

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
)

// ensemble is a forest with what is done with its votes. Its buffers serve one
// run at a time.
type ensemble struct {
	*forest
	targets, features int
	base              []float64
	how               string // one of aggregations
	row, scores       []float64
	voted             []bool
}

// prepare checks the forest and makes the buffers.
func (e *ensemble) prepare() error {
	if !slices.Contains(aggregations, e.how) {
		return fmt.Errorf("aggregate_function %q is unknown, expected one of %v", e.how, aggregations)
	}
	if e.targets < 1 || e.targets > maxTargets {
		return fmt.Errorf("%d targets, expected 1 to %d", e.targets, maxTargets)
	}
	var err error
	if e.features, err = e.check(e.targets); err != nil {
		return err
	}
	e.scores, e.voted = make([]float64, e.targets), make([]bool, e.targets)
	return nil
}

// each scores every row of x and calls f with its number.
func (e *ensemble) each(x matrix, f func(row int)) error {
	if x.width < e.features {
		return fmt.Errorf("X has %d features, expected at least %d", x.width, e.features)
	}
	for i := range x.rows {
		e.row = x.row(i, e.row)
		e.score(e.row, e.how, e.scores, e.voted)
		f(i)
	}
	return nil
}

// regressor writes the aggregated votes.
type regressor struct {
	ensemble *ensemble
	after    transform
	dt       dtype.Type // of the output; Invalid is that of the input
}

func newRegressor(e *ensemble, post string) (*regressor, error) {
	after, err := postTransform(post)
	if err != nil {
		return nil, err
	}
	if len(e.base) != 0 && len(e.base) != e.targets {
		return nil, fmt.Errorf("%d base values, expected %d", len(e.base), e.targets)
	}
	return &regressor{ensemble: e, after: after}, e.prepare()
}

// Run scores the rows of input 0.
func (r *regressor) Run(c *op.Call) error {
	x, err := newMatrix(c.In[0])
	if err != nil {
		return err
	}
	dt := r.dt
	if dt == dtype.Invalid {
		dt = x.DType
	}
	e := r.ensemble
	y := matrix{c.Output(0, dt, x.rows, e.targets), x.rows, e.targets}
	return e.each(x, func(row int) {
		for k, b := range e.base {
			e.scores[k] += b
		}
		r.after(e.scores)
		y.setRow(row, e.scores)
	})
}

// ref makes a reference implementation of an operator that is prepared from its
// attributes alone, and compile its kernel, which is the same, prepared once.
func ref(prepare func(*ir.Node) (op.Kernel, error)) func(*op.Call) error {
	return func(c *op.Call) error {
		k, err := prepare(c.Node)
		if err != nil {
			return err
		}
		return k.Run(c)
	}
}

func compile(prepare func(*ir.Node) (op.Kernel, error)) func(*op.Prep) (op.Kernel, error) {
	return func(p *op.Prep) (op.Kernel, error) { return prepare(p.Node) }
}
