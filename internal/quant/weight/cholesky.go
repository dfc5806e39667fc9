package weight

import (
	"context"
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/pool"
)

// upper is the factor R of a Hessian H = R·Rᵀ, R upper triangular.
type upper struct {
	unit     []float32 // R[i,k]/R[k,k] above the diagonal, [n, n]
	diagonal []float64
}

// MaxDamp is the most that is added to a diagonal of mean 1 before giving up.
const MaxDamp = 100

// factor damps h, [n, n], and factors it. Where it is not positive definite,
// damping is raised tenfold until it is. h is changed.
func factor(ctx context.Context, h []float32, n int, damp float64, p *pool.Pool) (*upper, float64, error) {
	var mean float64
	original := make([]float32, n)
	for i := range n {
		original[i] = h[i*n+i]
		mean += float64(original[i]) / float64(n)
	}
	backup := h
	for ; damp <= MaxDamp; damp *= 10 {
		h = append([]float32(nil), backup...)
		for i := range n {
			h[i*n+i] = float32(float64(original[i]) + float64(damp*mean))
		}
		f, ok, err := cholesky(ctx, h, n, p)
		if ok || err != nil {
			return f, damp, err
		}
	}
	return nil, 0, fmt.Errorf("the Hessian of %d inputs is not positive definite, even with damping %v: expected finite activations", n, MaxDamp)
}

// choleskyBlock is the number of columns that are factored before the rest is
// updated by a product of matrices.
const choleskyBlock = 64

// cholesky factors h = R·Rᵀ from the last column to the first, in place. ok is
// false if h is not positive definite.
//
// R's last columns are known first: with the block of columns B = [from, to),
// R[B,B] is the factor of h[B,B], R[:from,B] solves X·R[B,B]ᵀ = h[:from,B], and
// h[:from,:from] loses X·Xᵀ. Only the part of h above the diagonal is read.
func cholesky(ctx context.Context, h []float32, n int, p *pool.Pool) (f *upper, ok bool, err error) {
	f = &upper{unit: h, diagonal: make([]float64, n)}
	var t gemm.Task
	for to := n; to > 0; to -= min(to, choleskyBlock) {
		if err := ctx.Err(); err != nil {
			return nil, false, err
		}
		from := max(to-choleskyBlock, 0)
		if !cornerFactor(h, n, from, to, f.diagonal) {
			return nil, false, nil
		}
		eachRow(p, from, choleskyBlock*choleskyBlock, func(row int) { solveRow(h[row*n:][:n], h, n, from, to, f.diagonal) })
		if err := update(&t, h, n, from, to, p); err != nil {
			return nil, false, err
		}
	}
	eachRow(p, n, n, func(row int) {
		line := h[row*n:][:n]
		for k := row + 1; k < n; k++ {
			line[k] = float32(float64(line[k]) / f.diagonal[k])
		}
	})
	return f, true, nil
}

// cornerFactor factors the square [from, to) on the diagonal.
func cornerFactor(h []float32, n, from, to int, diagonal []float64) bool {
	for k := to - 1; k >= from; k-- {
		d := float64(h[k*n+k])
		for j := k + 1; j < to; j++ {
			d -= float64(float64(h[k*n+j]) * float64(h[k*n+j]))
		}
		if !(d > 0) || math.IsInf(d, 0) {
			return false
		}
		d = math.Sqrt(d)
		diagonal[k], h[k*n+k] = d, float32(d)
		for i := from; i < k; i++ {
			s := float64(h[i*n+k])
			for j := k + 1; j < to; j++ {
				s -= float64(float64(h[i*n+j]) * float64(h[k*n+j]))
			}
			h[i*n+k] = float32(s / d)
		}
	}
	return true
}

// solveRow computes a row's columns [from, to) of R.
func solveRow(line, h []float32, n, from, to int, diagonal []float64) {
	for k := to - 1; k >= from; k-- {
		s := float64(line[k])
		r := h[k*n:][:n]
		for j := k + 1; j < to; j++ {
			s -= float64(float64(line[j]) * float64(r[j]))
		}
		line[k] = float32(s / diagonal[k])
	}
}

// update subtracts X·Xᵀ from what is left, in panels that leave out what is below
// the diagonal.
func update(t *gemm.Task, h []float32, n, from, to int, p *pool.Pool) error {
	for row := 0; row < from; row += hessianCols {
		t.M, t.N, t.K = min(hessianCols, from-row), from-row, to-from
		t.A = gemm.Matrix{Data: h[row*n+from:], Stride: n}
		t.B = gemm.Matrix{Data: h[row*n+from:], Stride: n, Trans: true}
		t.C = gemm.Matrix{Data: h[row*n+row:], Stride: n}
		t.Residual, t.Alpha = t.C, -1
		if err := t.Run(p); err != nil {
			return err
		}
	}
	return nil
}
