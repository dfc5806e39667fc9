package recurrent

import (
	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/gemm"
)

// A cut says what threads compute at the same time. None of it shows in the
// result.
type cut struct {
	together int        // directions
	groups   int        // of sequences, in each of these
	columns  int        // pieces of the state of a group; if several, they meet after each step
	parts    []elements // of the state, whole ones of which a piece has
}

// elements are a part of the state, whose gates lie beside each other: columns of W and R,
// and so what inputs and states give, go by parts, gates, and elements. A thread then
// multiplies with one run of R, wherever its part ends. Parts follow from the layer and
// the number of threads, so that all batches have the weights in one order.
type elements struct {
	col, last int // elements of the state
}

func (e elements) width() int { return e.last - e.col }

// A piece is what one thread computes: some elements of the states of some
// sequences, in one direction of those that run together.
type piece struct {
	direction int
	row, end  int // sequences
	parts     []elements
	first     int    // the number of the first part
	spans     []span // room for those of a phase
	micro     gemm.Micro

	_ [128]byte // no false sharing with the next
}

// columnWork is the multiply-adds of a step for which a piece of its columns pays:
// that pieces meet costs as much as some 10,000.
const columnWork = 1 << 14

// divide chooses the cut. Directions and sequences do not wait for each other.
// Columns do, at every step, but each thread then reads only its piece of R, and that piece
// may fit its cache, beside what else is in use.
func (k *kernel) divide(threads int) {
	c := &k.cut
	c.together, c.groups = min(k.dirs, threads), 1
	each := threads / c.together // threads for a direction
	r := k.gates * k.hidden * k.hidden
	var m gemm.Micro
	m.Use()
	unit := m.Width()
	if k.hidden%unit != 0 {
		unit = 16 // a cache line
	}
	n := max(1, min(each, k.hidden/unit, r/columnWork))
	if 4*r <= cpu.Cache().L2/4*3 {
		c.groups = min(k.batch, each)
		if n >= each {
			// One row takes more than half the time of two, which is that of reading R.
			c.groups = min(max(k.batch/2, 1), each)
		}
	}
	for i := range n {
		c.parts = append(c.parts, elements{col: border(k.hidden, unit, i, n), last: border(k.hidden, unit, i+1, n)})
	}
	c.columns = max(1, min(each/c.groups, n))
	for i := range c.together * c.groups * c.columns {
		of, col := i/c.columns, i%c.columns
		d, group := of/c.groups, of%c.groups
		first, end := col*n/c.columns, (col+1)*n/c.columns
		k.pieces = append(k.pieces, piece{
			direction: d, row: group * k.batch / c.groups, end: (group + 1) * k.batch / c.groups,
			parts: c.parts[first:end], first: first, spans: make([]span, 0, 2*(end-first)), micro: m,
		})
	}
}

// border is where part i of n of the state begins: whole units from its start, as even as
// they get.
func border(hidden, unit, i, n int) int {
	if i == n {
		return hidden
	}
	return (i*hidden/n + unit/2) / unit * unit
}

// whole reports whether a piece has all elements of its states.
func (k *kernel) whole() bool { return k.columns == 1 }

// byParts copies rows of a matrix, which are gates of all elements of the state, in the order
// of parts: those of a part's first gate, then of its next.
func (k *kernel) byParts(dst, src []float32, gates, stride int) {
	for _, p := range k.parts {
		for g := range gates {
			n := copy(dst, src[(g*k.hidden+p.col)*stride:(g*k.hidden+p.last)*stride])
			dst = dst[n:]
		}
	}
}
