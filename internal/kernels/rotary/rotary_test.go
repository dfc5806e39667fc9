package rotary

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/salver-ml/salver/internal/kernels/kerneltest"
)

func numbers(rng *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return v
}

// All levels give the bits of the definition, in place or not, and write nothing else.
func TestTurn(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 1))
		for _, heads := range []int{1, 2, 5} {
			for _, n := range []int{0, 1, 3, 8, 12, 16, 32, 64} {
				for _, rest := range []int{0, 1, 16} {
					for _, interleaved := range []bool{false, true} {
						width := 2*n + rest
						if width == 0 {
							continue
						}
						x, cos, sin := numbers(rng, heads*width), numbers(rng, n), numbers(rng, n)
						x[0] = float32(math.Inf(1))
						want := slices.Clone(x)
						for h := range heads {
							for i := range n {
								j, k := h*width+i, h*width+i+n
								if interleaved {
									j, k = h*width+2*i, h*width+2*i+1
								}
								want[j] = float32(x[j]*cos[i]) - float32(x[k]*sin[i])
								want[k] = float32(x[k]*cos[i]) + float32(x[j]*sin[i])
							}
						}
						y := make([]float32, heads*width+1)
						y[heads*width] = 7
						Turn(y, x, cos, sin, heads, interleaved)
						Turn(x, x, cos, sin, heads, interleaved)
						name := fmt.Sprintf("%d heads, %d pairs and %d, interleaved %v", heads, n, rest, interleaved)
						if !slices.Equal(y[:heads*width], want) || y[heads*width] != 7 {
							t.Errorf("%s: got %v, expected %v", name, y, want)
						}
						if !slices.Equal(x, want) {
							t.Errorf("%s, in place: got %v, expected %v", name, x, want)
						}
					}
				}
			}
		}
	})
}

func BenchmarkTurn(b *testing.B) {
	rng := rand.New(rand.NewPCG(2, 2))
	x, cos, sin := numbers(rng, 32*64), make([]float32, 32), make([]float32, 32)
	for i := range cos {
		s, c := math.Sincos(float64(i))
		cos[i], sin[i] = float32(c), float32(s)
	}
	for name, interleaved := range map[string]bool{"halves": false, "interleaved": true} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(4 * int64(len(x)))
			for b.Loop() {
				Turn(x, x, cos, sin, 32, interleaved)
			}
		})
	}
}
