package softmax

import (
	"math"

	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/transpose"
)

// Short rows are computed side by side: element k of many rows is a row of its own, and functions
// run along these. The operations of one row, and their order, are those of row and logRow, so its bits are too.
const (
	sideElements = blockLen // that are computed together
	sideMost     = 256      // rows
	sideLongest  = 128      // elements of a row, where they do not lie in one run
	sideRun      = 48       // where they do: longer ones are no slower by themselves
	sideLogRun   = 64       // nor are these, of which logarithms are taken
	sideFewest   = 16       // rows for which it is worth it
)

// planSides chooses how many rows are computed side by side; 0: they are computed one by one.
func (s *Softmax) planSides() {
	longest := sideLongest
	if s.inner == 1 {
		longest = sideRun
		if s.kind == Log {
			longest = sideLogRun
		}
	}
	if s.n == 0 || s.n > longest || s.outer*s.inner < sideFewest || s.inner > 1 && s.inner < sideFewest {
		return
	}
	s.side = min(sideMost, sideElements/s.n)
	s.need = s.side * (1 + s.n + min(s.n, lanes))
	if s.kind == Log {
		s.need += s.side * s.n
	}
	if s.inner == 1 {
		s.units = (s.outer + s.side - 1) / s.side
	} else {
		s.units = s.outer * ((s.inner + s.side - 1) / s.side)
	}
}

// sides computes the rows of unit u.
func (s *Softmax) sides(u int, scratch []float32) {
	var w, at, stride int
	x := scratch[:s.n*s.side]
	src := x
	if s.inner == 1 {
		at = u * s.side * s.n
		w = min(s.side, s.outer-u*s.side)
		stride = w
		transpose.Tile32(x, s.src[at:], w, s.n, w, s.n)
	} else {
		tiles := (s.inner + s.side - 1) / s.side
		o, c := u/tiles, u%tiles*s.side
		at = o*s.n*s.inner + c
		w = min(s.side, s.inner-c)
		stride = s.inner
		src = s.src[at:]
	}
	x, scratch = x[:s.n*w], scratch[s.n*s.side:]
	top, scratch := scratch[:w], scratch[s.side:]
	copy(top, src[:w])
	for k := 1; k < s.n; k++ {
		elemwise.Row(elemwise.Max)(top, top, src[k*stride:][:w], 1, 1)
	}
	subtract := elemwise.Row(elemwise.Sub)
	for k := range s.n {
		subtract(x[k*w:][:w], src[k*stride:][:w], top, 1, 1)
	}
	e := x
	if s.kind == Log {
		e, scratch = scratch[:len(x)], scratch[s.n*s.side:]
	}
	current().expSum(e, x, 0)
	sum := sideSums(scratch, e, s.n, w)
	last := elemwise.Row(elemwise.Mul)
	if s.kind == Log {
		last = subtract
		for i, v := range sum {
			sum[i] = float32(math.Log(float64(v)))
		}
	} else {
		elemwise.Row(elemwise.Div)(sum, one, sum, 0, 1)
	}
	for k := range s.n {
		dst := x[k*w:][:w]
		if s.inner > 1 {
			dst = s.dst[at+k*stride:][:w]
		}
		last(dst, x[k*w:][:w], sum, 1, 1)
	}
	if s.inner == 1 {
		transpose.Tile32(s.dst[at:], x, s.n, w, s.n, w)
	}
}

var one = []float32{1}

// lanes is package reduce's.
const lanes = 32

// sideSums adds up n rows of w numbers in the order of package reduce; t is room for lanes of them.
func sideSums(t, e []float32, n, w int) []float32 {
	add := elemwise.Row(elemwise.Add)
	have := min(n, lanes)
	copy(t, e[:have*w])
	for k := lanes; k < n; k += lanes {
		t := t[:min(lanes, n-k)*w]
		add(t, t, e[k*w:][:len(t)], 1, 1)
	}
	for h := lanes / 2; h > 0; h /= 2 {
		if have > h {
			low, high := t[:(have-h)*w], t[h*w:have*w]
			add(low, low, high, 1, 1)
			have = h
		}
	}
	return t[:w]
}
