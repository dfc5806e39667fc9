package reduce

import (
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/kerneltest"
	"github.com/salver-ml/salver/internal/mmap/guard"
	"github.com/salver-ml/salver/internal/pool"
)

func TestExtremesOfBytes(t *testing.T) {
	p := pool.New(3)
	defer p.Close()
	kerneltest.Levels(t, func(t *testing.T) {
		for _, dt := range []dtype.Type{dtype.Uint8, dtype.Int8} {
			for _, op := range []Op{Max, Min} {
				for _, shape := range [][]int{{1, 1}, {5, 15}, {5, 16}, {7, 17}, {3, 31}, {4, 32}, {2, 33}, {3, 64}, {700, 300}, {2, 5000}} {
					src := guard.Slice[byte](t, shape[0]*shape[1], guard.End)
					for i := range src {
						src[i] = byte(i * i * 31 >> 3)
					}
					r, err := New(op, dt, shape, []int{-1})
					if err != nil {
						t.Fatal(err)
					}
					got := guard.Slice[byte](t, shape[0], guard.End)
					r.Run(p, got, src, make([]byte, r.Scratch()))
					for row := range got {
						x := src[row*shape[1]:][:shape[1]]
						want := whole(dt, x, 0)
						for i := range x {
							if v := whole(dt, x, i); op == Max {
								want = max(want, v)
							} else {
								want = min(want, v)
							}
						}
						if v := whole(dt, got, row); v != want {
							t.Fatalf("%v of %v %v: row %d is %d, want %d", op, dt, shape, row, v, want)
						}
					}
				}
			}
		}
	})
}
