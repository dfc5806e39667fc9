package attn

import (
	"math"
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/mma"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// Sizes of what a streamed row tile works on.
const (
	streamTile  = 64   // keys that are taken at once
	streamKeys  = 2048 // keys that are packed at once
	streamLanes = 16   // sums of a row
	scoreRow    = streamTile + 16
	weightRow   = (streamTile + 32) / 2 // in elements of float32
)

// The sums of weights in bfloat16 that count: with others something was lost, or nothing seen.
const (
	leastSum = 0x1p-90
	mostSum  = 0x1p100
)

// streams reports whether weights are 2^(scale·score + bias) at first, with a bias for each key.
func (t *Problem) streams() bool {
	return !t.Keys.Limited && t.Softcap == 0 && !t.HasFill && t.Scale > 0 && t.Mask.Row == 0 && t.N > 0
}

// A streamPlan says where in a slot's scratch things are.
type streamPlan struct {
	keys, steps, cols, tiles                     int // packed at once; of a head of Q; panels of a head of V; row tiles whose state is kept
	k, v, bias, s, p, o, l, q, failed, sums, end int
}

func (p *plan) streamPlan(from int) streamPlan {
	s := streamPlan{keys: tiling.Align(min(p.n, streamKeys), streamTile), steps: tiling.Ceil(p.d, mma.StepBF16), cols: tiling.Ceil(p.dv, mma.Cols), tiles: 1}
	if p.n > streamKeys {
		s.tiles = p.rows / mma.Rows
	}
	at := tiling.Align(from, 16)
	take := func(n int) int {
		begin := at
		at += tiling.Align(n, 16)
		return begin
	}
	s.k = take(s.keys * s.steps * mma.StepBF16 / 2)
	s.v = take(s.keys * s.cols * mma.Cols / 2)
	s.bias = take(s.keys)
	s.s = take(2 * mma.Rows * scoreRow)
	s.p = take(2 * mma.Rows * weightRow)
	s.o = take(s.tiles * mma.Rows * s.cols * mma.Cols)
	s.l = take(s.tiles * mma.Rows * streamLanes)
	s.q = take(mma.Rows * s.ldq() / 4)
	s.failed = take(p.rows)
	s.sums = take(mma.Rows)
	s.end = at
	return s
}

// ldq is the bytes from one copied row of Q to the next, an odd number of cache lines.
func (s *streamPlan) ldq() int { return (s.steps | 1) * mma.StepBytes }

// stream computes row tiles of the items that share keys and values.
func (t *Task) stream(w *workspace, unit, first, end int) {
	p := &t.plan.stream
	clear(w.stream[p.failed:][:t.plan.rows])
	missed := false
	for key := 0; key < t.N; key += p.keys {
		n := min(p.keys, t.N-key)
		item := t.rowTile(unit, first, first).item
		t.streamPack(w, item, key, n)
		last, biased := key+n == t.N, -1
		for i := first; i < end; i++ {
			r := t.rowTile(unit, i, first)
			if r.item != biased {
				t.streamBias(w, r.item, key, n)
				biased = r.item
			}
			state := (i - first) % p.tiles
			o, l := w.stream[p.o+state*mma.Rows*p.cols*mma.Cols:][:mma.Rows*p.cols*mma.Cols], w.stream[p.l+state*mma.Rows*streamLanes:][:mma.Rows*streamLanes]
			if key == 0 {
				clear(o)
				clear(l)
			}
			t.streamTiles(w, r, o, l, n)
			if last {
				s := settling{o: o, ldo: p.cols * mma.Cols, l: l, sums: w.stream[p.sums:], failed: w.stream[p.failed+r.state:], least: leastSum, most: mostSum}
				missed = t.settle(w, r, &s) || missed
			}
		}
	}
	if missed {
		t.again(w, unit, first, end, w.stream[p.failed:][:t.plan.rows])
	}
}

// streamPack packs n keys and their values, and fills up with zeros to whole tiles.
func (t *Task) streamPack(w *workspace, item, key, n int) {
	p := &t.plan.stream
	at := t.offset(item, t.K.Steps)
	from := at + key*t.K.Stride
	if t.K.Trans {
		from = at + key
	}
	w.k = t.matrix(&t.K, from)
	w.k.Trans = !t.K.Trans
	keys := w.stream[p.k:p.v]
	t.packOperand(w, keys, &w.k, &t.K, from, t.D, n)
	clear(keys[w.micro.PanelSize(t.D, n):])

	from = t.offset(item, t.V.Steps) + key*t.V.Stride
	panel := p.keys * mma.Cols / 2
	for c := range p.cols {
		dst := numbers(w.stream[p.v+c*panel:][:panel])
		cols := min(mma.Cols, t.DV-c*mma.Cols)
		if t.Halves {
			pairs(current().pairs, dst, t.V.Data16[from+c*mma.Cols:], t.V.Stride, n, cols)
			continue
		}
		src := t.V.Data[from+c*mma.Cols:]
		currentAMX().Pairs(dst, src, t.V.Stride, n/2, cols)
		rest := dst[n/2*2*mma.Cols:]
		clear(rest)
		if n%2 == 1 {
			for j, x := range src[(n-1)*t.V.Stride:][:cols] {
				rest[2*j] = mma.Round(x)
			}
		}
	}
}

// pairs packs n rows of values, and clears the rest of the panel.
func pairs(kernel func(dst, src *uint16, stride, pairs, n int), dst, src []uint16, stride, n, cols int) {
	if n > 1 {
		_ = src[(n/2*2-1)*stride+cols-1]
		kernel(&dst[0], &src[0], 2*stride, n/2, cols)
	}
	rest := dst[n/2*2*mma.Cols:]
	clear(rest)
	if n%2 == 1 {
		for j, x := range src[(n-1)*stride:][:cols] {
			rest[2*j] = x
		}
	}
}

// streamBias sets what is added to the scores of keys.
func (t *Task) streamBias(w *workspace, item, key, n int) {
	p := &t.plan.stream
	t.keyBias(w.stream[p.bias:][:p.keys], item, key, n)
}

// keyBias sets what is added to the scores of n keys, in powers of two: the mask, and
// -Inf for keys that fill up a tile.
func (t *Task) keyBias(bias []float32, item, key, n int) {
	m := &t.Mask
	if m.Data == nil {
		clear(bias[:n])
	} else {
		at := t.offset(item, m.Steps) + key*m.Col
		for j := range n {
			bias[j] = float32(m.Data[at+j*m.Col] * math.Log2E)
		}
	}
	fill(bias[n:])
}

// streamTiles lets a row tile see n keys.
func (t *Task) streamTiles(w *workspace, r rowTile, o, l []float32, n int) {
	p := &t.plan.stream
	a := &w.sweep
	*a = sweepArgs{
		k: unsafe.Pointer(&w.stream[p.k]), v: unsafe.Pointer(&w.stream[p.v]), bias: unsafe.Pointer(&w.stream[p.bias]),
		o: unsafe.Pointer(&o[0]), l: unsafe.Pointer(&l[0]), s: unsafe.Pointer(&w.stream[p.s]), p: unsafe.Pointer(&w.stream[p.p]),
		ldo: 4 * p.cols * mma.Cols, skipV: p.keys * mma.Cols * 2, steps: p.steps, cols: p.cols,
		tiles: tiling.Ceil(n, streamTile), rows: r.end - r.row, scale: float32(float64(t.Scale) * math.Log2E),
	}
	a.q, a.ldq = t.streamQueries(w, r)
	current().sweep(a)
	*a = sweepArgs{} // memory that may be unmapped must not stay referenced
}

// streamQueries gives rows of Q in bfloat16, in whole steps.
func (t *Task) streamQueries(w *workspace, r rowTile) (q unsafe.Pointer, ldq int) {
	p := &t.plan.stream
	from := t.offset(r.item, t.Q.Steps) + r.row*t.Q.Stride
	if t.Halves && t.D%mma.StepBF16 == 0 {
		return unsafe.Pointer(&t.Q.Data16[from]), 2 * t.Q.Stride
	}
	row := p.ldq() / 2
	dst := numbers(w.stream[p.q:p.failed])
	for i := range r.end - r.row {
		d := dst[i*row:][:row]
		if t.Halves {
			copy(d, t.Q.Data16[from+i*t.Q.Stride:][:t.D])
		} else {
			currentAMX().Round(d[:t.D], t.Q.Data[from+i*t.Q.Stride:][:t.D])
		}
		clear(d[t.D:])
	}
	return unsafe.Pointer(&dst[0]), p.ldq()
}

// numbers views memory as bfloat16.
func numbers(s []float32) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(s))), 2*len(s))
}
