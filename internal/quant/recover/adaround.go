package recover

import (
	"context"
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
	err = gather(ctx, g, list, set, weight.WantHessian, p, func(l *layer, s *seen) error {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		w := l.matrix()
		each := len(w) / l.groups
		before, after := 0., 0.
		for i, a := range s.groups {
			r := newRounding(w[i*each:][:each], a)
			if err := r.optimize(iterations, p); err != nil {
				return err
			}
			b, c, err := r.finish(p)
			if err != nil {
				return err
			}
			before, after = before+b, after+c
		}
		if before > 0 {
			gains[l.n.Name] = before / max(after, 1e-30)
		}
		l.setMatrix(w)
		if told != nil {
			told(len(gains), len(list))
		}
		return nil
	})
	return gains, err
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

// relaxed gives h(v), and its derivative.
func relaxed(v float32) (h, slope float32) {
	s := 1 / (1 + math.Exp(-float64(v)))
	x := s*(stretchZeta-stretchGamma) + stretchGamma
	if x <= 0 || x >= 1 {
		return float32(min(max(x, 0), 1)), 0
	}
	return float32(x), float32(s * (1 - s) * (stretchZeta - stretchGamma))
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
		d[i] = (r.floor[i]+up)*r.scale[i/r.cols] - w
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
	norm := rowErrors(base, g, r.cols)
	slopes := make([]float32, len(r.w))
	for it := range iterations {
		d := r.delta(func(i int) float32 {
			var h float32
			h, slopes[i] = relaxed(r.v[i])
			return h
		})
		if g, err = r.errors(d, p); err != nil {
			return err
		}
		r.step(it, iterations, norm, slopes, g)
	}
	return nil
}

// step is one of Adam's, with decay .9 and .999.
func (r *rounding) step(it, iterations int, norm []float64, slopes, gradient []float32) {
	beta := 0.
	if at := float64(it) / float64(iterations); at >= warmup {
		beta = betaLast + .5*(betaFirst-betaLast)*(1+math.Cos(math.Pi*(at-warmup)/(1-warmup)))
	}
	correct1, correct2 := 1-math.Pow(.9, float64(it+1)), 1-math.Pow(.999, float64(it+1))
	for i := range r.v {
		row := i / r.cols
		if r.fixed[i] || norm[row] <= 0 || slopes[i] == 0 {
			continue
		}
		d := 2 * float64(gradient[i]) * float64(r.scale[row]) / norm[row]
		if beta > 0 {
			h, _ := relaxed(r.v[i])
			x := 2*float64(h) - 1
			d -= regular / float64(r.cols) * 2 * beta * math.Copysign(math.Pow(math.Abs(x), beta-1), x)
		}
		d *= float64(slopes[i])
		m1 := .9*float64(r.m1[i]) + .1*d
		m2 := .999*float64(r.m2[i]) + .001*d*d
		r.m1[i], r.m2[i] = float32(m1), float32(m2)
		r.v[i] -= float32(rate * m1 / correct1 / (math.Sqrt(m2/correct2) + 1e-12))
	}
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
	n := r.cols
	for row := 0; row < len(r.w); row += n {
		a, ga, b, gb := near[row:][:n], gNear[row:][:n], best[row:][:n], gBest[row:][:n]
		least := dot(a, ga)
		before += least
		if least <= dot(b, gb) {
			b, gb = a, ga
		}
		r.improve(row, b, gb)
		after += dot(b, gb)
		for j, d := range b {
			q := math.RoundToEven(float64((r.w[row+j] + d) / r.scale[row/n]))
			r.w[row+j] = float32(q) * r.scale[row/n]
		}
	}
	return before, after, nil
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
