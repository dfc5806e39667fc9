package softmax

import (
	"math"
	"testing"

	"github.com/salver-ml/salver/internal/kernels/kerneltest"
	"github.com/salver-ml/salver/internal/pool"
)

// Rows that are computed side by side have the bits of rows alone.
func TestRowsSideBySide(t *testing.T) {
	p := pool.New(3)
	defer p.Close()
	kerneltest.Levels(t, func(t *testing.T) {
		for _, c := range [][3]int{{1000, 1, 1}, {1000, 2, 1}, {17, 3, 1}, {40000, 4, 1}, {300, 16, 1}, {259, 31, 1}, {100, 32, 1}, {500, 47, 1}, {70, 64, 1}, {3, 5, 16}, {2, 19, 1000}, {1, 32, 333}, {2, 33, 100}, {1, 97, 77}, {2, 128, 500}} {
			outer, n, inner := c[0], c[1], c[2]
			x := kerneltest.Floats(t, outer*n*inner, nil)
			for i := range x {
				x[i] = float32(math.Sin(float64(i*i))) * float32(i%40)
			}
			x[0] = float32(math.Inf(1))
			x[len(x)/2] = float32(math.NaN())
			for k := range n { // the last row
				x[len(x)-1-k*inner] = float32(math.Inf(-1))
			}
			for _, kind := range []Kind{Plain, Log} {
				for _, pl := range []*pool.Pool{nil, p} {
					checkSides(t, run(t, kind, c[:], 1, x, pl), x, kind, outer, n, inner)
				}
			}
		}
	})
}

func checkSides(t *testing.T, got, x []float32, kind Kind, outer, n, inner int) {
	line, want := make([]float32, n), make([]float32, n)
	for o := range outer {
		for c := range inner {
			for k := range n {
				line[k] = x[(o*n+k)*inner+c]
			}
			if kind == Log {
				logRow(want, line, make([]float32, blockLen))
			} else {
				row(want, line)
			}
			for k, w := range want {
				if g := got[(o*n+k)*inner+c]; g != w && (g == g || w == w) {
					t.Fatalf("%d × %d × %d, kind %d, row %d, column %d, element %d of %v: %v, alone %v", outer, n, inner, kind, o, c, k, line, g, w)
				}
			}
		}
	}
}
