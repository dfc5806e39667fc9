package contrib

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	_ "github.com/salver-ml/salver/internal/ops/fused" // registers IntegerMatMul
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// integerMatMul is the operator that our passes make of the same formula, with
// the inputs of MatMulIntegerToFloat.
func integerMatMul() *op.Op { return op.Find(op.Salver, "IntegerMatMul", 1) }

// compileIntegerToFloat serves float32 with constant weights, a matrix.
func compileIntegerToFloat(p *op.Prep) (op.Kernel, error) {
	if p.In[2].DType != dtype.Float32 || len(p.InShape(1)) != 2 {
		return nil, nil
	}
	n := p.InShape(1)[1]
	for i := 2; i < len(p.In); i++ {
		if !p.Has(i) {
			continue
		}
		columns := i == 3 || i == 5 || i == 6
		if count := tensor.Count(p.InShape(i)); count != 1 && (!columns || count != n) || i == 6 && count != n {
			return nil, nil
		}
	}
	return integerMatMul().Compile(p)
}

// dynamicKernel quantizes A and multiplies.
type dynamicKernel struct {
	quantize, product op.Kernel
	first, second     op.Call
	a, scale, zero    tensor.Tensor // their data is scratch memory during a run
	size, own         int           // bytes of a, and of the kernels' scratch
}

func compileDynamicMatMul(p *op.Prep) (op.Kernel, error) {
	k := &dynamicKernel{size: op.Align(tensor.Count(p.InShape(0)))}
	k.a = tensor.Tensor{DType: dtype.Uint8, Shape: p.InShape(0)}
	k.scale, k.zero = tensor.Tensor{DType: dtype.Float32, Shape: []int{}}, tensor.Tensor{DType: dtype.Uint8, Shape: []int{}}
	fact := func(t *tensor.Tensor) op.Fact {
		return op.Fact{Type: ir.Type{DType: t.DType, Shape: shape.Of(t.Shape...)}, Present: true}
	}
	s, err := newStandard("DynamicQuantizeLinear", 11, nil, 1, 3)
	if err != nil {
		return nil, err
	}
	quantized := []op.Fact{fact(&k.a), fact(&k.scale), fact(&k.zero)}
	if k.quantize, err = s.Compile(&op.Prep{Node: s.node, In: p.In[:1], Out: quantized, Threads: p.Threads, Precision: p.Precision, Pack: p.Pack}); k.quantize == nil || err != nil {
		return nil, err
	}
	order := [7]int{-1, 1, -1, 2, -1, 3, 4} // of IntegerMatMul's inputs among ours
	inner := *p
	inner.In = make([]op.Fact, len(order))
	for i, from := range order {
		if from >= 0 && from < len(p.In) {
			inner.In[i] = p.In[from]
		}
	}
	inner.In[0], inner.In[2], inner.In[4] = quantized[0], quantized[1], quantized[2]
	if k.product, err = compileIntegerToFloat(&inner); k.product == nil || err != nil {
		return nil, err
	}
	for _, q := range []op.Kernel{k.quantize, k.product} {
		if x, ok := q.(op.Scratcher); ok {
			k.own = max(k.own, op.Align(x.ScratchBytes()))
		}
	}
	k.first = op.Call{Node: s.node, In: make([]*tensor.Tensor, 1), Out: []*tensor.Tensor{&k.a, &k.scale, &k.zero}}
	k.second = op.Call{Node: p.Node, In: make([]*tensor.Tensor, len(order)), Out: make([]*tensor.Tensor, 1)}
	return k, nil
}

// ScratchBytes is the working memory of a run.
func (k *dynamicKernel) ScratchBytes() int { return k.size + 2*64 + k.own }

// Run multiplies.
func (k *dynamicKernel) Run(c *op.Call) error {
	scratch := c.Scratch
	k.a.Data, scratch = scratch[:tensor.Count(k.a.Shape)], scratch[k.size:]
	k.scale.Data, k.zero.Data, scratch = scratch[:4], scratch[64:65], scratch[128:]
	for _, q := range []*op.Call{&k.first, &k.second} {
		q.Context, q.Pool, q.Scratch = c.Context, c.Pool, scratch[:k.own]
	}
	k.first.In[0] = c.In[0]
	if err := k.quantize.Run(&k.first); err != nil {
		return err
	}
	in := k.second.In
	in[0], in[1], in[2], in[3], in[4], in[5], in[6] = &k.a, c.In[1], &k.scale, c.In[2], &k.zero, c.Input(3), c.Input(4)
	k.second.Out[0] = nil
	if len(c.Out) > 0 {
		k.second.Out[0] = c.Out[0]
	}
	if err := k.product.Run(&k.second); err != nil {
		return err
	}
	c.Set(0, k.second.Out[0])
	clear(in)
	k.first.In[0], k.second.Out[0] = nil, nil
	return nil
}
