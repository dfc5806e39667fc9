package recover

import (
	"context"
	"errors"
	"math"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/quant/samples"
	"github.com/salver-ml/salver/internal/quant/weight"
)

// The relaxation of AdaRound: h(v) = clamp(σ(v)·(ζ-γ) + γ, 0, 1).
const (
	stretchZeta  = 1.1
	stretchGamma = -0.1
	// warmup is the part of the iterations without the regulariser, whose exponent
	// then falls from betaFirst to betaLast.
	warmup    = .2
	betaFirst = 20
	betaLast  = 2
	// regular is the weight of the regulariser against the error relative to rounding
	// to nearest, summed over the weights of an output.
	regular = 1.
	// rate of Adam. The paper's is .01 for 10,000 iterations.
	rate = .05
	// damping is what is added to H's diagonal, in parts of its mean, for each column that
	// there is for a row seen: few rows say little of inputs that they hardly have.
	damping = .2
	// sweeps over single weights at the end.
	sweeps = 4
)

// AdaRound chooses for each weight whether it is rounded up or down to int8, so that
// what a layer computes on samples changes least: E = Δ·H·Δᵀ for each output, Δ being
// the change of its weights and H = E[xxᵀ] (equation 20 of arXiv 2004.10568). The choice
// is relaxed to a number h in [0, 1] for each weight, found by so many iterations of
// Adam with a regulariser 1 - |2h-1|^β that drives h to either end, and then improved by
// changing single weights as long as that lowers E. An output for which rounding to the nearest is better
// keeps that. Weights become what they are rounded to, with one scale for each
// output channel as ptq chooses it. It gives by what factor E fell in each layer.
func AdaRound(ctx context.Context, g *ir.Graph, set samples.Set, iterations int, p *pool.Pool, told func(done, all int)) (gains map[string]float64, err error) {
	gains = map[string]float64{}
	list := layers(g)
	err = gather(ctx, g, list, set, weight.WantHessian, p, nil, func(l *layer, s *seen) error {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		t := &choosing{w: l.matrix(), seen: s, iterations: iterations, results: make([]chosen, l.groups)}
		if l.groups == 1 {
			t.pool = p
			t.Do(0)
		} else {
			p.Run(l.groups, t)
		}
		var sum chosen
		for _, c := range t.results {
			sum.before, sum.after, sum.err = sum.before+c.before, sum.after+c.after, errors.Join(sum.err, c.err)
		}
		if sum.err != nil {
			return sum.err
		}
		if sum.before > 0 {
			gains[l.n.Name] = sum.before / max(sum.after, 1e-30)
		}
		l.setMatrix(t.w)
		if told != nil {
			told(len(gains), len(list))
		}
		return nil
	})
	return gains, err
}

// choosing is AdaRound for one layer; a group of a convolution is a task.
type choosing struct {
	w          []float32
	seen       *seen
	iterations int
	pool       *pool.Pool // within a group
	results    []chosen
}

// chosen is E of a group before and after.
type chosen struct {
	before, after float64
	err           error
}

// Do rounds the weights of a group.
func (t *choosing) Do(i int) {
	each := len(t.w) / len(t.results)
	r, c := newRounding(t.w[i*each:][:each], t.seen.groups[i]), &t.results[i]
	if c.err = r.optimize(t.iterations, t.pool); c.err == nil {
		c.before, c.after, c.err = r.finish(t.pool)
	}
}

// rounding is the choice for the outputs of one group.
type rounding struct {
	w      []float32 // [rows, cols]
	cols   int
	scale  []float32 // of each row
	floor  []float32 // the lower integer; the upper is one more
	v      []float32 // the relaxed choice
	fixed  []bool    // on the grid already, or at its end
	h      []float32 // [cols, cols], mean of xᵀx
	m1, m2 []float32 // Adam's moments
}

func newRounding(w []float32, a *weight.Activations) *rounding {
	n := a.Cols
	r := &rounding{w: w, cols: n, scale: make([]float32, len(w)/n), floor: make([]float32, len(w)), v: make([]float32, len(w)), fixed: make([]bool, len(w)),
		h: make([]float32, n*n), m1: make([]float32, len(w)), m2: make([]float32, len(w))}
	for i := range n {
		for j := i; j < n; j++ {
			x := a.Hessian[i*n+j] / float32(max(a.Count, 1))
			r.h[i*n+j], r.h[j*n+i] = x, x
		}
	}
	r.damp(float32(damping * float64(n) / float64(max(a.Count, 1))))
	for i, x := range w {
		if i%n == 0 {
			r.scale[i/n] = rowScale(w[i:][:n])
		}
		q := float64(x / r.scale[i/n])
		low := math.Floor(q)
		if nearest := math.RoundToEven(q); math.Abs(q-nearest) < 1e-3 || low >= 127 {
			low, r.fixed[i] = nearest, true
		}
		low = min(max(low, -127), 127)
		r.floor[i] = float32(low)
		// σ(v)·1.2 - .1 = q - floor
		share := min(max((q-low-stretchGamma)/(stretchZeta-stretchGamma), 1e-3), 1-1e-3)
		r.v[i] = float32(math.Log(share / (1 - share)))
	}
	return r
}

func (r *rounding) damp(share float32) {
	mean := float32(0)
	for i := range r.cols {
		mean += r.h[i*r.cols+i] / float32(r.cols)
	}
	for i := range r.cols {
		r.h[i*r.cols+i] += float32(share * mean)
	}
}

// errors gives Δ·H, and from that E for each row.
func (r *rounding) errors(delta []float32, p *pool.Pool) (gradient []float32, err error) {
	gradient = make([]float32, len(delta))
	n := r.cols
	t := gemm.Task{Product: gemm.Product{M: len(delta) / n, N: n, K: n, A: gemm.Matrix{Data: delta, Stride: n}, B: gemm.Matrix{Data: r.h, Stride: n}, C: gemm.Matrix{Data: gradient, Stride: n}}}
	return gradient, t.Run(p)
}

func rowErrors(delta, gradient []float32, cols int) []float64 {
	e := make([]float64, len(delta)/cols)
	for i, d := range delta {
		e[i/cols] += float64(d) * float64(gradient[i])
	}
	return e
}

// delta is the change of weights with a choice for each.
func (r *rounding) delta(choice func(i int) float32) []float32 {
	d := make([]float32, len(r.w))
	for i, w := range r.w {
		up := float32(0)
		if !r.fixed[i] {
			up = choice(i)
		}
		d[i] = float32((r.floor[i]+up)*r.scale[i/r.cols]) - w
	}
	return d
}

func (r *rounding) nearest(i int) float32 {
	return float32(min(max(math.RoundToEven(float64(r.w[i]/r.scale[i/r.cols])), -127), 127)) - r.floor[i]
}

// optimize moves the relaxed choices by Adam.
func (r *rounding) optimize(iterations int, p *pool.Pool) error {
	base := r.delta(r.nearest)
	g, err := r.errors(base, p)
	if err != nil {
		return err
	}
	d := &descent{rounding: r, norm: rowErrors(base, g, r.cols), gradient: make([]float32, len(r.w)), delta: base, h: make([]float32, len(r.w)), slope: make([]float32, len(r.w))}
	rows := len(r.w) / r.cols
	for d.at = range iterations {
		d.prepare(iterations)
		p.Run(rows, d)
		if d.gradient, err = r.errors(d.delta, p); err != nil {
			return err
		}
	}
	return nil
}

// descent is Adam on the choices of all rows; a row is a task.
type descent struct {
	*rounding
	norm                             []float64 // E of each row, rounded to nearest
	gradient, delta                  []float32
	h, slope                         []float32 // of the relaxed choices
	at                               int       // iteration
	power                            int       // β - 1, rounded; 0: no regulariser
	correctFirst, correctSecond, reg float64
}

func (d *descent) prepare(iterations int) {
	d.power = 0
	if at := float64(d.at) / float64(iterations); at >= warmup {
		beta := betaLast + .5*(betaFirst-betaLast)*(1+math.Cos(math.Pi*(at-warmup)/(1-warmup)))
		d.power = int(math.Round(beta)) - 1
	}
	d.correctFirst, d.correctSecond = 1/(1-math.Pow(.9, float64(d.at))), 1/(1-math.Pow(.999, float64(d.at)))
	d.reg = regular / float64(d.cols) * 2 * float64(d.power+1)
}

// Do moves the choices of a row by what the last gradient says, and gives what they
// make of its weights.
func (d *descent) Do(row int) {
	scale := d.scale[row]
	for i := row * d.cols; i < (row+1)*d.cols; i++ {
		if d.fixed[i] {
			d.delta[i] = float32(d.floor[i]*scale) - d.w[i]
			continue
		}
		if d.at > 0 && d.norm[row] > 0 && d.slope[i] != 0 {
			d.move(i, 2*float64(d.gradient[i])*float64(scale)/d.norm[row])
		}
		s := 1 / (1 + math.Exp(-float64(d.v[i])))
		x := s*(stretchZeta-stretchGamma) + stretchGamma
		d.h[i], d.slope[i] = float32(min(max(x, 0), 1)), 0
		if x > 0 && x < 1 {
			d.slope[i] = float32(s * (1 - s) * (stretchZeta - stretchGamma))
		}
		d.delta[i] = float32((d.floor[i]+d.h[i])*scale) - d.w[i]
	}
}

// move is a step of Adam, with decays .9 and .999.
func (d *descent) move(i int, slope float64) {
	if d.power > 0 {
		x := 2*float64(d.h[i]) - 1
		slope -= d.reg * math.Copysign(power(math.Abs(x), d.power), x)
	}
	slope *= float64(d.slope[i])
	m1, m2 := float64(.9*float64(d.m1[i]))+float64(.1*slope), float64(.999*float64(d.m2[i]))+float64(.001*slope*slope)
	d.m1[i], d.m2[i] = float32(m1), float32(m2)
	d.v[i] -= float32(rate * m1 * d.correctFirst / (math.Sqrt(m2*d.correctSecond) + 1e-12))
}

func power(x float64, n int) float64 {
	y := 1.
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			y *= x
		}
		x *= x
	}
	return y
}

// finish rounds the weights and gives the sum of E with rounding to the nearest, and as it is now.
func (r *rounding) finish(p *pool.Pool) (before, after float64, err error) {
	chosen := func(i int) float32 {
		if r.v[i] > 0 {
			return 1
		}
		return 0
	}
	near, best := r.delta(r.nearest), r.delta(chosen)
	gNear, err := r.errors(near, p)
	if err != nil {
		return 0, 0, err
	}
	gBest, err := r.errors(best, p)
	if err != nil {
		return 0, 0, err
	}
	f := &finishing{rounding: r, near: near, gNear: gNear, best: best, gBest: gBest, before: make([]float64, len(r.scale)), after: make([]float64, len(r.scale))}
	p.Run(len(r.scale), f)
	for i := range r.scale {
		before, after = before+f.before[i], after+f.after[i]
	}
	return before, after, nil
}

// finishing rounds the weights; a row is a task.
type finishing struct {
	*rounding
	near, gNear, best, gBest []float32
	before, after            []float64
}

// Do rounds the weights of a row.
func (f *finishing) Do(i int) {
	n, row := f.cols, i*f.cols
	a, ga, b, gb := f.near[row:][:n], f.gNear[row:][:n], f.best[row:][:n], f.gBest[row:][:n]
	f.before[i] = dot(a, ga)
	if f.before[i] <= dot(b, gb) {
		b, gb = a, ga
	}
	f.improve(row, b, gb)
	f.after[i] = dot(b, gb)
	for j, d := range b {
		q := math.RoundToEven(float64((f.w[row+j] + d) / f.scale[i]))
		f.w[row+j] = float32(q) * f.scale[i]
	}
}

// improve changes single weights of a row between the two integers around them as
// long as that lowers its error.
func (r *rounding) improve(row int, delta, gradient []float32) {
	n := r.cols
	s := r.scale[row/n]
	for range sweeps {
		changed := false
		for j := range n {
			if r.fixed[row+j] {
				continue
			}
			step := s
			if r.w[row+j]+delta[j] > (r.floor[row+j]+.5)*s {
				step = -s
			}
			h := r.h[j*n:][:n]
			if 2*float64(step)*float64(gradient[j])+float64(step)*float64(step)*float64(h[j]) >= 0 {
				continue
			}
			delta[j] += step
			for k, x := range h {
				gradient[k] += float32(step * x)
			}
			changed = true
		}
		if !changed {
			return
		}
	}
}

func dot(a, b []float32) (sum float64) {
	for i, x := range a {
		sum += float64(x) * float64(b[i])
	}
	return sum
}
