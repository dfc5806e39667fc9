package mma

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/salver-ml/salver/internal/mmap/guard"
)

// newConv makes a convolution of which every operand ends, or begins, where memory does,
// and gives the bytes of its results.
func newConv(t *testing.T, rng *rand.Rand, side guard.Side, kind int) (*Conv, []byte) {
	fill := func(n int) []float32 {
		s := guard.Slice[float32](t, n, side)
		for i := range s {
			s[i] = floats(rng, kind)
		}
		return s
	}
	numbers := func(n int, bf16 bool) unsafe.Pointer {
		if !bf16 {
			return unsafe.Pointer(&fill(n)[0])
		}
		return unsafe.Pointer(&halves(t, rng, n, kind, side)[0])
	}
	size := func(bf16 bool) int { return 4 - int(bit(bf16, 2)) }
	height, tiles := 1+rng.IntN(32), 1+rng.IntN(3)
	run := tiles*height - rng.IntN(height)
	if tiles == 1 {
		run = height
	}
	x := &Conv{Steps: 1 + rng.IntN(12), Panels: 1 + rng.IntN(3), Narrow: rng.IntN(2), Lo: -.5, Hi: .75, Count: tiles,
		BF16: rng.IntN(2) == 0, ResidualBF16: rng.IntN(2) == 0, ResidualLast: rng.IntN(2) == 0, Ahead: rng.IntN(2) == 0}
	x.Silu = x.BF16 && rng.IntN(3) == 0
	x.ResidualLast = x.ResidualLast || x.Silu
	step := StepBytes >> rng.IntN(2)
	x.Configure(NewConfigs(step), height)
	x.LDA = step * (1 + rng.IntN(3))
	offsets := make([]int, x.Steps)
	for i := range offsets {
		offsets[i] = 32 * rng.IntN(40)
	}
	x.Offsets = unsafe.Pointer(&offsets[0])
	x.A = numbers(((run-1)*x.LDA+step+32*39)/2, true)
	x.B = numbers(x.Panels*x.Steps*StepB/2, true)
	x.Bias = unsafe.Pointer(&fill(Cols * x.Panels)[0])
	x.Sums = unsafe.Pointer(&guard.Slice[byte](t, StripSums, side)[0])
	blocks := 2*x.Panels - x.Narrow
	pixels, stride := run+rng.IntN(3), 1+rng.IntN(2)
	plane := 16 * pixels * stride
	x.LDC, x.HalfC, x.PanelC = 16*stride*size(x.BF16), plane*size(x.BF16), 2*plane*size(x.BF16)
	c := guard.Slice[byte](t, (blocks*plane-16*(stride-1))*size(x.BF16), side)
	x.Dst = unsafe.Pointer(&c[0])
	if rng.IntN(2) == 0 {
		x.LDR, x.HalfR, x.PanelR = 16*stride*size(x.ResidualBF16), plane*size(x.ResidualBF16), 2*plane*size(x.ResidualBF16)
		x.Residual = numbers(blocks*plane-16*(stride-1), x.ResidualBF16)
	}
	table, pieces := make([]ConvTile, tiles), []Piece(nil)
	for i := range table {
		start, row, end := min(i*height, run-height), i*height, min((i+1)*height, run)
		table[i] = ConvTile{A: start * x.LDA, Pieces: len(pieces) * PieceBytes}
		for row < end { // some rows are dropped, the last one never
			n := 1 + rng.IntN(end-row)
			pieces = append(pieces, Piece{Skip: (row - start) * 4 * Cols, Rows: n, C: row * x.LDC, R: row * x.LDR})
			if row += n + rng.IntN(3); row > end {
				row = end
			}
			table[i].Count++
		}
	}
	x.Tiles, x.Pieces = &table[0], &pieces[0]
	return x, c
}

func TestConvIsItsTwin(t *testing.T) { eachKernels(t, convIsItsTwin) }

func convIsItsTwin(t *testing.T, k, portable *Kernels) {
	rng := rand.New(rand.NewPCG(17, 18))
	for i := range cases(300) {
		x, c := newConv(t, rng, guard.Side(i&1), i%4)
		b := view[byte](x.B, x.Panels*x.Steps*StepB)
		twin := *x
		if left := x.Fetch(b); len(left)%NextRun != 0 {
			t.Fatalf("%d bytes are left to fetch", len(left))
		}
		k.Conv(x)
		if x.nextRuns != 0 {
			t.Fatalf("case %d, %+v: %d runs were not fetched", i, *x, x.nextRuns)
		}
		got := append([]byte(nil), c...)
		clear(c)
		portable.Conv(&twin)
		for j := range c {
			if got[j] != c[j] && !x.isClose(got, c, j) {
				t.Fatalf("case %d, %+v: byte %d is %#x, want %#x", i, *x, j, got[j], c[j])
			}
		}
	}
}

// isClose reports whether byte i is of a NaN in both results, or of SiLU near enough.
func (x *Conv) isClose(a, b []byte, i int) bool {
	number := func(c []byte) float64 {
		if x.BF16 {
			return float64(Widen(*(*uint16)(unsafe.Pointer(&c[i&^1]))))
		}
		return float64(*(*float32)(unsafe.Pointer(&c[i&^3])))
	}
	p, q := number(a), number(b)
	return p != p && q != q || x.Silu && math.Abs(p-q) <= math.Abs(q)/128+1e-3
}

// TestConvLayout holds Conv to the offsets in the generator.
func TestConvLayout(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("no assembly for this word size")
	}
	var x Conv
	for i, got := range []uintptr{
		unsafe.Offsetof(x.A), unsafe.Offsetof(x.LDA), unsafe.Offsetof(x.Offsets), unsafe.Offsetof(x.Steps), unsafe.Offsetof(x.B), unsafe.Offsetof(x.Panels),
		unsafe.Offsetof(x.Tiles), unsafe.Offsetof(x.Count), unsafe.Offsetof(x.Pieces), unsafe.Offsetof(x.Sums), unsafe.Offsetof(x.next), unsafe.Offsetof(x.nextRuns),
		unsafe.Offsetof(x.stepRuns), unsafe.Offsetof(x.config), unsafe.Offsetof(x.Dst), unsafe.Offsetof(x.LDC), unsafe.Offsetof(x.HalfC), unsafe.Offsetof(x.PanelC),
		unsafe.Offsetof(x.Residual), unsafe.Offsetof(x.LDR), unsafe.Offsetof(x.HalfR), unsafe.Offsetof(x.PanelR), unsafe.Offsetof(x.Bias), unsafe.Offsetof(x.Narrow),
		unsafe.Offsetof(x.flags), unsafe.Offsetof(x.stepRows), unsafe.Offsetof(x.Lo),
	} {
		if got != uintptr(8*i) {
			t.Errorf("field %d of Conv is at %d, the assembly expects %d", i, got, 8*i)
		}
	}
}
