package attn

import (
	"fmt"
	"math"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/kerneltest"
	"github.com/salver-ml/salver/internal/kernels/mma"
)

// TestStreamedBits: tiles give the bits of the portable kernels.
func TestStreamedBits(t *testing.T) {
	if !mma.Available() {
		t.Skip("no tiles")
	}
	for _, s := range []struct{ h, m, n, d, dv int }{
		{1, 1, 1, 1, 1}, {1, 3, 64, 32, 32}, {2, 17, 65, 33, 31}, {1, 32, 128, 64, 64}, {1, 33, 129, 96, 70}, {1, 16, 200, 64, 64}, {1, 2, 2100, 5, 3}, {1, 40, 100, 128, 128},
	} {
		for _, masked := range []bool{false, true} {
			t.Run(fmt.Sprint(s, masked), func(t *testing.T) {
				p := heads(t, 1, s.h, s.m, s.n, s.d, s.dv)
				p.BF16, p.Scale = true, 3
				if masked {
					p.Mask = Mask{Data: kerneltest.Floats(t, s.n, func(i int) float32 {
						if i%3 == 1 {
							return negInf
						}
						return -float32(i % 50)
					}), Col: 1}
				}
				got := run(t, p, nil)
				defer mma.Specify(cpu.Level())()
				defer cpu.Force(cpu.Generic)()
				for i, want := range run(t, p, nil) {
					if !kerneltest.Same(got[i], want) {
						t.Fatalf("element %d is %v, portable %v", i, got[i], want)
					}
				}
			})
		}
	}
}

// TestLargeScores: rows of which powers of two would overflow or vanish are computed
// relative to their largest score, and the others keep their bits.
func TestLargeScores(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		p := heads(t, 1, 2, 70, 600, 8, 8)
		p.BF16 = true
		want := run(t, p, nil)
		for j := range p.Q.Data {
			switch row := j / p.Q.Stride; {
			case row%7 == 2 || row > 60:
				p.Q.Data[j] *= 400
			case row%7 == 5:
				p.Q.Data[j] = 150 * float32(math.Copysign(1, float64(p.K.Data[j%8])))
			}
		}
		exact := reference(p)
		for i, x := range run(t, p, nil) {
			row := i / p.O.Stride
			changed := row%7 == 2 || row > 60 || row%7 == 5
			if !changed && !kerneltest.Same(x, want[i]) {
				t.Fatalf("row %d beside large scores: element %d is %v, alone %v", row, i, x, want[i])
			}
			if changed && !(math.Abs(float64(x)-exact[i]) < .3) { // scores are off by more than 1
				t.Fatalf("row %d: element %d is %v, want %v", row, i, x, exact[i])
			}
		}
		p.Mask = Mask{Data: make([]float32, 1)}
		p.Mask.Data[0] = -200 // of all keys
		for i, x := range run(t, p, nil) {
			if row := i / p.O.Stride; row%7 == 0 && row < 60 && !(math.Abs(float64(x-want[i])) < 1e-2) {
				t.Fatalf("row %d: all scores lower: element %d is %v, want %v", row, i, x, want[i])
			}
		}
	})
}

func TestExp2(t *testing.T) {
	for x := float32(-130); x < 130; x += 0.0103 {
		want := math.Exp2(float64(x))
		if want > math.MaxFloat32 {
			want = math.Inf(1)
		}
		got := float64(exp2(x))
		if want < 0x1p-126 {
			if got > 0x1.001p-126 {
				t.Fatalf("2^%v is %v, want zero", x, got)
			}
			continue
		}
		if got != want && !(math.Abs(got/want-1) < 1.1e-4) {
			t.Fatalf("2^%v is %v, want %v", x, got, want)
		}
	}
	for x, want := range map[float32]float32{0: 1, 1: 2, -3: .125, negInf: 0, float32(math.Inf(1)): float32(math.Inf(1)), 1e30: float32(math.Inf(1)), -1e30: 0, -1e-30: 1} {
		if got := exp2(x); got != want {
			t.Errorf("2^%v is %v, want %v", x, got, want)
		}
	}
	if x := exp2(nan); x == x {
		t.Errorf("2^NaN is %v", x)
	}
}
