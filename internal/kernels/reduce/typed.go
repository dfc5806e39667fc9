package reduce

import (
	"math"

	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/pool"
)

const (
	grain    = 32768   // elements in a chunk, at least: about 3 µs
	rowsMost = 1 << 14 // elements of rows that one call reduces
)

// typed reduces outer × k × inner elements of one type.
type typed[T number] struct {
	layout
	op          Op
	first, join fold
	engine      *engine[T]
	short       func(acc, x []T) // step of few columns, for which no call is worth it
	columns     int              // of a tile, where the last axis is kept; and what a row fills elsewhere
	blocks      int              // of k
	units       int              // rows' blocks, or tiles of columns
	parts       int
	dst, src    []T
	scratch     []T // blocks' results, or each chunk's rows of columns
}

func newTyped[T number](op Op, l layout) *typed[T] {
	r := &typed[T]{layout: l, op: op, engine: engineOf[T](), columns: columnsOf[T](), blocks: max((l.k+blockLen-1)/blockLen, 1)}
	r.first, r.join = op.fold()
	r.short = portableSteps[T]()[r.first]
	r.units = l.outer * r.blocks
	if l.ordered {
		r.units = l.outer * ((l.inner + r.columns - 1) / r.columns)
	}
	r.parts = min(split.Parts(l.outer*l.k*l.inner, grain), max(r.units, 1))
	return r
}

// scratchLen is the number of elements that run needs.
func (r *typed[T]) scratchLen() int {
	switch {
	case r.ordered:
		return r.parts * r.tileScratch()
	case r.op == LogSumExp:
		return r.parts * blockLen
	case r.blocks > 1:
		return r.units + r.parts*r.columns
	}
	return r.parts * r.columns
}

// tileScratch is room for a block's row of columns, and for lanes where there are several.
func (r *typed[T]) tileScratch() int {
	if r.blocks == 1 {
		return r.columns
	}
	return (1 + lanes) * r.columns
}

func (r *typed[T]) run(p *pool.Pool, dst, src, scratch []T) {
	r.dst, r.src, r.scratch = dst, src, scratch
	if r.op == LogSumExp {
		r.parts = min(r.parts, max(r.outer, 1))
	}
	p.Run(r.parts, r)
	if !r.ordered && r.blocks > 1 && r.op != LogSumExp {
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
	if r.ordered {
		scratch := r.scratch[i*r.tileScratch():][:r.tileScratch()]
		for u := lo; u < hi; u++ {
			r.tile(u, scratch)
		}
		return
	}
	if f := r.engine.rows[r.first]; f != nil && r.blocks == 1 && r.k > 0 {
		for at := lo; at < hi; {
			n := min(hi-at, max(rowsMost/r.k, 1))
			dst := r.dst[at : at+n]
			f(dst, r.src[at*r.k:(at+n)*r.k], r.k)
			if r.op != Sum {
				for i, v := range dst {
					dst[i] = finish(r.op, v, r.k)
				}
			}
			at += n
		}
		return
	}
	room := r.scratch[len(r.scratch)-(i+1)*r.columns:][:r.columns]
	for u := lo; u < hi; u++ {
		row, b := u/r.blocks, u%r.blocks
		x := r.src[row*r.k : (row+1)*r.k]
		v := r.block(x[b*blockLen:min((b+1)*blockLen, len(x))], room)
		if r.blocks == 1 {
			r.dst[row] = finish(r.op, v, r.k)
		} else {
			r.scratch[u] = v
		}
	}
}

// block reduces at most blockLen elements of a row.
func (r *typed[T]) block(x, room []T) T {
	if T(1)/T(2) == 0 && len(x) < lanes { // integers, for which no order is better than another
		return foldShort(r.first, x)
	}
	f, w := r.engine.columns[r.first], len(room)
	if f == nil || r.engine.rows[r.first] != nil || len(x) < w {
		return r.engine.block[r.first](x)
	}
	fill(room, initial[T](r.first))
	f(room, x, w, len(x)/w)
	rest := x[len(x)/w*w:]
	if len(rest) > 0 && r.first != foldSum && T(1)/T(2) == 0 { // some integers twice, which changes nothing
		f(room, x[len(x)-w:], w, 1)
	} else {
		r.engine.step[r.first](room[:len(rest)], rest)
	}
	for w /= 2; w > 0; w /= 2 {
		r.engine.step[r.join](room[:w], room[w:2*w])
	}
	return room[0]
}

// foldShort reduces a few integers.
func foldShort[T number](f fold, x []T) T {
	if len(x) == 0 {
		return initial[T](f)
	}
	v, x := x[0], x[1:]
	switch f {
	case foldSum:
		for _, e := range x {
			v += e
		}
	case foldAbs:
		v = abs(v)
		for _, e := range x {
			v += abs(e)
		}
	case foldSquare:
		v *= v
		for _, e := range x {
			v += e * e
		}
	case foldMax:
		for _, e := range x {
			v = max(v, e)
		}
	case foldMin:
		for _, e := range x {
			v = min(v, e)
		}
	case foldProd:
		for _, e := range x {
			v *= e
		}
	}
	return v
}

// tile reduces neighbouring columns, as many as a tile has or are left.
func (r *typed[T]) tile(u int, scratch []T) {
	tiles := (r.inner + r.columns - 1) / r.columns
	o, c := u/tiles, u%tiles*r.columns
	w := min(r.columns, r.inner-c)
	src := r.src[o*r.k*r.inner:]
	result, all := scratch[:r.columns], scratch[r.columns:]
	if r.blocks == 1 {
		r.rows(result, src[min(c, len(src)):], r.k, w)
	} else {
		fill(all, initial[T](r.join))
		for b := range r.blocks {
			lo, hi := b*blockLen, min((b+1)*blockLen, r.k)
			r.rows(result, src[lo*r.inner+c:], hi-lo, w)
			r.engine.step[r.join](all[b%lanes*r.columns:][:w], result)
		}
		r.tree(all, min(r.blocks, lanes), w)
		result = all
	}
	dst := r.dst[o*r.inner+c:][:w]
	for i := range dst {
		dst[i] = finish(r.op, result[i], r.k)
	}
}

// narrowest is the least number of columns for which a call for each row is worth it.
const narrowest = 8

// rows reduces rows of w columns, one after the other.
func (r *typed[T]) rows(acc, src []T, rows, w int) {
	acc = acc[:w]
	fill(acc, initial[T](r.first))
	if f := r.engine.columns[r.first]; f != nil && w == r.columns && rows > 0 {
		f(acc, src[:(rows-1)*r.inner+w], r.inner, rows)
		return
	}
	step := r.engine.step[r.first]
	if w < narrowest {
		step = r.short
	}
	for k := range rows {
		step(acc, src[k*r.inner:])
	}
}

// tree joins the first n lanes of w columns; the others hold the initial
// value, which changes nothing.
func (r *typed[T]) tree(l []T, n, w int) {
	for h := lanes / 2; h > 0; h /= 2 {
		for j := 0; j < h && j+h < n; j++ {
			r.engine.step[r.join](l[j*r.columns:][:w], l[(j+h)*r.columns:])
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
