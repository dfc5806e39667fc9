package reduce

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/kerneltest"
	"github.com/salver-ml/salver/internal/pool"
)

// whole is element i of integers of type dt.
func whole(dt dtype.Type, b []byte, i int) int64 {
	switch dt {
	case dtype.Int8:
		return int64(view[int8](b)[i])
	case dtype.Uint8, dtype.Bool:
		return int64(b[i])
	case dtype.Int16:
		return int64(view[int16](b)[i])
	case dtype.Uint16:
		return int64(view[uint16](b)[i])
	case dtype.Int32:
		return int64(view[int32](b)[i])
	case dtype.Uint32:
		return int64(view[uint32](b)[i])
	}
	return view[int64](b)[i]
}

// lines lists the elements of each result of a reduction of the middle of three axes.
func lines(shape [3]int) (out [][]int) {
	for o := range shape[0] {
		for i := range shape[2] {
			var line []int
			for k := range shape[1] {
				line = append(line, (o*shape[1]+k)*shape[2]+i)
			}
			out = append(out, line)
		}
	}
	return out
}

func wholeOf(op Op, dt dtype.Type, b []byte, line []int) int64 {
	var sum int64
	least, most := whole(dt, b, line[0]), whole(dt, b, line[0])
	for _, at := range line {
		v := whole(dt, b, at)
		sum += v
		least, most = min(least, v), max(most, v)
	}
	switch op {
	case Max:
		return most
	case Min:
		return least
	case Mean:
		return sum / int64(len(line))
	}
	return sum
}

// Integers and float64 at every level, on one thread and several: integers exactly, but where they wrap; float64 with the
// bits of the portable loops.
func TestTypesAtEveryLevel(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 2))
	p := pool.New(3)
	defer p.Close()
	special := []float64{0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.NaN(), 1e300, -5e-324}
	types := []dtype.Type{dtype.Float64, dtype.Int8, dtype.Uint8, dtype.Bool, dtype.Int16, dtype.Uint16, dtype.Int32, dtype.Uint32, dtype.Int64}
	for _, dt := range types {
		for _, shape := range [][3]int{{1, 1, 1}, {3, 7, 1}, {2, 31, 1}, {5, 32, 1}, {2, 33, 1}, {3, 63, 1}, {2, 64, 1}, {7, 501, 1}, {2, 9001, 1}, {40, 1500, 1},
			{1, 5, 3}, {2, 9, 31}, {2, 8, 32}, {1, 4097, 33}, {3, 40, 64}, {2, 33, 257}, {1, 700, 128}} {
			n := shape[0] * shape[1] * shape[2]
			src := make([]byte, dt.Bytes(n))
			for i := range src {
				src[i] = byte(rng.IntN(256))
			}
			if dt == dtype.Bool {
				for i := range src {
					src[i] &= 1
				}
			}
			if dt == dtype.Float64 {
				for i := range n {
					view[float64](src)[i] = rng.NormFloat64()
					if rng.IntN(50) == 0 {
						view[float64](src)[i] = special[rng.IntN(len(special)-shape[0]%2*3)]
					}
				}
			}
			for _, op := range []Op{Sum, Mean, Max, Min} {
				if dt == dtype.Bool && op < Max {
					continue
				}
				t.Run(fmt.Sprintf("%v of %v %v", op, shape, dt), func(t *testing.T) {
					var portable []byte
					kerneltest.Levels(t, func(t *testing.T) {
						r, err := New(op, dt, shape[:], []int{1})
						if err != nil {
							t.Fatal(err)
						}
						got := make([]byte, dt.Bytes(shape[0]*shape[2]))
						guarded := kerneltest.Guarded(t, len(src))
						copy(guarded, src)
						r.Run(p, got, guarded, make([]byte, r.Scratch()))
						alone := make([]byte, len(got))
						r.Run(nil, alone, guarded, make([]byte, r.Scratch()))
						if !slices.Equal(got, alone) {
							t.Fatal("threads change the result")
						}
						if dt == dtype.Float64 {
							if cpu.Level() == 0 {
								portable = got
							}
							for i, v := range view[float64](got) {
								if w := view[float64](portable)[i]; math.Float64bits(v) != math.Float64bits(w) && (v == v || w == w) {
									t.Fatalf("result %d: %v, want %v", i, v, w)
								}
							}
							return
						}
						for i, line := range lines(shape) {
							want := wholeOf(op, dt, src, line)
							if op == Mean && dt == dtype.Int64 {
								continue // sums wrap
							}
							b := make([]byte, 8)
							view[int64](b)[0] = want
							if size := dt.Bits() / 8; !slices.Equal(got[i*size:(i+1)*size], b[:size]) {
								t.Fatalf("result %d: bytes %v, want %v", i, got[i*size:(i+1)*size], want)
							}
						}
					})
				})
			}
		}
	}
}
