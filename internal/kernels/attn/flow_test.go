package attn

import (
	"fmt"
	"math"
	"testing"

	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/kernels/kerneltest"
	"github.com/salver-ml/salver/internal/kernels/softmax"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// TestFusedPowers: kernels that make powers of their products give the bits of those that
// are made of stored products.
func TestFusedPowers(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		var m gemm.Micro
		if m.Use(); !m.Powers() {
			t.Skip("products are stored")
		}
		for rows := 1; rows <= m.Rows(); rows++ {
			for _, n := range []int{1, 31, 32, 70} {
				const k = 37
				columns := tiling.Align(n, m.Width())
				b := gemm.Matrix{Data: kerneltest.Floats(t, k*n, nil), Stride: n}
				packed := make([]float32, m.PanelSize(k, n))
				m.Pack(packed, &b, k, n)
				bias := make([]float32, columns)
				fill(bias[n:])
				strip := func() (*gemm.Strip, []float32) {
					sums := kerneltest.Floats(t, rows*softmax.PowerSums, func(i int) float32 { return float32(i) })
					c := kerneltest.Floats(t, rows*columns, func(int) float32 { return nan })
					return &gemm.Strip{Rows: rows, N: columns, K: k, A: kerneltest.Floats(t, rows*k, nil), StrideA: k, B: packed,
						C: c, StrideC: columns, Alpha: 3, ColBias: bias}, sums
				}
				s, want := strip()
				m.Multiply(s)
				softmax.Powers(s.C, columns, columns, want)
				fused, got := strip()
				fused.Sums = got
				m.Multiply(fused)
				for i, x := range s.C {
					if !kerneltest.Same(x, fused.C[i]) {
						t.Fatalf("%d rows of %d, element %d is %v, want %v", rows, n, i, fused.C[i], x)
					}
				}
				for i, x := range want {
					if !kerneltest.Same(x, got[i]) {
						t.Fatalf("%d rows of %d, sum %d is %v, want %v", rows, n, i, got[i], x)
					}
				}
			}
		}
	})
}

// TestLargeScoresInFull is TestLargeScores in float32, where scores are exact enough for
// close bounds.
func TestLargeScoresInFull(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for _, trimmed := range []bool{false, true} {
			p := heads(t, 1, 2, 70, 600, 8, 8)
			if trimmed {
				p.Mask = Mask{Data: make([]float32, 600), Col: 1}
				fill(p.Mask.Data[:100])
				fill(p.Mask.Data[520:])
			}
			want := run(t, p, nil)
			large := func(row int) bool { return row%7 == 2 || row%7 == 5 || row > 60 }
			for j := range p.Q.Data {
				switch row := j / p.Q.Stride; {
				case row%7 == 2 || row > 60:
					p.Q.Data[j] *= 400
				case row%7 == 5:
					p.Q.Data[j] = 150 * float32(math.Copysign(1, float64(p.K.Data[100*16+j%8])))
				}
			}
			exact := reference(p)
			for i, x := range run(t, p, nil) {
				row := i / p.O.Stride
				if !large(row) && !kerneltest.Same(x, want[i]) {
					t.Fatalf("row %d beside large scores: element %d is %v, alone %v", row, i, x, want[i])
				}
				if !(math.Abs(float64(x)-exact[i]) < 1e-3) {
					t.Fatalf("row %d: element %d is %v, want %v", row, i, x, exact[i])
				}
			}
		}
	})
}

// TestLargeValues: weights stay so small that their products with values of 1e19 are finite.
func TestLargeValues(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for _, score := range []float32{-58, -41, 0, 36, 38, 50, 58, 85} {
			p := heads(t, 1, 1, 20, 70, 8, 8)
			clear(p.Q.Data)
			clear(p.K.Data)
			for i := 0; i < len(p.Q.Data); i += 8 {
				p.Q.Data[i] = score / p.Scale
			}
			for i := 0; i < len(p.K.Data); i += 8 {
				p.K.Data[i] = 1
			}
			for i := range p.V.Data {
				p.V.Data[i] *= 1e19
			}
			exact := reference(p)
			for i, x := range run(t, p, nil) {
				if !(math.Abs(float64(x)-exact[i]) < 1e14) {
					t.Fatalf("scores of %v: element %d is %v, want %v", score, i, x, exact[i])
				}
			}
		}
	})
}

// TestHiddenFromAll: rows whose only keys a large finite mask hides weigh those, and rows
// without keys are as the problem says.
func TestHiddenFromAll(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for _, hide := range []float32{-64, -3e38, negInf} {
			t.Run(fmt.Sprint(hide), func(t *testing.T) {
				p := heads(t, 3, 2, 20, 70, 8, 8)
				p.Mask = Mask{Data: make([]float32, 3*70), Col: 1, Steps: []int{70, 0}}
				for i := range p.Mask.Data {
					if i < 70 || i%70 >= 40 && i < 140 {
						p.Mask.Data[i] = hide
					}
				}
				check(t, p)
				p.ZeroMasked = true
				check(t, p)
			})
		}
	})
}
