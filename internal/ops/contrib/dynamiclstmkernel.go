package contrib

import (
	"fmt"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/qgemm"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/pointwise"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// lstmKernel multiplies the inputs of all steps, quantized together, with W, and
// the states with R step by step; directions run on threads of their own.
type lstmKernel struct {
	seq, batch, in, hidden int
	dir                    []lstmDirection
	dims, states           []int // shapes of the outputs
	quantize               *elemwise.DynamicQuantize
	reverse, coupled       bool
	clip                   float32
	inputs, own            int // bytes of scratch: of the products of inputs, and of those of a direction's states

	sigmoid, tanh func([]float32)
	add, sub, mul func(dst, a, b []float32, sa, sb int)
	round         func(dst []byte, src []float32, scale, zero float32)

	// Of a run.
	out    []float32
	lens   []int32
	nested *pool.Pool // for the products of a direction
}

// lstmDirection is one direction, and its memory during a run.
type lstmDirection struct {
	x, r  lstmProduct
	peep  []float32 // in the order of the gates i, o, f; or nil
	fromX []float32 // [seq, batch, 4·hidden]: what the inputs give to the gates
	gates []float32 // [batch, 4·hidden]
	h, c  []float32 // [batch, hidden]
	bytes []byte    // h, quantized
	err   error

	_ [128]byte // no false sharing with the next
}

// lstmProduct multiplies quantized rows with a packed matrix.
type lstmProduct struct {
	qgemm.Task
	scale [1]float32 // of the rows
	zero  [1]int32
}

// compileDynamicLSTM gives nil where weights, their scales or biases are computed, and
// for sizes that the reference refuses.
func compileDynamicLSTM(p *op.Prep) (op.Kernel, error) {
	for _, i := range []int{1, 2, 3, 8, 9, 10, 11} {
		if p.Has(i) && p.In[i].Const == nil || i != 3 && !p.Has(i) {
			return nil, nil
		}
	}
	n := p.Node
	directions, hidden, err := lstmSizes(n, p.In[0].Shape, p.In[1].Shape, p.In[2].Shape)
	if err != nil {
		return nil, err
	}
	x := p.InShape(0)
	k := &lstmKernel{
		seq: x[0], batch: x[1], in: x[2], hidden: hidden, dir: make([]lstmDirection, directions),
		reverse: n.Str("direction") == "reverse", coupled: n.Bool("input_forget"), clip: n.Float("clip"),
		sigmoid: (&pointwise.Activation{Op: elemwise.Sigmoid}).Row(), tanh: (&pointwise.Activation{Op: elemwise.Tanh}).Row(),
		add: elemwise.Row(elemwise.Add), sub: elemwise.Row(elemwise.Sub), mul: elemwise.Row(elemwise.Mul),
	}
	k.dims, k.states = []int{k.seq, directions, k.batch, hidden}, []int{directions, k.batch, hidden}
	_, k.round = elemwise.Rows8(dtype.Uint8)
	if tensor.Count(x) == 0 || !k.fits(p) {
		return nil, nil
	}
	if k.quantize, err = elemwise.NewDynamicQuantize(tensor.Count(x)); err != nil {
		return nil, err
	}
	for d := range k.dir {
		l := &k.dir[d]
		if err := l.x.prepare(p, 1, d, k.seq*k.batch); err != nil {
			return nil, err
		}
		if err := l.r.prepare(p, 2, d, k.batch); err != nil {
			return nil, err
		}
		l.x.ColBias = make([]float32, 4*hidden)
		if p.Has(3) {
			b := tensor.Of[float32](p.In[3].Const)[d*8*hidden:][:8*hidden]
			k.add(l.x.ColBias, b[:4*hidden], b[4*hidden:], 1, 1)
		}
		k.inputs = max(k.inputs, op.Align(l.x.ScratchSize(p.Threads)))
		k.own = max(k.own, op.Align(l.r.ScratchSize(k.threads(p.Threads))))
	}
	return k, nil
}

// fits reports whether the inputs have as many elements as the reference asks for.
func (k *lstmKernel) fits(p *op.Prep) bool {
	dirs, state := len(k.dir), len(k.dir)*k.batch*k.hidden
	if !shape.Of(dirs, k.in, 4*k.hidden).Equal(p.In[1].Shape) || !shape.Of(dirs, k.hidden, 4*k.hidden).Equal(p.In[2].Shape) {
		return false
	}
	for i, n := range map[int]int{3: dirs * 8 * k.hidden, 4: k.batch, 5: state, 6: state, 7: dirs * 3 * k.hidden} {
		if p.Has(i) && tensor.Count(p.InShape(i)) != n {
			return false
		}
	}
	for _, i := range []int{8, 9, 10, 11} {
		if n := tensor.Count(p.InShape(i)); n != dirs && n != dirs*4*k.hidden {
			return false
		}
	}
	return true
}

// prepare packs direction d of weights that are input i; their scales and zero points
// are inputs 8 and 9, or 10 and 11.
func (t *lstmProduct) prepare(p *op.Prep, i, d, rows int) error {
	w := p.In[i].Const
	dirs, at := w.Shape[0], 6+2*i
	t.M, t.K, t.N = rows, w.Shape[1], w.Shape[2]
	t.A.Stride, t.C.Stride, t.RowScale, t.ZeroA = t.K, t.N, t.scale[:], t.zero[:]
	s, z := tensor.Of[float32](p.In[at].Const), p.In[at+1].Const
	t.ColScale = s[d*len(s)/dirs : (d+1)*len(s)/dirs]
	zero := make([]int32, z.Len()/dirs)
	for j := range zero {
		b := z.Data[d*len(zero)+j]
		if zero[j] = int32(b); w.DType == dtype.Int8 {
			zero[j] = int32(int8(b))
		}
	}
	m := qgemm.Matrix{Data: w.Data[d*t.K*t.N:][:t.K*t.N], Signed: w.DType == dtype.Int8, Stride: t.N}
	var err error
	data := p.Pack(fmt.Sprint(i, ".", d, "/", cpu.ISA()), qgemm.PackedSize(t.K, t.N, 1), func(dst []byte) {
		if rows == 1 { // for which packing as PackB does doesn't pay
			err = new(qgemm.Packed).Repack(dst, m, zero, t.K, t.N, 1, 0)
			return
		}
		_, err = qgemm.PackB(dst, m, zero, t.K, t.N, 1, 0)
	})
	if err == nil {
		t.Packed, err = qgemm.Prepacked(data, m.Signed, zero, t.K, t.N, 1)
	}
	return err
}

// threads is how many threads the products of a direction may use: one, if there are
// no more threads than directions.
func (k *lstmKernel) threads(all int) int {
	if all <= len(k.dir) {
		return 1
	}
	return all
}
