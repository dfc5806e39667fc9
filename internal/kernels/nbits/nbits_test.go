package nbits

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/kernels/kerneltest"
	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/pool"
)

// weights are random ones, and what they stand for, N×K.
func weights(r *rand.Rand, n, k, bits, block int, zeros bool) (*Weights, []float32) {
	perRow := tiling.Ceil(k, block)
	w := &Weights{N: n, K: k, Bits: bits, Block: block, Codes: make([]byte, n*perRow*block*bits/8), Scales: make([]float32, n*perRow)}
	for i := range w.Codes {
		w.Codes[i] = byte(r.Uint32())
	}
	for i := range w.Scales {
		w.Scales[i] = float32(r.NormFloat64())
	}
	w.Scales[0] = 1e-41 // whose products are rounded to denormals
	if zeros {
		w.Zeros = make([]byte, n*perRow)
		for i := range w.Zeros {
			w.Zeros[i] = byte(r.IntN(1 << bits))
		}
	}
	values := make([]float32, n*k)
	for i := range values {
		row, j := i/k, i%k
		at := (row*perRow*block + j) * bits
		code := float32(w.Codes[at/8] >> (at % 8) & (1<<bits - 1))
		zero := float32(int(1) << (bits - 1))
		if zeros {
			zero = float32(w.Zeros[row*perRow+j/block])
		}
		values[i] = (code - zero) * w.Scales[row*perRow+j/block]
	}
	return w, values
}

func guarded(t *testing.T, n int) []byte { return kerneltest.Guarded(t, n)[:n:n] }

// Products have the bits of gemm's with the weights that codes stand for, at every level,
// whatever the rows, the threads and the bias.
func TestProducts(t *testing.T) {
	pools := []*pool.Pool{pool.New(1), pool.New(3)}
	defer pools[0].Close()
	defer pools[1].Close()
	kerneltest.Levels(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 4))
		for i, s := range [][3]int{{1, 2, 32}, {1, 31, 64}, {1, 33, 96}, {2, 65, 160}, {3, 32, 128}, {4, 40, 32}, {5, 97, 256}, {7, 16, 64}, {8, 100, 96},
			{9, 33, 64}, {14, 70, 1056}, {15, 48, 2080}, {33, 95, 96}, {130, 50, 1088}, {300, 34, 64}, {1, 8, callDepth + 64}, {4, 3, callDepth + 32}} {
			m, n, k := s[0], s[1], s[2]
			for form := range 4 {
				bits, zeros, block := 4<<(form%2), form >= 2, 32<<(i%3)
				w, values := weights(r, n, k, bits, block, zeros)
				size, err := w.PackedSize()
				if err != nil {
					t.Fatal(err)
				}
				packed, err := w.Pack(guarded(t, size))
				if err != nil {
					t.Fatal(err)
				}
				p := Product{M: m, X: kerneltest.Floats(t, m*k, nil), StrideX: k, Packed: packed, StrideY: n}
				want := make([]float32, m*n)
				g := gemm.Task{Product: gemm.Product{M: m, N: n, K: k, A: gemm.Matrix{Data: p.X, Stride: k}, B: gemm.Matrix{Data: values, Stride: k, Trans: true}, C: gemm.Matrix{Data: want, Stride: n}}}
				if (form+i)%2 == 1 {
					p.Bias = kerneltest.Floats(t, n, nil)
					g.ColBias.Data = p.Bias
				}
				if err := g.Run(pools[0]); err != nil {
					t.Fatal(err)
				}
				for _, on := range pools {
					p.Y = kerneltest.Floats(t, m*n, nil)
					task := Task{Product: p}
					task.Scratch = guarded(t, task.ScratchSize(on.Threads()))
					if err := task.Run(on); err != nil {
						t.Fatal(err)
					}
					for j, v := range p.Y {
						if !kerneltest.Same(v, want[j]) {
							t.Fatalf("%v, %d bits in blocks of %d, zeros %v, %d threads: element %d,%d is %v, want %v", s, bits, block, zeros, on.Threads(), j/n, j%n, v, want[j])
						}
					}
				}
			}
		}
	})
}

func TestWrongSizes(t *testing.T) {
	for _, c := range []struct {
		w    Weights
		want string
	}{
		{Weights{N: 1, K: 32, Bits: 3, Block: 32}, "3 bits, expected 4 or 8"},
		{Weights{N: 1, K: 40, Bits: 4, Block: 32}, "multiple of 32"},
		{Weights{N: 1, K: 32, Bits: 4, Block: 16}, "multiple of 32"},
		{Weights{N: 0, K: 32, Bits: 4, Block: 32}, "multiple of 32"},
		{Weights{N: 1, K: 32, Bits: 4, Block: 1 << 40}, "1073741824 at most"},
		{Weights{N: 1 << 60, K: 1 << 40, Bits: 4, Block: 32}, "beyond what can be addressed"},
		{Weights{N: 2, K: 32, Bits: 4, Block: 32, Codes: make([]byte, 32), Scales: make([]float32, 1)}, "1 scales"},
	} {
		size, err := c.w.PackedSize()
		if err == nil {
			_, err = c.w.Pack(make([]byte, size))
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.w, err, c.want)
		}
	}
	w, _ := weights(rand.New(rand.NewPCG(1, 2)), 3, 32, 4, 32, false)
	if _, err := w.Prepacked(make([]byte, 9)); err == nil {
		t.Error("9 bytes were taken for packed weights")
	}
	size, _ := w.PackedSize()
	packed, err := w.Pack(make([]byte, size))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []Product{{M: 1}, {M: 2, Packed: packed, X: make([]float32, 63), StrideX: 32, Y: make([]float32, 6), StrideY: 3},
		{M: 1, Packed: packed, X: make([]float32, 32), StrideX: 32, Y: make([]float32, 2), StrideY: 3},
		{M: 1, Packed: packed, X: make([]float32, 32), StrideX: 32, Y: make([]float32, 3), StrideY: 3, Bias: make([]float32, 2)}} {
		if err := (&Task{Product: p}).Run(nil); err == nil {
			t.Errorf("%+v: no error", p)
		}
	}
}

func BenchmarkProduct(b *testing.B) {
	on := pool.New(1)
	defer on.Close()
	for _, m := range []int{1, 4, 128} {
		for _, bits := range []int{4, 8} {
			b.Run(fmt.Sprintf("rows=%d/bits=%d", m, bits), func(b *testing.B) {
				n, k := 5632, 2048
				w, _ := weights(rand.New(rand.NewPCG(1, 2)), n, k, bits, 32, false)
				size, _ := w.PackedSize()
				packed, err := w.Pack(make([]byte, size))
				if err != nil {
					b.Fatal(err)
				}
				task := Task{Product: Product{M: m, X: kerneltest.Floats(b, m*k, nil), StrideX: k, Packed: packed, Y: make([]float32, m*n), StrideY: n}}
				task.Scratch = make([]byte, task.ScratchSize(1))
				b.SetBytes(int64(size))
				for b.Loop() {
					if err := task.Run(on); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(2*float64(m*n*k)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "Gop/s")
			})
		}
	}
}

func TestArgs(t *testing.T) {
	var a args
	for i, at := range []uintptr{unsafe.Offsetof(a.w), unsafe.Offsetof(a.x), unsafe.Offsetof(a.ldx), unsafe.Offsetof(a.groups), unsafe.Offsetof(a.out), unsafe.Offsetof(a.ldw)} {
		if at != uintptr(8*i) {
			t.Errorf("field %d is at %d, where the assembly knows %d", i, at, 8*i)
		}
	}
}
