package elemwise

import "unsafe"

// shortRow is the length of a row below which the inputs that repeat are spread out
// first, so that functions run over blocks of many rows and not over a few elements.
const shortRow = 64

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
	for ; lo < hi; lo += sweepBlock {
		n := min(hi-lo, sweepBlock)
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

// gather spreads n elements from a place on.
func (s *Sweep) gather(memory []float32, c cursor, n int) {
	width, steps := s.row()
	for done := 0; done < n; {
		m := min(width-c.in, n-done)
		for k := range s.inputs {
			to := s.spreadTo[k]
			if to < 0 {
				continue
			}
			x := s.operand(k, c.off[k]+c.in*steps[k], m, steps[k])
			if s.isBool[k] {
				spreadRow(boolsOf(memory[to:][:sweepBlock])[done:done+m], x.Bool, x.Step)
			} else {
				spreadRow(memory[to+done:][:m], x.Float, x.Step)
			}
		}
		done += m
		if c.in += m; c.in == width {
			s.next(&c)
		}
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

func spreadRow[T any](dst, src []T, step int) {
	if step == 1 {
		for i, v := range src[:len(dst)] {
			dst[i] = v
		}
		return
	}
	for i := range dst {
		dst[i] = src[0]
	}
}

// boolsOf is a register as one of bool.
func boolsOf(x []float32) []bool {
	return unsafe.Slice((*bool)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}
