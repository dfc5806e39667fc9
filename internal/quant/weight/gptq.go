package weight

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/pool"
)

// GPTQOptions are those of GPTQ.
type GPTQOptions struct {
	RTNOptions // ranges of groups; Importance is left to the caller as for RTN
	// Damp is added to the Hessian's diagonal, times its mean; 0 stands for 0.01.
	Damp float64
	// ActOrder quantizes columns with large inputs first. Groups are then made of
	// columns in that order, and Quantized.GroupOf says which, unless StaticGroups
	// makes them of neighbours, with the ranges of the original numbers.
	ActOrder, StaticGroups bool
}

// GPTQResult is what GPTQ did beside the matrix.
type GPTQResult struct {
	*Quantized
	Damp float64 // used: larger than asked for where the Hessian was not positive definite
	Dead int     // inputs that were always zero; their weights are zero now
}

// GPTQ rounds column by column, and lets the columns that follow make good the
// error of the outputs (Frantar et al., arXiv:2210.17323).
//
// With H = R·Rᵀ, R upper triangular, the paper's updates with the Cholesky factor
// of H⁻¹ give each column the target
//
//	t_k = w_k + Σ_{i<k} (w_i − ŵ_i)·R[i,k]/R[k,k]
//
// (LDLQ in Chee et al., arXiv:2307.13304, theorem 6). It needs no inverse, and its
// sum is a product of matrices for blocks of columns. What is left of the
// objective is Σ (t_k − ŵ_k)²·R[k,k]². Ranges of groups are those of the weights as
// the paper's updates have made them by then.
func GPTQ(ctx context.Context, w Matrix, a *Activations, s Scheme, o GPTQOptions, p *pool.Pool) (*GPTQResult, error) {
	if err := checkAll(w, s, o.Importance); err != nil {
		return nil, err
	}
	switch {
	case a == nil || a.Hessian == nil || a.Count == 0:
		return nil, errors.New("GPTQ needs activations with a Hessian, of at least one row")
	case a.Cols != w.Cols:
		return nil, fmt.Errorf("the activations have %d inputs, the matrix %d", a.Cols, w.Cols)
	case !(o.Damp >= 0 && o.Damp <= MaxDamp):
		return nil, fmt.Errorf("damping is %v, expected 0 to %v", o.Damp, MaxDamp)
	}
	g := &gptq{ctx: ctx, w: w.clone(), options: o, pool: p, grid: newGrid(s), out: newQuantized(s, w.Rows, w.Cols)}
	g.order = columnOrder(a, o.ActOrder)
	h, dead := g.hessian(a)
	f, damp, err := factor(ctx, h, w.Cols, cmp.Or(o.Damp, 0.01), p)
	if err != nil {
		return nil, err
	}
	g.factor = f
	if err := g.run(); err != nil {
		return nil, err
	}
	g.out.Loss /= float64(a.Count)
	return &GPTQResult{g.out, damp, dead}, nil
}

// columnOrder is the order in which columns are quantized.
func columnOrder(a *Activations, byInput bool) []int {
	order := make([]int, a.Cols)
	for i := range order {
		order[i] = i
	}
	if byInput {
		slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(a.Hessian[y*a.Cols+y], a.Hessian[x*a.Cols+x]) })
	}
	return order
}

// gptq is one matrix in work. Columns of w and factor are in the order of work.
type gptq struct {
	ctx     context.Context
	w       Matrix // becomes the error w − ŵ, column by column
	order   []int
	options GPTQOptions
	pool    *pool.Pool
	grid    *grid
	out     *Quantized
	factor  *upper
	losses  []float64 // of each row
	target  []float32 // of a block of columns, [Rows, block]
}

// hessian gives the sums in the order of work, both halves, with a diagonal of 1
// for dead inputs, whose weights become zero; and it puts w's columns into order.
func (g *gptq) hessian(a *Activations) (h []float32, dead int) {
	n := a.Cols
	h = make([]float32, n*n)
	eachRow(g.pool, n, n, func(i int) {
		x := g.order[i]
		for j, y := range g.order {
			h[i*n+j] = a.Hessian[min(x, y)*n+max(x, y)]
		}
	})
	zero := make([]bool, n)
	for i := range n {
		if h[i*n+i] == 0 {
			h[i*n+i], zero[i] = 1, true
			dead++
		}
	}
	eachRow(g.pool, g.w.Rows, n, func(row int) {
		line := g.w.row(row)
		old := slices.Clone(line)
		for i, x := range g.order {
			line[i] = old[x]
			if zero[i] {
				line[i] = 0
			}
		}
	})
	return h, dead
}

// gptqBlock is how many columns are worked on before their errors are handed on to
// all that follow, by a product of matrices; gptqStrip how many before they are handed
// on within the block.
const (
	gptqBlock = 128
	gptqStrip = 16
)

func (g *gptq) run() error {
	n, size := g.w.Cols, g.out.Scheme.size(g.w.Cols)
	permuted := !slices.IsSorted(g.order)
	static := g.options.StaticGroups || size >= n
	if static {
		g.fixGroups()
	} else if permuted {
		g.out.GroupOf = make([]int32, n)
		for i, x := range g.order {
			g.out.GroupOf[x] = int32(i / size)
		}
	}
	block := gptqBlock
	if !static {
		block = (gptqBlock + size - 1) / size * size
	}
	block = min(block, n)
	strip := gptqStrip
	if !static && gptqStrip%size != 0 && size%gptqStrip != 0 {
		strip = block // no group begins where others do not know of all errors before it
	}
	g.losses = make([]float64, g.w.Rows)
	g.target = make([]float32, g.w.Rows*block)
	var t gemm.Task
	for from := 0; from < n; from += block {
		if err := g.ctx.Err(); err != nil {
			return err
		}
		to := min(from+block, n)
		if err := g.aim(&t, from, to); err != nil {
			return err
		}
		for at := from; at < to; at += strip {
			end := min(at+strip, to)
			eachRow(g.pool, g.w.Rows, 64*(end-at), func(row int) { g.columns(row, from, to, at, end, static) })
			if err := g.handOn(&t, from, to, at, end); err != nil {
				return err
			}
		}
	}
	for _, l := range g.losses {
		g.out.Loss += l
	}
	return nil
}

// fixGroups gives all groups the parameters that suit the original numbers of
// neighbouring columns.
func (g *gptq) fixGroups() {
	size, n := g.out.Scheme.size(g.w.Cols), g.w.Cols
	place := make([]int, n) // of each column in the order of work
	for i, x := range g.order {
		place[x] = i
	}
	eachRow(g.pool, g.w.Rows, 16*n, func(row int) {
		line, x := g.w.row(row), make([]float32, 0, size)
		for group := range g.out.Groups {
			from, to := group*size, min((group+1)*size, n)
			x = x[:0]
			for _, i := range place[from:to] {
				x = append(x, line[i])
			}
			g.out.set(row, group, g.grid.fit(x, part(g.options.Importance, from, to), g.options.Clip))
		}
	})
}

// aim computes the targets of columns [from, to) by the errors of those before.
func (g *gptq) aim(t *gemm.Task, from, to int) error {
	m := to - from
	eachRow(g.pool, g.w.Rows, m, func(row int) { copy(g.target[row*m:][:m], g.w.row(row)[from:to]) })
	if from == 0 {
		return nil
	}
	t.M, t.N, t.K = g.w.Rows, m, from
	t.A = gemm.Matrix{Data: g.w.Data, Stride: g.w.Cols}
	t.B = gemm.Matrix{Data: g.factor.unit[from:], Stride: g.w.Cols}
	t.C = gemm.Matrix{Data: g.target, Stride: m}
	t.Residual = t.C
	return t.Run(g.pool)
}

// handOn adds to the targets of a block [from, to) the errors of its columns [at, end),
// for the columns that follow.
func (g *gptq) handOn(t *gemm.Task, from, to, at, end int) error {
	if end == to {
		return nil
	}
	t.M, t.N, t.K = g.w.Rows, to-end, end-at
	t.A = gemm.Matrix{Data: g.w.Data[at:], Stride: g.w.Cols}
	t.B = gemm.Matrix{Data: g.factor.unit[at*g.w.Cols+end:], Stride: g.w.Cols}
	t.C = gemm.Matrix{Data: g.target[end-from:], Stride: to - from}
	t.Residual = t.C
	return t.Run(g.pool)
}

// columns rounds a row's columns [at, end) of a block [from, to), and leaves their
// errors in w.
func (g *gptq) columns(row, from, to, at, end int, static bool) {
	n, size, m := g.w.Cols, g.out.Scheme.size(g.w.Cols), to-from
	line, target := g.w.row(row), g.target[row*m:][:m]
	codes := g.out.Codes[row*n:][:n]
	var of params
	for i := at; i < end; i++ {
		col := g.order[i]
		switch {
		case static:
			of = g.out.params(row, col/size)
		case i%size == 0:
			last := min(i+size, n)
			of = g.grid.fit(g.current(line, target[i-from:], i, last), g.importance(i, last), g.options.Clip)
			g.out.set(row, i/size, of)
		case i == at:
			of = g.out.params(row, i/size)
		}
		t := target[i-from]
		c := g.grid.code(t, of)
		codes[col] = c
		value := g.grid.value(c, of)
		missed := float64(float64(t-value) * g.factor.diagonal[i])
		g.losses[row] += float64(missed * missed)
		e := line[i] - value
		line[i] = e
		f, rest := g.factor.unit[i*n:][i+1:end], target[i+1-from:end-from]
		for j, v := range f {
			rest[j] += float32(e * v)
		}
	}
}

// current gives the weights of the columns from i to end as the paper has them
// when i is due: with the change δ that best makes good the errors so far while
// all that follows is free. With S the sums of their targets, these are rows of
// δ·R[G,G] = S·diag(R[G,G]).
func (g *gptq) current(line, target []float32, i, end int) []float32 {
	v := make([]float32, end-i)
	for k := range v {
		v[k] = target[k] - line[i+k]
	}
	for k, d := range v {
		f := g.factor.unit[(i+k)*g.w.Cols+i:][:len(v)]
		for j := k + 1; j < len(v); j++ {
			v[j] -= float32(d * f[j])
		}
	}
	for k := range v {
		v[k] += line[i+k]
	}
	return v
}

// importance is that of the columns worked on from i to end.
func (g *gptq) importance(i, end int) []float32 {
	if g.options.Importance == nil {
		return nil
	}
	var v []float32
	for _, x := range g.order[i:end] {
		v = append(v, g.options.Importance[x])
	}
	return v
}
