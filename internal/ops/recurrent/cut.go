package recurrent

import (
	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/gemm"
)

// A cut says what threads compute at the same time. None of it shows in the
// result.
type cut struct {
	together int // directions
	groups   int // of sequences, in each of these
	columns  int // parts of the state of a group; if several, they meet after each step
}

// A piece is what one thread computes: some elements of the states of some
// sequences, in one direction of those that run together.
type piece struct {
	direction int
	row, end  int // sequences
	col, last int // elements of the state
	micro     gemm.Micro

	_ [128]byte // no false sharing with the next
}

// columnWork is the multiply-adds of a step for which a piece of its columns pays:
// that pieces meet costs as much as some 10,000.
const columnWork = 1 << 15

// divide chooses the cut. Directions and sequences do not wait for each other.
// Columns do, at every step, but each thread then reads only its piece of R, which
// may be what fits the cache.
func (k *kernel) divide(threads int) {
	c := &k.cut
	c.together, c.groups, c.columns = min(k.dirs, threads), 1, 1
	each := threads / c.together // threads for a direction
	r := k.gates * k.hidden * k.hidden
	if 4*r <= cpu.Cache().L2 {
		c.groups = min(k.batch, each)
	}
	var m gemm.Micro
	m.Use()
	if panels := k.hidden / m.Width(); k.hidden%m.Width() == 0 {
		work := r * k.batch / c.groups / columnWork
		c.columns = max(1, min(each/c.groups, panels, work))
	}
	for i := range c.together * c.groups * c.columns {
		unit, col := i/c.columns, i%c.columns
		d, group := unit/c.groups, unit%c.groups
		p := piece{
			direction: d, row: group * k.batch / c.groups, end: (group + 1) * k.batch / c.groups,
			col: k.border(col, m.Width()), last: k.border(col+1, m.Width()), micro: m,
		}
		k.pieces = append(k.pieces, p)
	}
}

// border is the first element of a piece of the columns: whole panels but for the
// last.
func (k *kernel) border(i, width int) int {
	if i == k.columns {
		return k.hidden
	}
	return i * (k.hidden / width) / k.columns * width
}

// whole reports whether a piece has all elements of its states.
func (k *kernel) whole() bool { return k.columns == 1 }
