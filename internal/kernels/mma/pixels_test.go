package mma

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/salver-ml/salver/internal/mmap/guard"
)

// halves makes numbers of bfloat16, odd ones among them.
func halves(t testing.TB, rng *rand.Rand, n, kind int, side guard.Side) []uint16 {
	s := guard.Slice[uint16](t, n, side)
	for i := range s {
		s[i] = Round(floats(rng, kind))
	}
	return s
}

func TestPixelsIsItsTwin(t *testing.T) {
	k := needTiles(t)
	rng := rand.New(rand.NewPCG(13, 14))
	for i := range 600 {
		rows, blocks, side := 1+rng.IntN(33), 1+rng.IntN(2), guard.Side(i&1)
		src := make([]float32, Cols*rows)
		for j := range src {
			src[j] = floats(rng, i%4)
		}
		p := Pixels{Src: unsafe.Pointer(&src[0]), LDS: 4 * Cols, Rows: rows, Mask: 1<<(16*blocks) - 1, Lo: -.5, Hi: .75, BF16: rng.IntN(2) == 0, ResidualBF16: rng.IntN(2) == 0}
		if rng.IntN(3) == 0 {
			p.Lo, p.Hi = float32(math.Inf(-1)), float32(math.Inf(1))
		}
		// plane is some blocks of pixels, each a step from the next.
		plane := func(bf16 bool) (at unsafe.Pointer, ld, half, size int) {
			bytes, step := 64, 1+rng.IntN(3)
			if bf16 {
				bytes = 32
			}
			ld, half = step*bytes, rows*step*bytes+bytes*rng.IntN(2)
			size = (blocks-1)*half + (rows-1)*ld + bytes
			s := guard.Slice[byte](t, size, side)
			for j := 0; j < size; j += bytes / 16 {
				if x := floats(rng, i%4); bf16 {
					*(*uint16)(unsafe.Pointer(&s[j])) = Round(x)
				} else {
					*(*float32)(unsafe.Pointer(&s[j])) = x
				}
			}
			return unsafe.Pointer(&s[0]), ld, half, size
		}
		if rng.IntN(3) > 0 {
			p.Residual, p.LDR, p.HalfR, _ = plane(p.ResidualBF16)
		}
		if rng.IntN(3) > 0 {
			s := guard.Slice[float32](t, 16*blocks, side)
			for j := range s {
				s[j] = floats(rng, i%4)
			}
			p.Bias = unsafe.Pointer(&s[0])
		}
		var size int
		p.Dst, p.LDC, p.HalfC, size = plane(p.BF16)
		k.Pixels(&p)
		got := append([]uint16(nil), view[uint16](p.Dst, size/2)...)
		portable.Pixels(&p)
		want := view[uint16](p.Dst, size/2)
		for j := range want {
			same := got[j] == want[j]
			if p.BF16 {
				same = same || isNaN(uint32(got[j])<<16) && isNaN(uint32(want[j])<<16)
			} else {
				word := j &^ 1
				same = same || isNaN(uint32(got[word])|uint32(got[word+1])<<16) && isNaN(uint32(want[word])|uint32(want[word+1])<<16)
			}
			if !same {
				t.Fatalf("case %d, %+v: 16 bits at %d are %#x, want %#x", i, p, j, got[j], want[j])
			}
		}
	}
}

func TestHalvesAndMaximumAreTheirTwins(t *testing.T) {
	k := needTiles(t)
	rng := rand.New(rand.NewPCG(15, 16))
	for n := 1; n <= 70; n++ {
		side := guard.Side(n & 1)
		step := 16 * (1 + rng.IntN(3))
		lo, hi := halves(t, rng, (n-1)*step+16, n%4, side), halves(t, rng, (n-1)*step+16, n%4, side)
		if n%3 == 0 {
			hi = nil
		}
		got, want := guard.Slice[uint16](t, 32*n, side), make([]uint16, 32*n)
		k.Halves(got, lo, hi, n, step)
		portable.Halves(want, lo, hi, n, step)
		if at, ok := sameNumbers(got, want); !ok {
			t.Fatalf("halves, %d pixels: element %d is %#x, want %#x", n, at, got[at], want[at])
		}
		taps := make([]int, 1+rng.IntN(9))
		for i := range taps {
			taps[i] = 32 * rng.IntN(20)
		}
		taps[0] = 32 * 19
		src := halves(t, rng, (n-1)*step+20*16, 0, side)
		for i, x := range src {
			if isNaN(uint32(x) << 16) {
				src[i] = 0x8000
			}
		}
		got, want = guard.Slice[uint16](t, 16*n, side), make([]uint16, 16*n)
		k.Maximum(unsafe.Pointer(&got[0]), unsafe.Pointer(&src[0]), taps, n, 2*step)
		portable.Maximum(unsafe.Pointer(&want[0]), unsafe.Pointer(&src[0]), taps, n, 2*step)
		for i := range want {
			if Widen(got[i]) != Widen(want[i]) { // which zero is open
				t.Fatalf("maximum of %d windows: element %d is %#x, want %#x", n, i, got[i], want[i])
			}
		}
	}
}

// TestSilu takes all bfloat16 for the sum, and adds nothing.
func TestSilu(t *testing.T) {
	k := needTiles(t)
	src := guard.Slice[float32](t, 1<<16, guard.End)
	for i := range src {
		src[i] = Widen(uint16(i))
	}
	var bias [Cols]float32
	got := guard.Slice[uint16](t, 1<<16, guard.End)
	residual := guard.Slice[uint16](t, 1<<16, guard.End)
	p := Pixels{Src: unsafe.Pointer(&src[0]), LDS: 4 * Cols, Dst: unsafe.Pointer(&got[0]), LDC: 2 * Cols, HalfC: Cols, Bias: unsafe.Pointer(&bias[0]),
		Rows: len(src) / Cols, Mask: 1<<Cols - 1, BF16: true, Silu: true}
	for range 2 {
		k.Pixels(&p)
		for i, g := range got {
			x := float64(src[i])
			if math.IsNaN(x) || math.IsInf(x, 0) || math.Abs(x) < smallest {
				continue
			}
			want := x / (1 + math.Exp(-x))
			if y := float64(Widen(g)); math.Abs(y-want) > math.Abs(want)/256*1.06+1e-36 {
				t.Fatalf("silu(%g) is %g, want %g", x, y, want)
			}
		}
		p.Residual, p.LDR, p.HalfR, p.ResidualBF16 = unsafe.Pointer(&residual[0]), 2*Cols, Cols, true
	}
	if at := math.Float32bits(float32(math.Inf(1))) >> 16; got[at] != uint16(at) {
		t.Errorf("silu(∞) is %v", Widen(got[at]))
	}
}

// TestPixelsLayout holds Pixels to the offsets in the generator.
func TestPixelsLayout(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("no assembly for this word size")
	}
	var p Pixels
	for i, got := range []uintptr{
		unsafe.Offsetof(p.Src), unsafe.Offsetof(p.Dst), unsafe.Offsetof(p.Residual), unsafe.Offsetof(p.Bias), unsafe.Offsetof(p.LDC), unsafe.Offsetof(p.LDR),
		unsafe.Offsetof(p.HalfC), unsafe.Offsetof(p.HalfR), unsafe.Offsetof(p.Rows), unsafe.Offsetof(p.Mask), unsafe.Offsetof(p.form), unsafe.Offsetof(p.Lo), unsafe.Offsetof(p.LDS),
	} {
		if got != uintptr(8*i) {
			t.Errorf("field %d of Pixels is at %d, the assembly expects %d", i, got, 8*i)
		}
	}
}
