//go:build !noasm

package paged

import (
	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

//go:generate sh -c "cd ../../../tools/asmgen && go run . paged -out ../../internal/kernels/paged/paged_amd64.s"

// current is the table of the level in force.
func current() *kernels {
	switch l := cpu.Level(); {
	case l >= cpu.AVX512:
		return &avx512
	case l >= cpu.AVX2:
		return &avx2
	}
	return &portable
}

// mostRows is how many rows a kernel takes.
const mostRows = 6

// A scoreKernel writes the products of its rows with the keys of some blocks.
type scoreKernel struct {
	run    func(dst, q *float32, list *uintptr, d int, scale float32)
	blocks int
}

// A sumKernel multiplies its rows by factors and adds weighted values of n tokens.
type sumKernel func(o, factors, p *float32, list *uintptr, d, n int)

// Kernels by their number of rows.
type (
	scoreKernels [mostRows + 1]scoreKernel
	sumKernels   [mostRows + 1]sumKernel
)

var (
	avx2 = kernels{
		score32: scores(&scoreKernels{1: {score32x1AVX2, 2}, 2: {score32x2AVX2, 2}, 3: {score32x3AVX2, 1}, 4: {score32x4AVX2, 1}, 5: {score32x5AVX2, 1}, 6: {score32x6AVX2, 1}}),
		score16: scores(&scoreKernels{1: {score16x1AVX2, 2}, 2: {score16x2AVX2, 2}, 3: {score16x3AVX2, 1}, 4: {score16x4AVX2, 1}, 5: {score16x5AVX2, 1}, 6: {score16x6AVX2, 1}}),
		sum32:   sums(portable.sum32, &sumKernels{1: sum32x1AVX2, 2: sum32x2AVX2, 3: sum32x3AVX2, 4: sum32x4AVX2, 5: sum32x5AVX2, 6: sum32x6AVX2}),
		sum16:   sums(portable.sum16, &sumKernels{1: sum16x1AVX2, 2: sum16x2AVX2, 3: sum16x3AVX2, 4: sum16x4AVX2, 5: sum16x5AVX2, 6: sum16x6AVX2}),
		weigh:   weighs(weighAVX2),
	}
	avx512 = kernels{
		score32: scores(&scoreKernels{1: {score32x1AVX512, 4}, 2: {score32x2AVX512, 4}, 3: {score32x3AVX512, 4}, 4: {score32x4AVX512, 4}, 5: {score32x5AVX512, 4}, 6: {score32x6AVX512, 4}}),
		score16: scores(&scoreKernels{1: {score16x1AVX512, 4}, 2: {score16x2AVX512, 4}, 3: {score16x3AVX512, 4}, 4: {score16x4AVX512, 4}, 5: {score16x5AVX512, 4}, 6: {score16x6AVX512, 4}}),
		sum32:   sums(portable.sum32, &sumKernels{1: sum32x1AVX512, 2: sum32x2AVX512, 3: sum32x3AVX512, 4: sum32x4AVX512, 5: sum32x5AVX512, 6: sum32x6AVX512}),
		sum16:   sums(portable.sum16, &sumKernels{1: sum16x1AVX512, 2: sum16x2AVX512, 3: sum16x3AVX512, 4: sum16x4AVX512, 5: sum16x5AVX512, 6: sum16x6AVX512}),
		weigh:   weighs(weighAVX512),
	}
)

// together is how many of so many rows the next call takes, so that all calls take
// about as many.
func together(rows int) int { return tiling.Ceil(rows, tiling.Ceil(rows, mostRows)) }

// scores makes a scoreFunc. Kernels that take several blocks may read some beyond
// the last, and write their products where no token is.
func scores(by *scoreKernels) spanFunc {
	return func(t *Task, w *workspace, s *span) {
		blocks := tiling.Ceil(s.n, BlockTokens)
		for r := 0; r < s.rows; {
			n := together(s.rows - r)
			k := &by[n]
			for b := 0; b < blocks; b += k.blocks {
				k.run(&w.scores[r*TileTokens+b*BlockTokens], &w.q[r*t.D], &s.keys[b], t.D, t.Scale)
			}
			r += n
		}
	}
}

// sums makes a sumFunc. The kernels take heads of a multiple of 8 elements.
func sums(other spanFunc, by *sumKernels) spanFunc {
	return func(t *Task, w *workspace, s *span) {
		if t.D%8 != 0 {
			other(t, w, s)
			return
		}
		for r := 0; r < s.rows; {
			n := together(s.rows - r)
			by[n](&w.o[r*t.D], &w.factors[r], &w.scores[r*TileTokens], &s.values[0], t.D, s.n)
			r += n
		}
	}
}

// weighs makes a weigh function.
func weighs(kernel func(p, largest, sums, factors *float32, rows, n int)) func(w *workspace, rows, n int) {
	return func(w *workspace, rows, n int) {
		kernel(&w.scores[0], &w.largest[0], &w.sums[0], &w.factors[0], rows, n)
	}
}
