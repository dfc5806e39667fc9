package mma

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/salver-ml/salver/internal/mmap/guard"
)

// newStrip makes a strip of which every operand ends, or begins, where memory does, and
// gives the bytes of its results.
func newStrip(t *testing.T, rng *rand.Rand, side guard.Side, kind int) (*Strip, []byte) {
	fill := func(n int) []float32 {
		s := guard.Slice[float32](t, n, side)
		for i := range s {
			s[i] = floats(rng, kind)
		}
		return s
	}
	halves := func(bytes int) unsafe.Pointer {
		s := guard.Slice[uint16](t, bytes/2, side)
		for i := range s {
			s[i] = uint16(math.Float32bits(floats(rng, kind)) >> 16)
		}
		return unsafe.Pointer(&s[0])
	}
	height, tiles, overlap := 1+rng.IntN(32), 1+rng.IntN(3), 0
	if tiles > 1 {
		overlap = rng.IntN(height)
	}
	rows := tiles*height - overlap
	s := &Strip{Steps: 1 + rng.IntN(12), Panels: 1 + rng.IntN(3), Tiles: tiles, Alpha: 1, Beta: 1, Slope: .25, Lo: -.5, Hi: .75,
		Half: rng.IntN(2) == 0, Leaky: rng.IntN(2) == 0, Clip: rng.IntN(2) == 0}
	s.SetRows(height)
	s.Columns = (s.Panels-1)*Cols + 1 + rng.IntN(Cols)
	s.StepA, s.LDA = StepBytes, s.Steps*StepBytes+2*rng.IntN(40)
	s.A = halves((rows-1)*s.LDA + s.Steps*StepBytes)
	s.B = halves(s.Panels * s.Steps * StepB)
	s.Sums = unsafe.Pointer(&guard.Slice[byte](t, StripSums, side)[0])
	size := 4
	if s.Half {
		size = 2
	}
	stride := s.Columns + rng.IntN(5)
	s.LDC, s.PanelC = size*stride, size*Cols
	c := guard.Slice[byte](t, size*((rows-1)*stride+s.Columns), side)
	s.Dst = unsafe.Pointer(&c[0])
	if rng.IntN(2) == 0 {
		stride := s.Columns + rng.IntN(5)
		s.Residual, s.LDR, s.Beta = unsafe.Pointer(&fill((rows-1)*stride + s.Columns)[0]), 4*stride, .7
	}
	if rng.IntN(2) == 0 {
		s.ColBias = unsafe.Pointer(&fill(s.Columns)[0])
	}
	if rng.IntN(2) == 0 {
		s.RowBias, s.Alpha = unsafe.Pointer(&fill(rows)[0]), .3
	}
	table := make([]RowTile, tiles)
	for i := range table {
		start, row := i*height, i*height
		if i == tiles-1 {
			start = rows - height
		}
		table[i] = RowTile{A: start * s.LDA, Rows: min(height, rows-row), Skip: (row - start) * 4 * Cols, C: row * s.LDC, R: row * s.LDR, Row: 4 * row}
	}
	s.RowTiles = &table[0]
	return s, c
}

func TestStripIsItsTwin(t *testing.T) { eachKernels(t, stripIsItsTwin) }

func stripIsItsTwin(t *testing.T, k, portable *Kernels) {
	rng := rand.New(rand.NewPCG(13, 14))
	for i := range cases(150) {
		s, c := newStrip(t, rng, guard.Side(i&1), i%4)
		b := view[byte](s.B, s.Panels*s.Steps*StepB)
		twin := *s
		s.Fetch(b)
		k.Strip(s)
		if left := s.Fetched(b); len(left)%NextRun != 0 {
			t.Fatalf("%d bytes are left to fetch", len(left))
		}
		got := append([]byte(nil), c...)
		clear(c)
		portable.Strip(&twin)
		for j := range c {
			if got[j] != c[j] && !s.isNaN(got, c, j) {
				t.Fatalf("case %d, %+v: byte %d is %#x, want %#x", i, *s, j, got[j], c[j])
			}
		}
	}
}

// isNaN reports whether byte i is of a NaN in both results.
func (s *Strip) isNaN(a, b []byte, i int) bool {
	nan := func(c []byte) bool {
		if s.Half {
			return isNaN(uint32(*(*uint16)(unsafe.Pointer(&c[i&^1]))) << 16)
		}
		return isNaN(*(*uint32)(unsafe.Pointer(&c[i&^3])))
	}
	return nan(a) && nan(b)
}

// TestStripInParts cuts sums along K.
func TestStripInParts(t *testing.T) { eachKernels(t, stripInParts) }

func stripInParts(t *testing.T, k, _ *Kernels) {
	rng := rand.New(rand.NewPCG(15, 16))
	for i := range 20 {
		s, c := newStrip(t, rng, guard.Side(i&1), 0)
		s.Panels, s.Tiles, s.Columns = 1, 1, min(s.Columns, Cols)
		clear(c)
		k.Strip(s)
		want := string(c)
		clear(c)
		steps, a, b := s.Steps, s.A, s.B
		for at := 0; at < steps; at += 3 {
			s.A, s.B, s.Steps = unsafe.Add(a, at*s.StepA), unsafe.Add(b, at*StepB), min(3, steps-at)
			s.Resume, s.Hold = at > 0, at+s.Steps < steps
			k.Strip(s)
		}
		if string(c) != want {
			t.Fatalf("case %d: in parts the result is another", i)
		}
	}
}
