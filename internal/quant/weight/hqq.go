package weight

import (
	"context"
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/pool"
)

// The constants of half-quadratic quantization, as its authors use them.
const (
	hqqNorm  = 0.7
	hqqBeta  = 10
	hqqKappa = 1.01
	hqqSteps = 20
)

// HQQ moves zero points so that the sum of |w − ŵ|^0.7 becomes small, which large
// errors of a few weights do not dominate (Badri and Shaji, half-quadratic
// quantization, 2023). It takes turns: the part e of the errors that the norm
// tolerates, by the norm's proximal operator, and the mean zero point that suits
// w − e. Nothing but the weights is needed. Zero points are rounded if the scheme
// asks for it; a group for which the sum does not fall keeps those of its range.
// Quantized.Loss is the sum.
func HQQ(ctx context.Context, w Matrix, s Scheme, p *pool.Pool) (*Quantized, error) {
	if err := checkAll(w, s, nil); err != nil {
		return nil, err
	}
	if s.Kind != Int || s.Symmetric {
		return nil, fmt.Errorf("HQQ chooses zero points, which %v does not have: expected integers that are not symmetric", s)
	}
	q, g := newQuantized(s, w.Rows, w.Cols), newGrid(s)
	size := s.size(w.Cols)
	losses := make([]float64, w.Rows)
	eachRow(p, w.Rows, 64*hqqSteps*w.Cols, func(row int) {
		if ctx.Err() != nil {
			return
		}
		x, codes := w.row(row), q.Codes[row*w.Cols:]
		for n := range q.Groups {
			from, to := n*size, min((n+1)*size, w.Cols)
			of, loss := g.halfQuadratic(x[from:to])
			losses[row] += loss
			q.set(row, n, of)
			for i := from; i < to; i++ {
				codes[i] = g.code(x[i], of)
			}
		}
	})
	for _, l := range losses {
		q.Loss += l
	}
	return q, ctx.Err()
}

// halfQuadratic gives the best parameters of a group, and what they leave. As in
// the authors' program the turns end when the mean error no longer falls.
func (g *grid) halfQuadratic(w []float32) (best params, least float64) {
	start := g.fit(w, nil, MinMax)
	best = start
	if start.scale == 0 {
		return start, g.normOf(w, start)
	}
	of, beta := start, float64(hqqBeta)
	mean := g.meanOf(w, start)
	for range hqqSteps {
		of.zero = g.turn(w, of, beta)
		beta *= hqqKappa
		tried := of
		if g.FloatZero {
			tried.zero = g.stored(tried.zero)
		} else {
			tried.zero = min(max(float32(math.RoundToEven(float64(of.zero))), 0), g.largest())
		}
		e := g.meanOf(w, tried)
		if e > mean || tried == best {
			break
		}
		best, mean = tried, e
	}
	least = g.normOf(w, best)
	if l := g.normOf(w, start); l < least {
		return start, l
	}
	return best, least
}

// turn is one turn: the mean zero point that suits w less the errors that the
// norm tolerates.
func (g *grid) turn(w []float32, of params, beta float64) float32 {
	least := math.Pow(1/beta, 1/(2-hqqNorm)) // smaller errors are not tolerated at all
	inv := 1 / float64(of.scale)
	var sum float64
	for _, x := range w {
		c := g.code(x, of)
		v := float64(x)
		if e := v - float64(g.value(c, of)); e > least || -e > least {
			v -= proximal(e, beta)
		}
		sum += float64(c) - float64(v*inv)
	}
	return float32(sum / float64(len(w)))
}

// proximal shrinks an error: what is left is the part that the norm tolerates.
func proximal(e, beta float64) float64 {
	m := math.Abs(e)
	if m == 0 {
		return 0
	}
	return math.Copysign(max(m-math.Pow(m, hqqNorm-1)/beta, 0), e)
}

// meanOf is Σ |w − ŵ|.
func (g *grid) meanOf(w []float32, of params) (sum float64) {
	for _, x := range w {
		sum += math.Abs(float64(x - g.value(g.code(x, of), of)))
	}
	return sum
}

// normOf is Σ |w − ŵ|^0.7.
func (g *grid) normOf(w []float32, of params) (sum float64) {
	for _, x := range w {
		sum += math.Pow(math.Abs(float64(x)-float64(g.value(g.code(x, of), of))), hqqNorm)
	}
	return sum
}
