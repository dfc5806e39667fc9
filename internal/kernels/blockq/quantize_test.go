package blockq

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/kernels/kerneltest"
	"github.com/salver-ml/salver/internal/pool"
)

// TestQuantizeAsPortable compares all that there is of rows with what the portable kernel
// makes of each, for tiles of all sizes, in rows that are ordinary, zero, infinite, no numbers
// and of blocks of all magnitudes.
func TestQuantizeAsPortable(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for _, k := range []int{32, 64, 256, 288, 512, 5632} {
			for _, m := range []int{1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 16, 20, 24, 33} {
				stride := k + 3
				x := noise(m*stride, uint64(m*k))
				for i := range x {
					row, b := i/stride, i%stride/groupSize
					switch row % 7 {
					case 1:
						x[i] = 0
					case 2:
						x[i] = float32(math.Ldexp(float64(x[i]), -b*7%30))
					case 3:
						x[i] = float32(math.Ldexp(float64(x[i]), -90-b))
					}
					if i%stride == k-5 && row%7 == 4 {
						x[i] = float32(math.Inf(-1))
					}
					if i%stride == k/2+1 && row%7 == 5 {
						x[i] = float32(math.NaN())
					}
				}
				for _, f := range []block.Format{block.Q4_0, block.Q4_K} { // tiles of AVX2 differ
					compareRows(t, layouts[f], x, m, k, stride)
				}
			}
		}
	})
}

func compareRows(t *testing.T, l *layout, x []float32, m, k, stride int) {
	var r inputRows
	r.quantize(make([]byte, rowsSize(currentFor(l), m, k, false)), l, x, m, k, stride, nil)
	if r.pairs {
		return
	}
	groups := k / groupSize
	q, parts, scale := make([]int8, k), make([]uint32, 7*groups), float32(0)
	at := func(i int) unsafe.Pointer { return unsafe.Pointer(&parts[i*groups]) }
	for row := range m {
		a := quantizeArgs{
			x: unsafe.Pointer(&x[row*stride]), q: unsafe.Pointer(&q[0]), shift: at(0), s: at(1), c: at(2), sHalf: at(3), cHalf: at(5),
			groups: groups, rows: 1, scale: unsafe.Pointer(&scale),
		}
		portableQuantize(a.arg())
		var tile rowTile
		r.tile(row/r.kern.mr, &tile)
		i, n := row%r.kern.mr, tile.size
		word := func(p unsafe.Pointer, g int) uint32 { return view[uint32](p, (g+1)*n)[g*n+i] }
		if got := *(*float32)(r.scale(row)); !kerneltest.Same(got, scale) {
			t.Fatalf("%d rows of %d, row %d: scale %v, expected %v", m, k, row, got, scale)
		}
		for g := range groups {
			if got, want := view[int8](tile.q, (g+1)*n*groupSize)[(g*n+i)*groupSize:][:groupSize], q[g*groupSize:][:groupSize]; !slices.Equal(got, want) {
				t.Fatalf("%d rows of %d, row %d, group %d: %v, expected %v", m, k, row, g, got, want)
			}
			got := []uint32{
				word(tile.shift, g), word(tile.s, g), word(tile.c, g),
				word(tile.sHalf, 2*g), word(tile.sHalf, 2*g+1), word(tile.cHalf, 2*g), word(tile.cHalf, 2*g+1),
			}
			want := []uint32{parts[g], parts[groups+g], parts[2*groups+g], parts[3*groups+2*g], parts[3*groups+2*g+1], parts[5*groups+2*g], parts[5*groups+2*g+1]}
			if !slices.Equal(got, want) {
				t.Fatalf("%d rows of %d, row %d, group %d: shift and sums %x, expected %x", m, k, row, g, got, want)
			}
		}
	}
}

// BenchmarkQuantize quantizes rows of activations. Figures are those of the fastest.
func BenchmarkQuantize(b *testing.B) {
	for _, threads := range []int{1, 2} {
		for _, s := range [][2]int{{1, 2048}, {1, 5632}, {4, 2048}, {8, 2048}, {16, 2048}, {16, 5632}, {128, 2048}} {
			m, k := s[0], s[1]
			b.Run(fmt.Sprintf("threads=%d/%dx%d", threads, m, k), func(b *testing.B) {
				p := pool.New(threads)
				defer p.Close()
				p.Begin()
				defer p.End()
				var r inputRows
				x, dst := noise(m*k, 1), make([]byte, rowsSize(currentFor(layouts[block.Q4_0]), m, k, false))
				best := time.Hour
				for b.Loop() {
					start := time.Now()
					r.quantize(dst, layouts[block.Q4_0], x, m, k, k, p)
					best = min(best, time.Since(start))
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(best.Seconds()*1e6, "µs")
				b.ReportMetric(best.Seconds()*1e9/float64(m*k), "ns/element")
			})
		}
	}
}
