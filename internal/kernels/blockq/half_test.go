package blockq

import (
	"testing"
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/kernels/kerneltest"
)

var halves = []block.Format{block.F16, block.BF16}

// TestHalf compares products with weights of 16-bit floats with those of gemm,
// bit by bit.
func TestHalf(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for _, n := range []int{2, 15, 16, 33, 64, 83, 150} {
			for _, k := range []int{1, 7, 64, 200} {
				for _, f := range halves {
					for _, m := range []int{1, 2, 3, 4, 5, 8, 9, 14, 21} {
						compareHalf(t, f, m, n, k)
					}
				}
			}
		}
		for m := range 65 {
			compareHalf(t, block.BF16, m+1, 77, 33)
		}
	})
}

func compareHalf(t *testing.T, f block.Format, m, n, k int) {
	x, w := noise(m*k, 1), noise(n*k, 2)
	w[0] = 1e-39 // denormal in bfloat16
	rows := make([]byte, 2*n*k)
	block.Encode(f, rows, w)
	block.Decode(f, w, rows)
	p := pack(t, f, n, k, rows)
	bias, residual := noise(n, 3), noise(m*n, 4)
	want := make([]float32, m*n)
	task := gemm.Task{Product: gemm.Product{M: m, N: n, K: k, A: gemm.Matrix{Data: x, Stride: k}, B: gemm.Matrix{Data: w, Stride: k, Trans: true}, C: gemm.Matrix{Data: want, Stride: n}}}
	task.ColBias.Data, task.Residual = bias, gemm.Matrix{Data: residual, Stride: n}
	if err := task.Run(nil); err != nil {
		t.Fatal(err)
	}
	for i, got := range product(t, p, x, m, 1+m%2, bias, residual) {
		if got != want[i] {
			t.Fatalf("%v, %d×%d×%d: element %d is %v, gemm has %v", f, m, n, k, i, got, want[i])
		}
	}
}

// TestWidenIsExact holds conversions of all numbers of 16 bits against package
// block's decoder.
func TestWidenIsExact(t *testing.T) {
	const k = 1 << 16 / cols
	kerneltest.Levels(t, func(t *testing.T) {
		for _, f := range halves {
			src, want := kerneltest.Guarded(t, 2*cols*k), make([]float32, cols*k)
			for i := range want {
				le.PutUint16(src[2*i:], uint16(i))
			}
			block.Decode(f, want, src)
			got := kerneltest.Floats(t, cols*k, nil)
			a := halfArgs{w: unsafe.Pointer(&src[0]), k: k, acc: unsafe.Pointer(&got[0]), ldw: 4 * cols}
			current().half[f].widen(a.arg())
			for i, x := range got {
				if x != want[i] && (x == x || want[i] == want[i]) {
					t.Fatalf("%v: %#x is %v, want %v", f, i, x, want[i])
				}
			}
		}
	})
}
