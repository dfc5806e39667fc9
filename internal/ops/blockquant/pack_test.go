package blockquant

import (
	"testing"

	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/blockq"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// Weights that another kernel has packed at once are packed for all that wait for them in parts.
func TestPackedAtOnce(t *testing.T) {
	const n, k = 2048, 4096
	row, err := block.Q8_0.RowBytes(k)
	if err != nil {
		t.Fatal(err)
	}
	w := ir.NewConst("w", &tensor.Tensor{Data: make([]byte, n*row)})
	p := &op.Prep{In: []op.Fact{{}, {Const: w.Const}}, Later: func(_ string, bytes, parts int, _ op.Fill) *op.Packing {
		if parts < 2 {
			t.Fatalf("%d bytes are packed in %d parts, expected several", bytes, parts)
		}
		later := op.NewPacking(tensor.Bytes(bytes), 1, func([]byte, int, int) {})
		later.Fill()
		return later
	}}
	m, err := pack(p, weights{format: block.Q8_0, n: n, k: k}, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	task := &blockq.Task{Product: blockq.Product{M: 1, N: n, K: k, Packed: m.packed[0]}}
	if m.prepare(task, nil); m.waiting != nil {
		t.Errorf("%d of %d parts are known to be packed, expected all", m.done, m.each)
	}
}
