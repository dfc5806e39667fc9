//go:build !noasm

package paged

import (
	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

//go:generate go -C ../../../tools/asmgen run . paged -out ../../internal/kernels/paged/paged_amd64.s

func forLevel(l cpu.Target) *kernels {
	switch {
	case l >= cpu.AMX:
		return &tiles
	case l >= cpu.AVX512:
		return &avx512
	case l >= cpu.AVX2:
		return &avx2
	}
	return &portable
}

// A scoreKernel writes the products of its rows with the keys of groups of blocks.
type scoreKernel struct {
	run    func(dst, q *float32, list, fetch *uintptr, d, groups int, scale float32)
	blocks int
}

// A sumKernel multiplies its rows by factors and adds weighted values of n tokens.
type sumKernel func(o, factors, p *float32, list, fetch *uintptr, d, n int)

// Kernels by their number of rows.
type (
	scoreKernels [9]scoreKernel
	sumKernels   [9]sumKernel
)

var (
	avx2 = kernels{
		score32: scores(portable.score32, 6, &scoreKernels{1: {score32x1AVX2, 4}, 2: {score32x2AVX2, 2}, 3: {score32x3AVX2, 2}, 4: {score32x4AVX2, 1}, 5: {score32x5AVX2, 1}, 6: {score32x6AVX2, 1}}),
		score16: scores(portable.score16, 6, &scoreKernels{1: {score16x1AVX2, 4}, 2: {score16x2AVX2, 2}, 3: {score16x3AVX2, 2}, 4: {score16x4AVX2, 1}, 5: {score16x5AVX2, 1}, 6: {score16x6AVX2, 1}}),
		sum32:   sums(portable.sum32, 6, &sumKernels{1: sum32x1AVX2, 2: sum32x2AVX2, 3: sum32x3AVX2, 4: sum32x4AVX2, 5: sum32x5AVX2, 6: sum32x6AVX2}),
		sum16:   sums(portable.sum16, 6, &sumKernels{1: sum16x1AVX2, 2: sum16x2AVX2, 3: sum16x3AVX2, 4: sum16x4AVX2, 5: sum16x5AVX2, 6: sum16x6AVX2}),
		load:    loads(6),
		weigh:   weighs(weighAVX2),
		join:    joinRows,
		divide:  divideRows,
	}
	avx512 = kernels{
		score32: scores(portable.score32, 8, &scoreKernels{1: {score32x1AVX512, 4}, 2: {score32x2AVX512, 4}, 3: {score32x3AVX512, 4}, 4: {score32x4AVX512, 4}, 5: {score32x5AVX512, 4}, 6: {score32x6AVX512, 4}, 7: {score32x7AVX512, 2}, 8: {score32x8AVX512, 2}}),
		score16: scores(portable.score16, 8, &scoreKernels{1: {score16x1AVX512, 4}, 2: {score16x2AVX512, 4}, 3: {score16x3AVX512, 4}, 4: {score16x4AVX512, 4}, 5: {score16x5AVX512, 4}, 6: {score16x6AVX512, 4}, 7: {score16x7AVX512, 2}, 8: {score16x8AVX512, 2}}),
		sum32:   sums(portable.sum32, 8, &sumKernels{1: sum32x1AVX512, 2: sum32x2AVX512, 3: sum32x3AVX512, 4: sum32x4AVX512, 5: sum32x5AVX512, 6: sum32x6AVX512, 7: sum32x7AVX512, 8: sum32x8AVX512}),
		sum16:   sums(portable.sum16, 8, &sumKernels{1: sum16x1AVX512, 2: sum16x2AVX512, 3: sum16x3AVX512, 4: sum16x4AVX512, 5: sum16x5AVX512, 6: sum16x6AVX512, 7: sum16x7AVX512, 8: sum16x8AVX512}),
		load:    loads(8),
		weigh:   weighs(weighAVX512),
		join:    joinRows,
		divide:  divideRows,
	}
)

// tiles are avx512 with kernels for prompts, which add up in AMX.
var tiles = func() kernels {
	k := avx512
	k.packKeys32, k.packKeys16, k.packValues32, k.packValues16 = packKeys32AMX, packKeys16AMX, packValues32AMX, packValues16AMX
	return k
}()

// together is how many of so many rows the next call takes, at most most, so that all
// calls take about as many.
func together(rows, most int) int { return tiling.Ceil(rows, tiling.Ceil(rows, most)) }

// vectors reports whether the kernels take heads of d elements.
func vectors(d int) bool { return d%8 == 0 }

// loads makes a load function for kernels of most rows. What a call takes together lies
// together: four elements of each of its rows, then the next four.
func loads(most int) func(t *Task, w *workspace, u *unit, head, heads int) {
	return func(t *Task, w *workspace, u *unit, head, heads int) {
		if !vectors(t.D) {
			load(t, w, u, head, heads)
			return
		}
		group, rows := t.group(), u.rows*t.group()
		for h := range heads {
			for r := 0; r < rows; {
				n := together(rows-r, most)
				dst := w.spread[(h*rows+r)*t.D*BlockTokens:]
				for i := range n {
					q := t.Q[t.at(u, (r+i)/group, head+h)+(r+i)%group*t.D:]
					spreadAVX2(&dst[i*4*BlockTokens], &q[0], t.D, n*4*4*BlockTokens)
				}
				r += n
			}
		}
	}
}

// scores makes a spanFunc. Kernels that take several blocks may read some beyond
// the last, and write their products where no token is.
func scores(other spanFunc, most int, by *scoreKernels) spanFunc {
	return func(t *Task, w *workspace, part state, s *span) {
		if !vectors(t.D) {
			other(t, w, part, s)
			return
		}
		blocks := tiling.Ceil(s.n, BlockTokens)
		for r, end := s.row, s.row+s.rows; r < end; {
			n := together(end-r, most)
			k := &by[n]
			k.run(&w.scores[r*TileTokens+s.at], &w.spread[r*t.D*BlockTokens], &s.list.read[0], &s.list.fetch[0], t.D, tiling.Ceil(blocks, k.blocks), t.Scale)
			r += n
		}
	}
}

// noFactors change nothing.
var noFactors = [9]float32{1, 1, 1, 1, 1, 1, 1, 1, 1}

// sums makes a spanFunc.
func sums(other spanFunc, most int, by *sumKernels) spanFunc {
	return func(t *Task, w *workspace, part state, s *span) {
		if !vectors(t.D) {
			other(t, w, part, s)
			return
		}
		for r, end := s.row, s.row+s.rows; r < end; {
			n := together(end-r, most)
			factors := &w.factors[r]
			if s.at > 0 {
				factors = &noFactors[0]
			}
			by[n](&part.o[r*t.D], factors, &w.scores[r*TileTokens+s.at], &s.list.read[0], &s.list.fetch[0], t.D, s.n)
			r += n
		}
	}
}

// weighs makes a weigh function.
func weighs(kernel func(p, largest, sums, factors *float32, rows, n int)) func(w *workspace, part state, rows, n int) {
	return func(w *workspace, part state, rows, n int) {
		kernel(&w.scores[0], &part.largest[0], &part.l[0], &w.factors[0], rows, n)
	}
}

func joinRows(o, part, f, g []float32, d int) {
	if !vectors(d) {
		join(o, part, f, g, d)
		return
	}
	joinAVX2(&o[0], &part[0], &f[0], &g[0], len(f), d)
}

func divideRows(dst, o, sums []float32, d int) {
	if !vectors(d) {
		divide(dst, o, sums, d)
		return
	}
	divideAVX2(&dst[0], &o[0], &sums[0], len(sums), d)
}
