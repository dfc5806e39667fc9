//go:build amd64 && !noasm

package mma

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/mmap/guard"
)

// TestManySteps has more steps than a call of vectors takes, where steps have places of
// their own and where they follow each other.
func TestManySteps(t *testing.T) {
	eachKernels(t, func(t *testing.T, k, twin *Kernels) {
		rng := rand.New(rand.NewPCG(19, 20))
		steps := 2*dotSteps + 3
		for i := range 4 {
			p := newProduct(t, rng, 1+rng.IntN(15), steps, 1, guard.Side(i&1))
			for _, s := range [][]byte{p.a, p.b} {
				for j := 0; j+2 <= len(s); j += 2 {
					*(*uint16)(unsafe.Pointer(&s[j])) = Round(float32(rng.NormFloat64()))
				}
			}
			for j := 0; j+4 <= len(p.c); j += 4 {
				*(*float32)(unsafe.Pointer(&p.c[j])) = float32(rng.NormFloat64())
			}
			p.compare(t, k, twin)

			var got, want [2 * StripSums / 8]float32
			sums := make([]float32, StripSums/4)
			for _, r := range []struct {
				k   *Kernels
				dst *float32
			}{{k, &got[0]}, {twin, &want[0]}} {
				s := Strip{A: p.A, LDA: p.LDA, StepA: StepBytes, B: p.B, Steps: steps, Panels: 1, RowTiles: &RowTile{Rows: p.rows}, Tiles: 1, Sums: unsafe.Pointer(&sums[0]),
					Dst: unsafe.Pointer(r.dst), LDC: 4 * Cols, Columns: Cols, Alpha: 1}
				s.SetRows(p.rows)
				s.Fetch(p.b[:steps*NextRun/2/NextRun*NextRun])
				r.k.Strip(&s)
			}
			for j := range got {
				if math.Float32bits(got[j]) != math.Float32bits(want[j]) {
					t.Fatalf("strip of %d rows: element %d is %v, want %v", p.rows, j, got[j], want[j])
				}
			}
		}
	})
}

// TestDotsLayout holds dots to the offsets in the generator.
func TestDotsLayout(t *testing.T) {
	var d dots
	for i, got := range []uintptr{
		unsafe.Offsetof(d.a), unsafe.Offsetof(d.b), unsafe.Offsetof(d.c), unsafe.Offsetof(d.offsets), unsafe.Offsetof(d.stepA), unsafe.Offsetof(d.steps), unsafe.Offsetof(d.lda),
		unsafe.Offsetof(d.ldc), unsafe.Offsetof(d.rows), unsafe.Offsetof(d.pairs), unsafe.Offsetof(d.add), unsafe.Offsetof(d.next), unsafe.Offsetof(d.nextRuns), unsafe.Offsetof(d.fetches), unsafe.Offsetof(d.group),
	} {
		if got != uintptr(8*i) {
			t.Errorf("field %d of dots is at %d, the assembly expects %d", i, got, 8*i)
		}
	}
}

// TestFastBF16: where vectors are said to be fast, they are there.
func TestFastBF16(t *testing.T) {
	if f := cpu.Has(); f.FastBF16 && !(f.AVX512BF16 && Available()) {
		t.Errorf("%+v, and products of bfloat16 are available: %v", f, Available())
	}
}
