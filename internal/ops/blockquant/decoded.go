package blockquant

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// decodedRows is about how many rows of W are decoded at a time.
const decodedRows = 64

// decoded multiplies on the kernels of gemm, after decoding some rows of W to
// float32. W is read where it is.
type decoded struct {
	weights
	dims    []int
	parts   int // of W's rows
	m       int
	slots   tiling.Slots
	tasks   []gemm.Task // of slots
	perSlot int         // floats: rows of W, and the task's own
	call    *op.Call
	y       []float32
}

func compileDecoded(p *op.Prep, s weights, dims []int) (op.Kernel, error) {
	k := &decoded{weights: s, dims: dims, parts: tiling.Ceil(s.n, decodedRows), m: tensor.Count(dims) / s.n}
	most := tiling.Ceil(s.n, k.parts)
	k.tasks = make([]gemm.Task, min(p.Threads, k.parts, tiling.MaxSlots))
	for i := range k.tasks {
		t := &k.tasks[i]
		t.M, t.N, t.K = k.m, most, s.k
		t.A, t.B = gemm.Matrix{Stride: s.k}, gemm.Matrix{Stride: s.k, Trans: true}
		t.C, t.Residual = gemm.Matrix{Stride: s.n}, gemm.Matrix{Stride: s.n}
		k.perSlot = most*s.k + t.ScratchSize(1)
	}
	return k, nil
}

// ScratchBytes is the working memory of a run.
func (k *decoded) ScratchBytes() int { return 4 * k.perSlot * len(k.tasks) }

// Run multiplies.
func (k *decoded) Run(c *op.Call) error {
	k.call, k.y = c, tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...))
	k.slots.Reset(len(k.tasks))
	c.Pool.Run(k.parts, k)
	k.call, k.y = nil, nil
	return nil
}

// Do multiplies by part i of W's rows.
func (k *decoded) Do(i int) {
	slot := k.slots.Take()
	defer k.slots.Give(slot)
	t, c := &k.tasks[slot], k.call
	scratch := tensor.Of[float32](&tensor.Tensor{Data: c.Scratch})[slot*k.perSlot:][:k.perSlot]
	from, to := split.Range(k.n, k.parts, i)
	t.N = to - from
	rows := scratch[:t.N*k.k]
	block.Decode(k.format, rows, c.In[mmW].Data[from*k.row:to*k.row])
	t.A.Data, t.B.Data, t.C.Data, t.Scratch = tensor.Of[float32](c.In[mmX]), rows, k.y[from:], scratch[len(rows):]
	if b := c.Input(mmBias); b != nil {
		t.ColBias.Data = tensor.Of[float32](b)[from:to]
	}
	if r := c.Input(mmResidual); r != nil {
		t.Residual.Data = tensor.Of[float32](r)[from:]
	}
	if err := t.Run(nil); err != nil {
		panic(err) // sizes that don't fit together, which compiling has made
	}
	t.A.Data, t.B.Data, t.C.Data, t.ColBias.Data, t.Residual.Data, t.Scratch = nil, nil, nil, nil, nil, nil
}
