package tensorops

import (
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// topKernel keeps the best k of each row of float32 numbers in a heap whose
// root is the worst of them.
type topKernel struct {
	dims     []int // of the outputs
	outer, n int
	inner, k int
	smallest bool
	heap     []ranked
}

// ranked is a number with its position in the row.
type ranked struct {
	value float32
	at    int32
}

func compileTopK(p *op.Prep) (op.Kernel, error) {
	dims := p.OutShape(0)
	if p.In[0].DType != dtype.Float32 || dims == nil {
		return nil, nil
	}
	in := p.InShape(0)
	axis, err := op.Axis(p.Node.Int("axis"), len(in))
	if err != nil {
		return nil, err
	}
	k := &topKernel{
		dims: slices.Clone(dims), outer: tensor.Count(in[:axis]), n: in[axis], inner: tensor.Count(in[axis+1:]), k: dims[axis],
		smallest: p.Node.Has("largest") && !p.Node.Bool("largest"),
	}
	k.heap = make([]ranked, 0, k.k)
	return k, nil
}

func (k *topKernel) Run(c *op.Call) error {
	x := tensor.Of[float32](c.In[0])
	values := tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...))
	indices := tensor.Of[int64](c.Output(1, dtype.Int64, k.dims...))
	if k.k == 0 {
		return nil
	}
	for o := range k.outer {
		for i := range k.inner {
			k.collect(x[o*k.n*k.inner+i:])
			for j := k.k - 1; j >= 0; j-- {
				best := k.pop()
				to := (o*k.k+j)*k.inner + i
				values[to], indices[to] = best.value, int64(best.at)
			}
		}
	}
	return nil
}

// worse reports whether a ranks behind b: by value, and of equal values the
// later one. NaN is larger than every number.
func (k *topKernel) worse(a, b ranked) bool {
	switch {
	case a.value == b.value:
		return a.at > b.at
	case a.value != a.value && b.value != b.value:
		return a.at > b.at
	case a.value != a.value:
		return k.smallest
	case b.value != b.value:
		return !k.smallest
	}
	return (a.value < b.value) != k.smallest
}

// collect fills the heap with the best of a row whose elements are inner apart.
func (k *topKernel) collect(x []float32) {
	k.heap = k.heap[:0]
	for j := range k.n {
		r := ranked{x[j*k.inner], int32(j)}
		if len(k.heap) < k.k {
			k.heap = append(k.heap, r)
			k.up(len(k.heap) - 1)
		} else if k.worse(k.heap[0], r) {
			k.heap[0] = r
			k.down(0)
		}
	}
}

func (k *topKernel) up(i int) {
	for h := k.heap; i > 0 && k.worse(h[i], h[(i-1)/2]); i = (i - 1) / 2 {
		h[i], h[(i-1)/2] = h[(i-1)/2], h[i]
	}
}

func (k *topKernel) down(i int) {
	h := k.heap
	for {
		c := 2*i + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && k.worse(h[c+1], h[c]) {
			c++
		}
		if !k.worse(h[c], h[i]) {
			return
		}
		h[i], h[c] = h[c], h[i]
		i = c
	}
}

// pop takes the worst out of the heap.
func (k *topKernel) pop() ranked {
	worst, last := k.heap[0], len(k.heap)-1
	k.heap[0] = k.heap[last]
	k.heap = k.heap[:last]
	k.down(0)
	return worst
}
