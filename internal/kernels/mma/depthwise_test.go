package mma

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/salver-ml/salver/internal/mmap/guard"
)

func TestDepthwiseIsItsTwin(t *testing.T) {
	k := needTiles(t)
	rng := rand.New(rand.NewPCG(17, 18))
	for i := range 300 {
		side := guard.Side(i & 1)
		noise := func(n int) unsafe.Pointer {
			s := guard.Slice[float32](t, n, side)
			for j := range s {
				s[j] = floats(rng, i%4)
			}
			return unsafe.Pointer(&s[0])
		}
		taps := make([]int, 1+rng.IntN(9))
		for j := range taps {
			taps[j] = 64 * rng.IntN(20)
		}
		taps[0] = 64 * 19
		step := 16 * (1 + rng.IntN(3))
		d := Depthwise{Weights: noise(16 * len(taps)), Bias: noise(16), Taps: unsafe.Pointer(&taps[0]), Count: len(taps), N: 1 + rng.IntN(50), Step: 4 * step, Rows: 1 + rng.IntN(3),
			Lo: -.5, Hi: .75, BF16: rng.IntN(2) == 0}
		if rng.IntN(2) == 0 {
			d.Lo, d.Hi = float32(math.Inf(-1)), float32(math.Inf(1))
		}
		rowStep := 16 * rng.IntN(60)
		d.RowStep = 4 * rowStep
		d.Src = noise((d.Rows-1)*rowStep + (d.N-1)*step + 20*16)
		size := 4
		if d.BF16 {
			size = 2
		}
		d.RowGap = 16 * size * rng.IntN(3)
		bytes := 16*size*d.N*d.Rows + (d.Rows-1)*d.RowGap
		got, want := guard.Slice[byte](t, bytes, side), make([]byte, bytes)
		d.Dst = unsafe.Pointer(&got[0])
		k.Depthwise(&d)
		d.Dst = unsafe.Pointer(&want[0])
		portable.Depthwise(&d)
		for j := 0; j < len(want); j += size {
			var g, w uint32
			if d.BF16 {
				g, w = uint32(*(*uint16)(unsafe.Pointer(&got[j])))<<16, uint32(*(*uint16)(unsafe.Pointer(&want[j])))<<16
			} else {
				g, w = *(*uint32)(unsafe.Pointer(&got[j])), *(*uint32)(unsafe.Pointer(&want[j]))
			}
			if g != w && !(isNaN(g) && isNaN(w)) {
				t.Fatalf("case %d, %+v: number %d is %#x, want %#x", i, d, j/size, g, w)
			}
		}
	}
}

func TestWiden(t *testing.T) {
	k := needTiles(t)
	src := guard.Slice[uint16](t, 1<<16, guard.End)
	for i := range src {
		src[i] = uint16(i)
	}
	for n := range 40 {
		side, left, right, rows, gap := guard.Side(n&1), n%3, n%4, 1+n%5, 16*(n%2)
		step := 16*n + gap
		from := src[len(src)-(rows*step-gap):]
		got, want := guard.Slice[float32](t, 16*rows*(left+n+right), side), make([]float32, 16*rows*(left+n+right))
		k.Widen(got, from, left, n, right, rows, step)
		portable.Widen(want, from, left, n, right, rows, step)
		for i := range want {
			if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
				t.Fatalf("%d rows of %d pixels, number %d: %v, want %v", rows, n, i, got[i], want[i])
			}
		}
	}
	got := make([]float32, 1<<16)
	k.Widen(got, src, 0, 1<<12, 0, 1, 0)
	for i, g := range got {
		if math.Float32bits(g) != uint32(i)<<16 {
			t.Fatalf("%#x is widened to %#x", i, math.Float32bits(g))
		}
	}
}

// TestDepthwiseLayout holds Depthwise to the offsets in the generator.
func TestDepthwiseLayout(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("no assembly for this word size")
	}
	var d Depthwise
	for i, got := range []uintptr{
		unsafe.Offsetof(d.Src), unsafe.Offsetof(d.Dst), unsafe.Offsetof(d.Weights), unsafe.Offsetof(d.Bias), unsafe.Offsetof(d.Taps),
		unsafe.Offsetof(d.Count), unsafe.Offsetof(d.N), unsafe.Offsetof(d.Step), unsafe.Offsetof(d.form), unsafe.Offsetof(d.Lo), unsafe.Offsetof(d.Rows), unsafe.Offsetof(d.RowStep), unsafe.Offsetof(d.RowGap),
	} {
		if got != uintptr(8*i) {
			t.Errorf("field %d of Depthwise is at %d, the assembly expects %d", i, got, 8*i)
		}
	}
}
