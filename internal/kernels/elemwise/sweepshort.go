package elemwise

import "unsafe"

// shortRow is the length of a row below which the inputs that repeat are spread out
// first, so that functions run over blocks of many rows and not over a few elements.
const shortRow = 64

// shortBlock is sweepBlock where inputs are spread out: there are more registers to keep in the first cache.
const shortBlock = 1024

// spread decides how inputs are read where rows are short: dense ones and single numbers
// where they are, the others out of registers of their own.
func (s *Sweep) spread() {
	width, _ := s.row()
	if s.short = width < shortRow && s.n > width; !s.short {
		return
	}
	for k := range s.inputs {
		if s.need[k] != s.n && s.need[k] != 1 {
			s.spreadTo[k] = s.perSlot
			s.perSlot += sweepBlock
		}
	}
}

// doShort computes elements from lo to before hi.
func (s *Sweep) doShort(w *sweepSpace, memory []float32, lo, hi int) {
	var steps [maxInputs]int
	var c cursor
	for ; lo < hi; lo += shortBlock {
		n := min(hi-lo, shortBlock)
		at := s.seek(lo)
		s.gather(memory, at, n)
		for k := range s.inputs {
			steps[k], c.off[k] = 1, lo
			if s.need[k] == 1 && s.n > 1 {
				steps[k], c.off[k] = 0, 0
			}
		}
		s.block(w, memory, s.dst[lo:lo+n], &c, &steps)
	}
}

// gather spreads n elements of each input that must be, from a place on.
func (s *Sweep) gather(memory []float32, at cursor, n int) {
	for k := range s.inputs {
		to := s.spreadTo[k]
		if to < 0 {
			continue
		}
		x := s.operand(k, 0, s.need[k], 1)
		if s.isBool[k] {
			spreadInput(s.Broadcast, boolsOf(memory[to:][:sweepBlock])[:n], x.Bool, k, at)
		} else {
			spreadInput(s.Broadcast, memory[to:][:n], x.Float, k, at)
		}
	}
}

// spreadInput fills dst with what input k has for the elements from a place on: as many
// whole rows at once as follow each other along the dimension before the last.
func spreadInput[T any](b *Broadcast, dst, src []T, k int, c cursor) {
	last := len(b.dims) - 1
	width, along, down := b.dims[last], b.strides[last][k], b.strides[last-1][k]
	for len(dst) > 0 {
		from := src[c.off[k]+c.in*along:]
		rows := min(b.dims[last-1]-c.idx[last-1], len(dst)/width)
		if c.in > 0 || rows == 0 { // a part of a row
			n := min(width-c.in, len(dst))
			spreadRow(dst[:n], from, along)
			dst = dst[n:]
			if c.in += n; c.in == width {
				b.next(&c)
			}
			continue
		}
		spreadRows(dst[:rows*width], from, width, along, down)
		dst = dst[rows*width:]
		c.idx[last-1] += rows - 1
		c.off[k] += (rows - 1) * down
		b.next(&c)
	}
}

// spreadRows fills dst with rows of a width, each step down from the one before.
func spreadRows[T any](dst, src []T, width, along, down int) {
	if down == 0 { // all are the same
		spreadRow(dst[:width], src, along)
		for done := width; done < len(dst); done *= 2 {
			copy(dst[done:], dst[:done])
		}
		return
	}
	for at := 0; len(dst) > 0; at += down {
		spreadRow(dst[:width], src[at:], along)
		dst = dst[width:]
	}
}

// spreadOperand is n elements of an input that are spread out.
func (s *Sweep) spreadOperand(k int, memory []float32, n int) Operand {
	x := memory[s.spreadTo[k]:][:sweepBlock]
	if s.isBool[k] {
		return Operand{Bool: boolsOf(x)[:n], Step: 1}
	}
	return Operand{Float: x[:n], Step: 1}
}

// spreadRow fills a row, or a part of one, with the elements of a row or with the first.
func spreadRow[T any](dst, src []T, step int) {
	if step == 1 {
		copy(dst, src)
		return
	}
	x := src[0]
	for ; len(dst) >= 8; dst = dst[8:] {
		d := (*[8]T)(dst)
		d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7] = x, x, x, x, x, x, x, x
	}
	for i := range dst {
		dst[i] = x
	}
}

// boolsOf is a register as one of bool.
func boolsOf(x []float32) []bool {
	return unsafe.Slice((*bool)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}
