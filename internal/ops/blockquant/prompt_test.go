package blockquant

import (
	"slices"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/kerneltest"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/tensor"
)

// TestRoles: a row's bits depend on whether it was generated and on nothing else, in
// the memory that was promised.
func TestRoles(t *testing.T) {
	const n, k, most = 70, 512, 70
	kerneltest.Levels(t, func(t *testing.T) {
		threads := pool.New(2)
		defer threads.Close()
		w, x := randomWeights(block.Q4_0, n, k), tensor.Of[float32](noise(most, k))
		run := func(from, to, generated int) []float32 {
			m := to - from
			node := ir.NewNode(op.Salver, "BlockMatMul", 1, make([]*ir.Value, 5), []*ir.Value{ir.NewValue("y", ir.Type{DType: dtype.Float32, Shape: nil})}, attrs(block.Q4_0, k))
			y := tensor.FromSlice(make([]float32, m*n), m, n)
			prep := &op.Prep{Node: node, In: []op.Fact{{}, {Const: w, Present: true, Type: ir.TypeOf(w)}, {}, {}, {Present: true}}, Threads: 2}
			prep.Pack = func(_ string, n int, fill func([]byte)) []byte {
				b := make([]byte, n)
				fill(b)
				return b
			}
			s, err := formatOf(block.Q4_0, k, nil)
			if err != nil {
				t.Fatal(err)
			}
			s.n = n
			kern, err := newMatMul(prep, s, []int{m, n})
			if err != nil {
				t.Fatal(err)
			}
			c := &op.Call{In: []*tensor.Tensor{tensor.FromSlice(x[from*k:to*k], m, k), w, nil, nil, tensor.FromSlice([]int32{int32(generated)}, 1)}, Out: []*tensor.Tensor{y}, Pool: threads}
			c.Scratch = kerneltest.Guarded(t, kern.ScratchBytes())
			if err := kern.Run(c); err != nil {
				t.Fatal(err)
			}
			return tensor.Of[float32](y)
		}
		generated, prompts := run(0, most, most), run(0, most, 0)
		for _, g := range []int{1, 8, 17, 40, 69} {
			want := slices.Concat(generated[:g*n], prompts[g*n:])
			if got := run(0, most, g); !slices.Equal(got, want) {
				t.Errorf("%d of %d rows generated: not the bits that they have in their roles", g, most)
			}
		}
		if got := run(5, 6, 0); !slices.Equal(got, prompts[5*n:6*n]) {
			t.Error("a row of a prompt alone has other bits")
		}
		if _, err := generatedOf(tensor.FromSlice([]int32{9}, 1), 8); err == nil {
			t.Error("9 of 8 rows generated is no error")
		}
		if _, err := generatedOf(tensor.FromSlice([]int32{}, 0), 8); err == nil {
			t.Error("no number of generated rows is no error")
		}
	})
}

// A product for no token does not touch its weights, which may not even be there.
func TestNoRowsReadNoWeights(t *testing.T) {
	const k, n = 256, 8
	for _, f := range []block.Format{block.F32, block.Q4_0, block.IQ3_S} {
		w := randomWeights(f, n, k)
		x, y := tensor.New(dtype.Float32, 0, k), tensor.New(dtype.Float32, 0, n)
		absent := &tensor.Tensor{DType: w.DType, Shape: w.Shape}
		node := ir.NewNode(op.Salver, "BlockMatMul", 1, make([]*ir.Value, 2), []*ir.Value{ir.NewValue("y", ir.TypeOf(y))}, attrs(f, k))
		p := &op.Prep{Node: node, In: []op.Fact{{Type: ir.TypeOf(x), Present: true}, {Const: absent, Type: ir.TypeOf(w), Present: true}}, Out: []op.Fact{{Type: ir.TypeOf(y), Present: true}}, Threads: 1}
		kern, err := compileMatMul(p)
		if err != nil || kern == nil {
			t.Fatalf("%v: %v, %v", f, kern, err)
		}
		if err := kern.Run(&op.Call{Node: node, In: []*tensor.Tensor{x, absent}, Out: []*tensor.Tensor{y}}); err != nil {
			t.Errorf("%v: %v", f, err)
		}
		if !p.IsOnlyPacked(mmW) {
			t.Errorf("%v: the weights are kept for it", f)
		}
	}
}
