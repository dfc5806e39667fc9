package qgemm

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// Where a level has kernels for pairs, VPMADDUBSW adds up two products of unsigned bytes of A by
// neighbouring numbers of a column of B in 16 bits. That does not saturate unless both numbers
// have one sign and add up to more than 128 in magnitude. The first of such two is packed
// clipped, and the rest, a spill, is kept in a list behind the panels. Tiles start from what
// spills add, which is computed for a block of rows and some panels before, with numbers of
// A for rows beside each other. Few pairs are so large: of 768 normally distributed numbers
// that the largest scales, one of fifty. A matrix with more is packed for other kernels.

// A spill is two numbers of k of a column, halved, and what B was clipped by there. The second
// may be nothing. The assembly knows the fields.
type spill struct {
	at [2]uint16
	by [2]int16
}

const (
	clipCols   = 16  // of a panel
	clipLimit  = 128 // of the sum of a pair
	spillBytes = 8
	spillRows  = 32        // of a block
	notClipped = 1<<32 - 1 // stands for the first column's start
	spillWords = 2 * spillRows
)

// MostClipK is the most numbers of k that may be clipped: spill.at has the half of each.
const MostClipK = 2 << 16

// mostSpills is for how many there is room.
func mostSpills(k, n int) int { return k*n/128 + n/2 }

// spillsAt is where the starts of the columns' spills and the spills are behind panels, and
// spillsSize what they take.
func spillsAt(n int) int { return tiling.Align(4*(n+1), spillBytes) }

func spillsSize(k, n int) int {
	return tiling.Align(spillsAt(n)+spillBytes*mostSpills(k, n), lineBytes)
}

// starts says for each column of an item where its spills begin, and the end of the last one's.
func (p *Packed) starts(item int) []uint32 {
	return view[uint32](at(p.behind(item), 0), p.n+1)
}

func (p *Packed) spills(item int) []spill {
	return view[spill](at(p.behind(item), spillsAt(p.n)), mostSpills(p.k, p.n))
}

// behind is what follows the panels of an item.
func (p *Packed) behind(item int) []byte {
	size := packedItem(p.kern, p.k, p.n)
	return p.data[item*size:][size-spillsSize(p.k, p.n) : size]
}

// clipper collects the spills of a panel's columns.
type clipper struct {
	k      int // the next group's first
	halves [clipCols][]uint16
	rests  [clipCols][]int16
}

// clip makes each pair of a group of four add up to at most clipLimit in magnitude.
func (c *clipper) clip(j int, x uint32) uint32 {
	for i := 0; i < 32; i += 16 {
		a, b := int32(int8(x>>i)), int32(int8(x>>(i+8)))
		rest := a + b - min(max(a+b, -clipLimit), clipLimit)
		if rest != 0 {
			x = x&^(0xff<<i) | uint32(uint8(a-rest))<<i
			c.halves[j] = append(c.halves[j], uint16((c.k+i/8)/2))
			c.rests[j] = append(c.rests[j], int16(rest))
		}
	}
	return x
}

// flush writes the spills of some columns and where each one's end; it gives how many there are
// then, and false if there is not room for them.
func (c *clipper) flush(dst []spill, ends []uint32, n int) (int, bool) {
	for j := range ends {
		halves, rests := c.halves[j], c.rests[j]
		if n+tiling.Ceil(len(halves), 2) > len(dst) {
			return n, false
		}
		for len(halves) > 0 {
			dst[n] = spill{}
			m := copy(dst[n].at[:], halves)
			copy(dst[n].by[:], rests)
			halves, rests = halves[m:], rests[m:]
			n++
		}
		ends[j] = uint32(n)
		c.halves[j], c.rests[j] = c.halves[j][:0], c.rests[j][:0]
	}
	return n, true
}

// spillSums adds to the sums of an item's columns what was clipped.
func (p *Packed) spillSums(item int, sums []int32) {
	starts, spills := p.starts(item), p.spills(item)
	for j := range sums {
		for _, s := range spills[starts[j]:starts[j+1]] {
			sums[j] += int32(s.by[0]) + int32(s.by[1])
		}
	}
}

// spillPlan is what spills need of a slot's scratch.
type spillPlan struct {
	tiles int // of a block of rows; 0: there are no spills
	ld    int // sums of a row
	// Where words of A, sums, and those of a panel by columns are.
	words, sums, columns int
}

func (p *plan) planSpills() {
	s := &p.spills
	s.tiles = spillRows / p.kern.mr
	s.ld = min(p.ncPanel, p.panels) * clipCols
	s.words = p.perSlot
	s.sums = s.words + tiling.Align(spillWords*tiling.Ceil(p.k, 2), lineBytes)
	s.columns = s.sums + 4*spillRows*s.ld
	p.perSlot = s.columns + 4*clipCols*spillRows
}

// spill adds up what the numbers of some row tiles give by the spills of some panels.
func (t *Task) spill(w *workspace, tile, tileEnd, from, to int) {
	p, kern := &t.plan.spills, t.plan.kern
	row, _ := tiling.Rows(tile, t.M, t.plan.tiles)
	_, end := tiling.Rows(tileEnd-1, t.M, t.plan.tiles)
	w.spillRow, w.spillPanel = row, from
	sums := view[float32](at(w.scratch, p.sums), spillRows*p.ld)
	starts, spills := t.Packed.starts(w.item), t.Packed.spills(w.item)
	if end-row < leastSpillRows {
		for i := range end - row {
			a := t.A.Data[w.aOff+(row+i)*t.A.Stride:][:t.K]
			t.spillRow(w, view[int32](unsafe.Pointer(&sums[i*p.ld]), p.ld), a, spills, starts[from*clipCols:min(to*clipCols, t.N)+1])
		}
		return
	}
	words := view[uint16](at(w.scratch, p.words), spillRows*tiling.Ceil(t.K, 2))
	for i := 0; i < end-row; i += evenRows {
		for r := range w.evens {
			a := t.A.Data[w.aOff+min(row+i+r, end-1)*t.A.Stride:]
			w.evens[r] = &a[0]
		}
		kern.evenColumns(words[i:], &w.evens, t.K, byte(t.shift()))
	}
	columns := view[float32](at(w.scratch, p.columns), clipCols*spillRows)
	add, blocks := kern.spill[bit(end-row > spillRows/2)], tiling.Ceil(end-row, 8)
	for panel := from; panel < to; panel++ {
		col := panel * clipCols
		add(&columns[0], &words[0], (*byte)(unsafe.Pointer(&spills[0])), &starts[col], min(clipCols, t.N-col))
		for j := 0; j < clipCols; j += 8 {
			kern.transpose(&sums[col-from*clipCols+j], &columns[j*spillRows], p.ld, spillRows, blocks)
		}
	}
}

// leastSpillRows is for how many rows vectors pay.
const leastSpillRows = 3

// spillRow is spill for one row. Where A is not signed, spills of a panel are added up in one
// loop, and a column's are the difference of two sums.
func (t *Task) spillRow(w *workspace, dst []int32, a []byte, spills []spill, starts []uint32) {
	sums := view[int32](at(w.scratch, t.plan.spills.columns), clipCols*spillRows)
	for j := 0; j+1 < len(starts); j += clipCols {
		here := starts[j:min(j+clipCols+1, len(starts))]
		first := here[0]
		list := spills[first:here[len(here)-1]]
		if len(list) >= len(sums) || t.A.Signed {
			for c, end := range here[1:] {
				dst[j+c] = spillSum(a, byte(t.shift()), spills[here[c]:end])
			}
			continue
		}
		sums[0] = 0
		if len(list) > 0 {
			t.plan.kern.spillRow(&sums[1], &a[0], (*byte)(unsafe.Pointer(&list[0])), len(list))
		}
		before := int32(0)
		for c, end := range here[1:] {
			sum := sums[end-first]
			dst[j+c], before = sum-before, sum
		}
	}
}

func spillSum(a []byte, flip byte, spills []spill) (sum int32) {
	for i := range spills {
		s := &spills[i]
		sum += int32(a[2*int(s.at[0])]^flip)*int32(s.by[0]) + int32(a[2*int(s.at[1])]^flip)*int32(s.by[1])
	}
	return sum
}

// evenRows is how many rows kernels.evens takes, and evenStep of how many numbers of each a
// multiple.
const (
	evenRows = 8
	evenStep = 32
)

// evenColumns writes numbers of even k of some rows, with some bits flipped, as columns of words.
func (kern *kernels) evenColumns(dst []uint16, rows *[evenRows]*byte, depth int, flip byte) {
	steps := depth / evenStep
	if steps > 0 {
		kern.evens(&dst[0], &rows[0], steps, uint64(flip))
	}
	for r, row := range rows {
		for k := steps * evenStep; k < depth; k += 2 {
			dst[k/2*spillRows+r] = uint16(*(*byte)(unsafe.Add(unsafe.Pointer(row), k)) ^ flip)
		}
	}
}
