package reduce

import (
	"math"

	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/pool"
)

const (
	grain   = 32768 // elements in a chunk, at least: about 3 µs
	columns = 64    // of a tile, where a row of columns is reduced
)

// typed reduces outer × k × inner elements of one type.
type typed[T number] struct {
	layout
	op          Op
	first, join fold
	engine      *engine[T]
	blocks      int // of k
	units       int // rows' blocks, or tiles of columns
	parts       int
	dst, src    []T
	scratch     []T // blocks' results, or each chunk's lanes
}

func newTyped[T number](op Op, l layout) *typed[T] {
	r := &typed[T]{layout: l, op: op, engine: engineOf[T](), blocks: max((l.k+blockLen-1)/blockLen, 1)}
	r.first, r.join = op.fold()
	r.units = l.outer * r.blocks
	if l.inner > 1 {
		r.units = l.outer * ((l.inner + columns - 1) / columns)
	}
	r.parts = min(split.Parts(l.outer*l.k*l.inner, grain), max(r.units, 1))
	return r
}

// scratchLen is the number of elements that run needs.
func (r *typed[T]) scratchLen() int {
	switch {
	case r.inner > 1:
		return r.parts * 2 * lanes * columns
	case r.op == LogSumExp:
		return r.parts * blockLen
	case r.blocks > 1:
		return r.units
	}
	return 0
}

func (r *typed[T]) run(p *pool.Pool, dst, src, scratch []T) {
	r.dst, r.src, r.scratch = dst, src, scratch
	if r.op == LogSumExp {
		r.parts = min(r.parts, max(r.outer, 1))
	}
	p.Run(r.parts, r)
	if r.inner == 1 && r.blocks > 1 && r.op != LogSumExp {
		for o := range r.outer {
			dst[o] = finish(r.op, r.joinBlocks(scratch[o*r.blocks:][:r.blocks]), r.k)
		}
	}
	r.dst, r.src, r.scratch = nil, nil, nil
}

// joinBlocks is the second level of the order.
func (r *typed[T]) joinBlocks(x []T) T { return r.engine.block[r.join](x) }

// Do reduces one chunk; it is called by the pool.
func (r *typed[T]) Do(i int) {
	if r.op == LogSumExp {
		r.logSumExp(i)
		return
	}
	lo, hi := split.Range(r.units, r.parts, i)
	if r.inner > 1 {
		lanesOf := r.scratch[i*2*lanes*columns:][:2*lanes*columns]
		for u := lo; u < hi; u++ {
			r.tile(u, lanesOf)
		}
		return
	}
	for u := lo; u < hi; u++ {
		row, b := u/r.blocks, u%r.blocks
		x := r.src[row*r.k : (row+1)*r.k]
		v := r.engine.block[r.first](x[b*blockLen : min((b+1)*blockLen, len(x))])
		if r.blocks == 1 {
			r.dst[row] = finish(r.op, v, r.k)
		} else {
			r.scratch[u] = v
		}
	}
}

// tile reduces up to 64 neighbouring columns.
func (r *typed[T]) tile(u int, scratch []T) {
	tiles := (r.inner + columns - 1) / columns
	o, c := u/tiles, u%tiles*columns
	w := min(columns, r.inner-c)
	src := r.src[o*r.k*r.inner:]
	blockLanes, allLanes := scratch[:lanes*columns], scratch[lanes*columns:]
	fill(allLanes[:min(r.blocks, lanes)*columns], initial[T](r.join))
	for b := range r.blocks {
		lo, hi := b*blockLen, min((b+1)*blockLen, r.k)
		r.block(blockLanes, src[min(lo*r.inner+c, len(src)):], hi-lo, w)
		r.tree(blockLanes, min(hi-lo, lanes), w)
		r.engine.step[r.join](allLanes[b%lanes*columns:][:w], blockLanes)
	}
	r.tree(allLanes, min(r.blocks, lanes), w)
	dst := r.dst[o*r.inner+c:][:w]
	for i := range dst {
		dst[i] = finish(r.op, allLanes[i], r.k)
	}
}

// block takes rows of w columns into lanes.
func (r *typed[T]) block(l, src []T, rows, w int) {
	if f := r.engine.columns[r.first]; f != nil && w == columns && rows > 0 {
		f(l, src[:(rows-1)*r.inner+columns], r.inner, rows)
		return
	}
	fill(l[:max(min(rows, lanes), 1)*columns], initial[T](r.first))
	for k := range rows {
		r.engine.step[r.first](l[k%lanes*columns:][:w], src[k*r.inner:])
	}
}

// tree joins the first n lanes of w columns; the others hold the initial
// value, which changes nothing.
func (r *typed[T]) tree(l []T, n, w int) {
	for h := lanes / 2; h > 0; h /= 2 {
		for j := 0; j < h && j+h < n; j++ {
			r.engine.step[r.join](l[j*columns:][:w], l[(j+h)*columns:])
		}
		n = min(n, h)
	}
}

func fill[T number](x []T, v T) {
	for i := range x {
		x[i] = v
	}
}

// logSumExp computes rows; inner is 1.
func (r *typed[T]) logSumExp(part int) {
	t := r.scratch[part*blockLen:][:blockLen]
	lo, hi := split.Range(r.outer, r.parts, part)
	for o := lo; o < hi; o++ {
		x := r.src[o*r.k:][:r.k]
		m := r.rowMax(x)
		if float64(m) != float64(m) || math.IsInf(float64(m), 0) {
			r.dst[o] = m
			continue
		}
		var l [lanes]T
		for b := 0; b*blockLen < len(x); b++ {
			row := x[b*blockLen : min((b+1)*blockLen, len(x))]
			expDiff(t[:len(row)], row, m)
			l[b%lanes] += r.engine.block[foldSum](t[:len(row)])
		}
		r.dst[o] = T(math.Log(float64(sumTree(&l)))) + m
	}
}

func (r *typed[T]) rowMax(x []T) T {
	m := least[T]()
	for ; len(x) > 0; x = x[min(blockLen, len(x)):] {
		m = greater(m, r.engine.block[foldMax](x[:min(blockLen, len(x))]))
	}
	return m
}
