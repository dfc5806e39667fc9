package tensorops

import (
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/reduce"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// topKernel keeps the best k of each row of float32 numbers in a heap whose
// root is the worst of them, or sorts the row where k is a good part of it.
type topKernel struct {
	dims     []int // of the outputs
	outer, n int
	inner, k int
	smallest bool
	sorts    bool
	heaps    []topHeap // of the chunks

	x, values []float32
	indices   []int64
}

// topHeap is the best elements of a row so far, as keys: greater ones are better.
type topHeap struct {
	*topKernel
	heap []uint64
}

// key orders by value and, of equal values, by position, the first ahead. NaN is larger
// than every number.
func (k *topKernel) key(v float32, at int) uint64 {
	b := math.Float32bits(v + 0) // no negative zero
	b ^= uint32(int32(b)>>31) | 1<<31
	if v != v {
		b = math.MaxUint32
	}
	if k.smallest {
		b = ^b
	}
	return uint64(b)<<32 | uint64(^uint32(at))
}

// keyAt is the position in a key.
func keyAt(key uint64) int { return int(^uint32(key)) }

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
	parts := min(split.Parts(k.outer*k.n*k.inner, topGrain), max(k.outer*k.inner, 1))
	const part = 16 // of a row, from which it is sorted
	k.sorts = k.k*part >= k.n && k.k > part
	room := k.k
	if k.sorts {
		room = k.n
	}
	for range parts {
		k.heaps = append(k.heaps, topHeap{k, make([]uint64, 0, room)})
	}
	return k, nil
}

// topGrain is the least number of elements in a chunk.
const topGrain = 1 << 13

// Run finds the best of all rows.
func (k *topKernel) Run(c *op.Call) error {
	k.x = tensor.Of[float32](c.In[0])
	k.values = tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...))
	k.indices = tensor.Of[int64](c.Output(1, dtype.Int64, k.dims...))
	if k.k > 0 {
		c.Pool.Run(len(k.heaps), k)
	}
	k.x, k.values, k.indices = nil, nil, nil
	return nil
}

// Do finds those of one chunk; it is called by the pool.
func (k *topKernel) Do(part int) {
	h := &k.heaps[part]
	lo, hi := split.Range(k.outer*k.inner, len(k.heaps), part)
	for row := lo; row < hi; row++ {
		o, i := row/k.inner, row%k.inner
		x := k.x[o*k.n*k.inner+i:]
		best := h.best(x)
		for j, key := range best {
			at := keyAt(key)
			to := (o*k.k+j)*k.inner + i
			k.values[to], k.indices[to] = x[at*k.inner], int64(at)
		}
	}
}

// best gives the keys of a row's best elements, the best first; elements are inner apart.
func (k *topHeap) best(x []float32) []uint64 {
	if k.sorts {
		k.heap = k.heap[:0]
		for j := range k.n {
			k.heap = append(k.heap, k.key(x[j*k.inner], j))
		}
	} else {
		k.collect(x)
	}
	slices.Sort(k.heap)
	slices.Reverse(k.heap)
	return k.heap[:k.k]
}

// topPiece is how many neighbours are passed over at once if none is better than the worst
// of the heap.
const topPiece = 64

// collect fills the heap with the best of a row whose elements are inner apart.
func (k *topHeap) collect(x []float32) {
	k.heap = k.heap[:0]
	for j := 0; j < k.n; j++ {
		if len(k.heap) == k.k && k.inner == 1 && j%topPiece == 0 {
			for j+topPiece <= k.n {
				// A NaN hides what is less than it.
				best := reduce.Extremum(x[j:j+topPiece], k.smallest)
				if best != best || k.heap[0] < k.key(best, j) {
					break
				}
				j += topPiece
			}
			if j == k.n {
				return
			}
		}
		key := k.key(x[j*k.inner], j)
		if len(k.heap) < k.k {
			k.heap = append(k.heap, key)
			if len(k.heap) == k.k {
				slices.Sort(k.heap) // which makes a heap
			}
		} else if k.heap[0] < key {
			k.heap[0] = key
			k.down()
		}
	}
}

// down moves the root to its place.
func (k *topHeap) down() {
	h := k.heap
	for i := 0; ; {
		c := 2*i + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && h[c+1] < h[c] {
			c++
		}
		if h[i] < h[c] {
			return
		}
		h[i], h[c] = h[c], h[i]
		i = c
	}
}
