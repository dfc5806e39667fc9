package tensorops

import (
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// topKOfNumbers is TopK of integers and float64, whose keys leave no room for a position:
// a heap holds both.
type topKOfNumbers struct {
	dims        []int // of the outputs
	n, inner, k int
	keys        func(dst []uint64, x []byte, at, stride int)
	flip        uint64 // of all bits, where the smallest are wanted
	chunks      []topKChunk

	rows      int
	x, values []byte
	size      int
	indices   []int64
}

// topKChunk is what a thread needs.
type topKChunk struct {
	keys []uint64 // of a row
	best []placed // its root is the worst
}

// placed is a key and its position. The greater key is better, and of equal ones the first.
type placed struct {
	key uint64
	at  int
}

func (a placed) worse(b placed) bool { return a.key < b.key || a.key == b.key && a.at > b.at }

func newTopKOfNumbers(dt dtype.Type, in, dims []int, axis int, smallest bool) op.Kernel {
	k := &topKOfNumbers{dims: slices.Clone(dims), n: in[axis], inner: tensor.Count(in[axis+1:]), k: dims[axis], keys: orderedKeys(dt), size: dt.Bits() / 8}
	if smallest {
		k.flip = math.MaxUint64
	}
	k.rows = tensor.Count(in[:axis]) * k.inner
	for range min(split.Parts(k.rows*k.n, topGrain), max(k.rows, 1)) {
		k.chunks = append(k.chunks, topKChunk{make([]uint64, k.n), make([]placed, 0, k.k)})
	}
	return k
}

// orderedKeys is the function that makes keys, which are in the order of the elements, of
// len(dst) elements that are stride apart; nil for other types.
func orderedKeys(dt dtype.Type) func(dst []uint64, x []byte, at, stride int) {
	switch dt {
	case dtype.Int8:
		return signedKeys[int8]
	case dtype.Int16:
		return signedKeys[int16]
	case dtype.Int32:
		return signedKeys[int32]
	case dtype.Int64:
		return signedKeys[int64]
	case dtype.Uint8:
		return unsignedKeys[uint8]
	case dtype.Uint16:
		return unsignedKeys[uint16]
	case dtype.Uint32:
		return unsignedKeys[uint32]
	case dtype.Uint64:
		return unsignedKeys[uint64]
	case dtype.Float64:
		return float64Keys
	}
	return nil
}

func signedKeys[T int8 | int16 | int32 | int64](dst []uint64, x []byte, at, stride int) {
	v := tensor.View[T](x)[at:]
	for i := range dst {
		dst[i] = uint64(v[i*stride]) ^ 1<<63
	}
}

func unsignedKeys[T uint8 | uint16 | uint32 | uint64](dst []uint64, x []byte, at, stride int) {
	v := tensor.View[T](x)[at:]
	for i := range dst {
		dst[i] = uint64(v[i*stride])
	}
}

func float64Keys(dst []uint64, x []byte, at, stride int) {
	v := tensor.View[float64](x)[at:]
	for i := range dst {
		y := v[i*stride]
		b := math.Float64bits(y + 0) // no negative zero
		if dst[i] = b ^ (uint64(int64(b)>>63) | 1<<63); y != y {
			dst[i] = math.MaxUint64
		}
	}
}

// Run finds the best of all rows.
func (k *topKOfNumbers) Run(c *op.Call) error {
	x := c.In[0]
	k.x, k.values = x.Data, c.Output(0, x.DType, k.dims...).Data
	k.indices = tensor.Of[int64](c.Output(1, dtype.Int64, k.dims...))
	if k.k > 0 {
		c.Pool.Run(len(k.chunks), k)
	}
	k.x, k.values, k.indices = nil, nil, nil
	return nil
}

// Do finds those of one chunk; it is called by the pool.
func (k *topKOfNumbers) Do(part int) {
	lo, hi := split.Range(k.rows, len(k.chunks), part)
	for row := lo; row < hi; row++ {
		o, i := row/k.inner, row%k.inner
		from := o*k.n*k.inner + i
		for j, b := range k.best(&k.chunks[part], from) {
			to := (o*k.k+j)*k.inner + i
			k.indices[to] = int64(b.at)
			copy(k.values[to*k.size:(to+1)*k.size], k.x[(from+b.at*k.inner)*k.size:])
		}
	}
}

// best gives the best elements of a row, the best first.
func (k *topKOfNumbers) best(c *topKChunk, from int) []placed {
	k.keys(c.keys, k.x, from, k.inner)
	h := c.best[:k.k]
	for i, key := range c.keys[:k.k] {
		h[i] = placed{key ^ k.flip, i}
	}
	if k.k < k.n {
		for i := len(h)/2 - 1; i >= 0; i-- {
			sink(h, i)
		}
		for i, key := range c.keys[k.k:] {
			if key ^= k.flip; key > h[0].key { // an equal one comes later
				h[0] = placed{key, k.k + i}
				sink(h, 0)
			}
		}
	}
	slices.SortFunc(h, func(a, b placed) int {
		if b.worse(a) {
			return -1
		}
		return 1
	})
	return h
}

// sink moves an element of a heap down until none below it is worse.
func sink(h []placed, i int) {
	for {
		down := 2*i + 1
		if down >= len(h) {
			return
		}
		if down+1 < len(h) && h[down+1].worse(h[down]) {
			down++
		}
		if !h[down].worse(h[i]) {
			return
		}
		h[i], h[down] = h[down], h[i]
		i = down
	}
}
