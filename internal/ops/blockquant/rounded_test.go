package blockquant

import (
	"math/rand/v2"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/kerneltest"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/tensor"
)

// guarded is a tensor of float32 that ends where memory does.
func guarded(t *testing.T, v []float32, dims ...int) *tensor.Tensor {
	x := &tensor.Tensor{DType: dtype.Float32, Shape: dims, Data: kerneltest.Guarded(t, 4*len(v))}
	copy(tensor.Of[float32](x), v)
	return x
}

// integers have products and sums that are exact in every precision.
func integers(n int, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.IntN(33) - 16)
	}
	return v
}

// rounded computes rows of a product in bfloat16.
func rounded(t *testing.T, s weights, w *tensor.Tensor, x, residual []float32, bias *tensor.Tensor, p *pool.Pool) []float32 {
	t.Helper()
	m := len(x) / s.k
	y := guarded(t, make([]float32, m*s.n), m, s.n)
	c := &op.Call{In: []*tensor.Tensor{guarded(t, x, m, s.k), w, bias, guarded(t, residual, m, s.n)}, Out: []*tensor.Tensor{y}, Pool: p}
	prep := &op.Prep{In: []op.Fact{{}, {Const: w}}, Threads: p.Threads(), Precision: op.BF16}
	prep.Pack = func(_ string, n int, fill func([]byte)) []byte {
		b := kerneltest.Guarded(t, n)
		fill(b)
		return b
	}
	k, err := compileRounded(prep, s, y.Shape)
	if err != nil {
		t.Fatal(err)
	}
	c.Scratch = kerneltest.Guarded(t, k.(op.Scratcher).ScratchBytes())
	if err := k.Run(c); err != nil {
		t.Fatal(err)
	}
	return tensor.Of[float32](y)
}

// TestRounded: sums of integers are exact, and a row of noise has the same bits
// alone and among any others.
func TestRounded(t *testing.T) {
	const most = 65
	threads := pool.New(3)
	defer threads.Close()
	for _, f := range []block.Format{block.F32, block.F16, block.BF16} {
		for _, size := range [][2]int{{1, 1}, {31, 32}, {77, 72}, {64, 33}} {
			n, k := size[0], size[1]
			s, err := formatOf(f, k, nil)
			if err != nil {
				t.Fatal(err)
			}
			s.n = n
			values, bias := integers(n*k, 1), integers(n, 2)
			w := &tensor.Tensor{DType: dtype.Uint8, Shape: []int{n, s.row}, Data: kerneltest.Guarded(t, n*s.row)}
			block.Encode(f, w.Data, values)
			x, residual := integers(most*k, 3), integers(most*n, 4)
			for i, y := range rounded(t, s, w, x, residual, guarded(t, bias, n), threads) {
				want := bias[i%n] + residual[i]
				for e, v := range values[i%n*k:][:k] {
					want += v * x[i/n*k+e]
				}
				if y != want {
					t.Fatalf("%v, %d×%d: element %d is %v, want %v", f, n, k, i, y, want)
				}
			}
			if f != block.BF16 {
				continue // which differs in how it is packed
			}
			x = tensor.Of[float32](noise(most, k))
			all := rounded(t, s, w, x, residual, guarded(t, bias, n), threads)
			for m := range most {
				for i, y := range rounded(t, s, w, x[:(m+1)*k], residual[:(m+1)*n], guarded(t, bias, n), []*pool.Pool{nil, threads}[m%2]) {
					if y != all[i] {
						t.Fatalf("%v, %d×%d: element %d is %v among %d rows, %v among %d", f, n, k, i, y, m+1, all[i], most)
					}
				}
			}
		}
	}
}

// TestPrecisionOfFormats: blocks of integers, and formats that are decoded, have
// no kernel in bfloat16.
func TestPrecisionOfFormats(t *testing.T) {
	for _, f := range allFormats() {
		x, w, y := noise(2, 256), randomWeights(f, 3, 256), noise(2, 3)
		p := &op.Prep{Node: ir.NewNode(op.Salver, "BlockMatMul", 1, nil, nil, attrs(f, 256)), Precision: op.BF16, Threads: 1}
		p.Pack = func(_ string, n int, fill func([]byte)) []byte {
			b := tensor.Bytes(n)
			fill(b)
			return b
		}
		p.In = []op.Fact{{Type: ir.TypeOf(x), Present: true}, {Type: ir.TypeOf(w), Present: true, Const: w}}
		p.Out = []op.Fact{{Type: ir.TypeOf(y), Present: true}}
		k, err := compileMatMul(p)
		if err != nil {
			t.Fatal(err)
		}
		want := op.FP32
		if f == block.F32 || f == block.F16 || f == block.BF16 {
			want = op.BF16
		}
		if got := op.PrecisionOf(k); got != want {
			t.Errorf("%v is multiplied in %v, want %v", f, got, want)
		}
	}
}
