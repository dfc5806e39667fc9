package blockquant

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/tensor"
)

// decodedRows is about how many rows of W are decoded at a time.
const decodedRows = 64

// decoded multiplies on the kernels of gemm, after decoding some rows of W to
// float32. W is read where it is.
type decoded struct {
	weights
	parts   int // of W's rows
	slots   tiling.Slots
	tasks   []gemm.Task // of slots
	perSlot int         // floats: rows of W, and the task's own

	m                    int
	w                    []byte
	x, y, bias, residual []float32
	scratch              []float32
}

// newDecoded prepares products of up to m rows.
func newDecoded(s weights, m, threads int) *decoded {
	k := &decoded{weights: s, parts: tiling.Ceil(s.n, decodedRows), m: m}
	most := tiling.Ceil(s.n, k.parts)
	k.tasks = make([]gemm.Task, min(threads, k.parts, tiling.MaxSlots))
	for i := range k.tasks {
		t := &k.tasks[i]
		t.M, t.N, t.K = k.m, most, s.k
		t.A, t.B = gemm.Matrix{Stride: s.k}, gemm.Matrix{Stride: s.k, Trans: true}
		t.C, t.Residual = gemm.Matrix{Stride: s.n}, gemm.Matrix{Stride: s.n}
		k.perSlot = most*s.k + t.ScratchSize(1)
	}
	return k
}

// ScratchBytes is the working memory of a run.
func (k *decoded) ScratchBytes() int { return 4 * k.perSlot * len(k.tasks) }

// multiply computes y from x and w.
func (k *decoded) multiply(p *pool.Pool, scratch []byte) {
	k.scratch = tensor.Of[float32](&tensor.Tensor{Data: scratch})
	k.slots.Reset(len(k.tasks))
	p.Run(k.parts, k)
	k.w, k.x, k.y, k.bias, k.residual, k.scratch = nil, nil, nil, nil, nil, nil
}

// Do multiplies by part i of W's rows.
func (k *decoded) Do(i int) {
	slot := k.slots.Take()
	defer k.slots.Give(slot)
	t := &k.tasks[slot]
	scratch := k.scratch[slot*k.perSlot:][:k.perSlot]
	from, to := split.Range(k.n, k.parts, i)
	t.M, t.N = k.m, to-from
	rows := scratch[:t.N*k.k]
	block.Decode(k.format, rows, k.w[from*k.row:to*k.row])
	t.A.Data, t.B.Data, t.C.Data, t.Scratch = k.x, rows, k.y[from:], scratch[len(rows):]
	if k.bias != nil {
		t.ColBias.Data = k.bias[from:to]
	}
	if k.residual != nil {
		t.Residual.Data = k.residual[from:]
	}
	if err := t.Run(nil); err != nil {
		panic(err) // sizes that don't fit together, which compiling has made
	}
	t.A.Data, t.B.Data, t.C.Data, t.ColBias.Data, t.Residual.Data, t.Scratch = nil, nil, nil, nil, nil, nil
}

// decodedMatMul is BlockMatMul by it.
type decodedMatMul struct {
	*decoded
	dims []int
}

func compileDecoded(p *op.Prep, s weights, dims []int) (op.Kernel, error) {
	return &decodedMatMul{decoded: newDecoded(s, tensor.Count(dims)/s.n, p.Threads), dims: dims}, nil
}

// Run multiplies.
func (k *decodedMatMul) Run(c *op.Call) error {
	k.w, k.x, k.y = c.In[mmW].Data, tensor.Of[float32](c.In[mmX]), tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...))
	k.bias, k.residual = floatsOf(c.Input(mmBias)), floatsOf(c.Input(mmResidual))
	k.multiply(c.Pool, c.Scratch)
	return nil
}
