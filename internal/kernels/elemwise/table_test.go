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
		table[i] = byte(i*i*7 + i*5 + 3)
	}
	kerneltest.Levels(t, func(t *testing.T) {
		for _, n := range []int{0, 1, 7, 8, 9, 63, 64, 65, 100, 127, 256, 40001} {
			src, dst := kerneltest.Guarded(t, n), kerneltest.Guarded(t, n)
			for i := range src {
				src[i] = byte(i * 37)
			}
			k := NewTable(n)
			k.Run(p, dst, src, &table)
			for i, x := range src {
				if dst[i] != table[x] {
					t.Fatalf("%d bytes, number %d: %d, want %d", n, i, dst[i], table[x])
				}
			}
			k.Run(p, src, src, &table)
			if string(src) != string(dst) {
				t.Fatalf("%d bytes in place differ", n)
			}
		}
	})
}

func BenchmarkTable(b *testing.B) {
	p := pool.New(1)
	defer p.Close()
	src, dst, table := make([]byte, 1<<17), make([]byte, 1<<17), new([256]byte)
	k := NewTable(len(src))
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		k.Run(p, dst, src, table)
	}
}
