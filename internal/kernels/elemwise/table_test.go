package elemwise

import (
	"testing"

	"github.com/salver-ml/salver/internal/kernels/kerneltest"
	"github.com/salver-ml/salver/internal/pool"
)

func TestTable(t *testing.T) {
	p := pool.New(2)
	defer p.Close()
	var table [256]byte
	for i := range table {
		table[i] = byte(i*7 + 3)
	}
	for _, n := range []int{0, 1, 7, 8, 9, 100, 40001} {
		src, dst := kerneltest.Guarded(t, n), kerneltest.Guarded(t, n)
		for i := range src {
			src[i] = byte(i * i)
		}
		NewTable(n).Run(p, dst, src, &table)
		for i, x := range src {
			if dst[i] != table[x] {
				t.Fatalf("%d bytes, number %d: %d, want %d", n, i, dst[i], table[x])
			}
		}
	}
}
