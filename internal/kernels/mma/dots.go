//go:build amd64 && !noasm

package mma

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// A dots multiplies neighbouring rows of A by one panel, in vector registers. The
// assembly knows the offsets of its fields, and changes some.
type dots struct {
	a, b, c  unsafe.Pointer
	offsets  unsafe.Pointer // as those of Block; nil: steps are stepA bytes apart
	stepA    int
	steps    int
	lda, ldc int
	rows     int
	pairs    int            // of k in a step
	add      int            // 1: add to c
	next     unsafe.Pointer // what is fetched into the second-level cache, or nil
	nextRuns int            // of 512 bytes, that a step fetches of it
	fetches  int            // steps that do, at least 1
	group    int            // rows whose sums are in registers together
}

const (
	// dotSteps bounds the steps of a call of 32 rows: 30 µs on Zen 5, 60 on Zen 4.
	dotSteps = 256
	// dotRows is the most rows of a group.
	dotRows = 12
)

// multiply does it, for 16 columns where narrow, in calls that may be preempted between.
func (d dots) multiply(narrow bool) {
	d.group = tiling.Ceil(d.rows, tiling.Ceil(d.rows, dotRows))
	for left := d.steps; left > 0; left -= dotSteps {
		call := d
		call.steps = min(left, dotSteps)
		if narrow {
			dots512x16((*byte)(unsafe.Pointer(&call)))
		} else {
			dots512x32((*byte)(unsafe.Pointer(&call)))
		}
		if left <= dotSteps {
			return
		}
		d.b, d.add = unsafe.Add(d.b, dotSteps*StepB), 1
		if d.offsets != nil {
			d.offsets = unsafe.Add(d.offsets, dotSteps*unsafe.Sizeof(0))
		} else {
			d.a = unsafe.Add(d.a, dotSteps*d.stepA)
		}
		d.fetched(dotSteps)
	}
}

// fetch makes so many steps, if any, fetch some of next.
func (d *dots) fetch(next unsafe.Pointer, steps int) {
	if d.next, d.fetches = next, steps; steps <= 0 {
		d.next = nil
	}
}

// fetched goes on after so many steps.
func (d *dots) fetched(steps int) {
	if d.next != nil && d.fetches > steps {
		d.fetch(unsafe.Add(d.next, steps*d.nextRuns*NextRun), d.fetches-steps)
	} else {
		d.next = nil // pointers never leave what they point to
	}
}

// from makes d begin at the row whose sums are skip bytes after those of the first.
func (d *dots) from(a, sums unsafe.Pointer, skip, rows int) {
	d.a, d.c, d.rows = unsafe.Add(a, skip/rowSums*d.lda), unsafe.Add(sums, skip), rows
}

// rowSums is the bytes of a row of a panel's sums.
const rowSums = 4 * Cols

// blockDots computes a *Block.
func blockDots(t *byte) {
	b := (*Block)(unsafe.Pointer(t))
	d := dots{offsets: b.Offsets, steps: b.Steps, lda: b.LDA, ldc: b.LDC, rows: b.rows, pairs: b.words(), add: b.Add, nextRuns: b.nextRuns}
	if b.next != nil {
		d.fetch(b.next, b.Steps*b.Panels*b.Tiles)
	}
	for p := range b.Panels {
		narrow := b.columns(p) < Cols
		d.b = unsafe.Add(b.B, p*(b.Steps*StepB+b.SkipB))
		for tile := range b.Tiles {
			d.a, d.c = unsafe.Add(b.A, tile*b.TileA), unsafe.Add(b.C, p*b.PanelC+tile*b.TileC)
			d.multiply(narrow)
			d.fetched(b.Steps)
		}
	}
}

// allRows makes finishing go on to the end.
const allRows = 1 << 30

func stripDots(t *byte)     { (*Strip)(unsafe.Pointer(t)).dots(false) }
func stripGeluDots(t *byte) { (*Strip)(unsafe.Pointer(t)).dots(true) }

func (s *Strip) dots(gelu bool) {
	f := *s
	f.stepRows = allRows
	tiles := unsafe.Slice(s.RowTiles, s.Tiles)
	d := dots{stepA: s.StepA, steps: s.Steps, lda: s.LDA, ldc: rowSums, pairs: s.config.words(), add: int(bit(s.Resume, 1)), nextRuns: s.stepRuns}
	for p := range s.Panels {
		share := s.Steps * StepB / NextRun
		for i := range tiles {
			tile := &tiles[i]
			d.from(unsafe.Add(s.A, tile.A), s.Sums, tile.Skip, tile.Rows)
			d.b = unsafe.Add(s.B, p*s.Steps*StepB)
			fetches := min(s.Steps, min(share, s.nextRuns)/s.stepRuns)
			d.fetch(s.next, fetches)
			d.multiply(false)
			runs := fetches * s.stepRuns
			share, s.nextRuns = share-runs, s.nextRuns-runs
			s.next = after(s.next, s.nextRuns, runs)
			if s.Hold {
				continue
			}
			f.RowTiles = tile
			if gelu {
				finishStripGelu((*byte)(unsafe.Pointer(&f)))
			} else {
				finishStrip((*byte)(unsafe.Pointer(&f)))
			}
		}
		f.nextPanel()
	}
}

// nextPanel makes what is finished the next panel's.
func (s *Strip) nextPanel() {
	if s.Columns -= Cols; s.Columns <= 0 {
		return // pointers never leave what they point to
	}
	s.Dst = unsafe.Add(s.Dst, s.PanelC)
	if s.Residual != nil {
		s.Residual = unsafe.Add(s.Residual, 4*Cols)
	}
	if s.ColBias != nil {
		s.ColBias = unsafe.Add(s.ColBias, 4*Cols)
	}
}

// after is where what is left to fetch begins, nil if that is nothing.
func after(next unsafe.Pointer, left, runs int) unsafe.Pointer {
	if left == 0 {
		return nil
	}
	return unsafe.Add(next, runs*NextRun)
}

func convDots(t *byte)     { (*Conv)(unsafe.Pointer(t)).dots(false) }
func convSiluDots(t *byte) { (*Conv)(unsafe.Pointer(t)).dots(true) }

func (x *Conv) dots(silu bool) {
	f := *x
	f.stepRows, f.Panels = allRows, 1
	tiles := unsafe.Slice(x.Tiles, x.Count)
	d := dots{offsets: x.Offsets, steps: x.Steps, lda: x.LDA, ldc: rowSums, pairs: x.config.words(), nextRuns: max(x.stepRuns, 1)}
	for p := range x.Panels {
		narrow := p == x.Panels-1 && x.Narrow == 1
		f.Narrow = int(bit(narrow, 1))
		f.Dst, f.Bias = unsafe.Add(x.Dst, p*x.PanelC), unsafe.Add(x.Bias, 4*Cols*p)
		if x.Residual != nil {
			f.Residual = unsafe.Add(x.Residual, p*x.PanelR)
		}
		d.b = unsafe.Add(x.B, p*x.Steps*StepB)
		for i := range tiles {
			tile := &tiles[i]
			fetches := min(x.Steps, x.nextRuns/d.nextRuns)
			d.fetch(x.next, fetches)
			for _, piece := range unsafe.Slice((*Piece)(unsafe.Add(unsafe.Pointer(x.Pieces), tile.Pieces)), tile.Count) {
				d.from(unsafe.Add(x.A, tile.A), x.Sums, piece.Skip, piece.Rows)
				d.multiply(narrow)
				d.next = nil
			}
			runs := fetches * d.nextRuns
			x.nextRuns -= runs
			x.next = after(x.next, x.nextRuns, runs)
			f.Tiles = tile
			if silu {
				finishConvSilu((*byte)(unsafe.Pointer(&f)))
			} else {
				finishConv((*byte)(unsafe.Pointer(&f)))
			}
		}
	}
}
