// Package split cuts an operator's work into chunks. The number of chunks
// depends on the work alone, never on the number of threads.
package split

// Most is the largest number of chunks that one operator is cut into.
const Most = 64

// Parts is the number of chunks for a number of units of work of which at
// least grain make a chunk; one chunk runs on the calling thread.
func Parts(units, grain int) int {
	if grain < 1 {
		grain = 1
	}
	return min(max(units/grain, 1), Most)
}

// Range gives the units [lo, hi) of chunk i out of parts. Chunks differ by at
// most one unit.
func Range(units, parts, i int) (lo, hi int) {
	return units * i / parts, units * (i + 1) / parts
}

// Aligned is Range with boundaries at multiples of align, except the last.
func Aligned(units, align, parts, i int) (lo, hi int) {
	blocks := (units + align - 1) / align
	lo, hi = Range(blocks, parts, i)
	return min(lo*align, units), min(hi*align, units)
}

// Errors are those of an operator's chunks.
type Errors [Most]error

// First gives the error of the first chunk that has one, and forgets all.
func (e *Errors) First() error {
	for _, err := range e {
		if err != nil {
			clear(e[:])
			return err
		}
	}
	return nil
}
