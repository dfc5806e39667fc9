package tensorops

import (
	"math"
	"math/bits"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/reduce"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// topKernel keeps the best k of each row of float32 numbers in a heap whose
// root is the worst of them, or parts the row where k is a good part of it.
type topKernel struct {
	dims     []int // of the outputs
	outer, n int
	inner, k int
	smallest bool
	sorts    bool
	samples  bool
	heaps    []topHeap                                    // of the chunks
	compare  func(dst []bool, a, b []float32, sa, sb int) // is a no better than b?
	behind   func(dst []bool, a, b []float32, sa, sb int) // is a worse?

	x, values []float32
	indices   []int64
}

// topHeap is the best elements of a row so far, as keys: greater ones are better.
type topHeap struct {
	*topKernel
	heap   []uint64
	spare  []uint64 // as many, where the row is parted
	passed [topPiece]bool
	worst  [1]float32 // of the heap
	_      [64]byte   // no false sharing with the next
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
	if dims == nil {
		return nil, nil
	}
	in := p.InShape(0)
	axis, err := op.Axis(p.Node.Int("axis"), len(in))
	if err != nil {
		return nil, err
	}
	smallest := p.Node.Has("largest") && !p.Node.Bool("largest")
	if dt := p.In[0].DType; dt != dtype.Float32 {
		if orderedKeys(dt) == nil {
			return nil, nil
		}
		return newTopKOfNumbers(dt, in, dims, axis, smallest), nil
	}
	k := &topKernel{
		dims: slices.Clone(dims), outer: tensor.Count(in[:axis]), n: in[axis], inner: tensor.Count(in[axis+1:]), k: dims[axis],
		smallest: smallest,
	}
	parts := min(split.Parts(k.outer*k.n*k.inner, topGrain), max(k.outer*k.inner, 1))
	const part = 16 // of a row, from which it is sorted
	k.sorts = k.k*part >= k.n && k.k > part
	k.compare, k.behind = elemwise.CompareRow(elemwise.LessEqual), elemwise.CompareRow(elemwise.Less)
	if k.smallest {
		k.compare, k.behind = elemwise.CompareRow(elemwise.GreaterEqual), elemwise.CompareRow(elemwise.Greater)
	}
	k.samples = !k.sorts && k.k > 1 && k.inner == 1 && k.n >= leastPieces*k.k*samplePiece
	room := k.k
	if k.samples {
		room = max(sampledMost(k.k), k.n/samplePiece)
	}
	if k.sorts {
		room = k.n
	}
	room = max(room, topFew) // whole lines of the caches
	for range parts {
		h := topHeap{topKernel: k, heap: make([]uint64, 0, room)}
		if k.sorts {
			h.spare = make([]uint64, room)
		}
		k.heaps = append(k.heaps, h)
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
	switch {
	case k.sorts:
		k.heap = k.heap[:0]
		for j := range k.n {
			k.heap = append(k.heap, k.key(x[j*k.inner], j))
		}
		k.part()
	case k.samples && k.sample(x):
	case k.k == 1 && k.inner == 1 && k.n >= topPiece && k.first(x):
		return k.heap
	default:
		if k.collect(x); k.k <= topFew {
			return k.heap
		}
	}
	slices.Sort(k.heap)
	slices.Reverse(k.heap)
	return k.heap[:k.k]
}

// part leaves the best k of the heap's keys, and maybe some more.
func (k *topHeap) part() {
	const enough, most = 32, 64 // rounds, for rows that mislead it
	kept := 0                   // in front, and among the best
	for range most {
		rest := k.heap[kept:]
		want := k.k - kept
		if len(rest)-want <= enough {
			return
		}
		// Keys differ, so that one at least is better and one worse.
		pivot := middle(rest[0], rest[len(rest)/2], rest[len(rest)-1])
		better, worse := 0, 0
		for _, key := range rest {
			rest[better], k.spare[worse] = key, key
			_, below := bits.Sub64(key, pivot, 0)
			worse += int(below)
			better += 1 - int(below)
		}
		if better >= want {
			k.heap = k.heap[:kept+better]
			continue
		}
		copy(rest[better:], k.spare[:worse])
		kept += better
	}
}

// middle is the second of three.
func middle(a, b, c uint64) uint64 { return max(min(a, b), min(max(a, b), c)) }

// first finds the best element of a row of neighbours; it fails where a NaN may hide it.
func (k *topHeap) first(x []float32) bool {
	x = x[:k.n]
	best, at := x[0], 0
	for j := 0; j < len(x); j += blockMost {
		v := reduce.Extremum(x[j:min(j+blockMost, len(x))], k.smallest)
		if v != v {
			return false
		}
		if v > best && !k.smallest || v < best && k.smallest {
			best, at = v, j
		}
	}
	for x[at] != best {
		at++
	}
	k.heap = append(k.heap[:0], k.key(best, at))
	return true
}

// samplePiece is how many elements of a row have one for their best in the sample; there are leastPieces times as many
// of them as elements are asked for, at least.
const samplePiece, leastPieces = 32, 2

// sampledMost is how many elements may be no worse than the k-th of the sample.
func sampledMost(k int) int { return 4*k + 64 }

// sample takes the best of each piece: at least k elements of the row are no worse than the k-th of these, and often
// few more. It fails where there are many, or a NaN may hide one.
func (k *topHeap) sample(x []float32) bool {
	x = x[:k.n]
	k.heap = k.heap[:0]
	piece := max(samplePiece, min(k.n/(leastPieces*k.k), blockMost))
	for at := 0; at+piece <= len(x); at += piece {
		v := reduce.Extremum(x[at:at+piece], k.smallest)
		if v != v {
			return false
		}
		k.heap = append(k.heap, k.key(v, at))
	}
	slices.Sort(k.heap)
	at := keyAt(k.heap[len(k.heap)-k.k])
	k.worst[0] = reduce.Extremum(x[at:at+piece], k.smallest)
	k.heap = k.heap[:0]
	for at := 0; at < len(x); at += topPiece {
		n := min(topPiece, len(x)-at)
		k.behind(k.passed[:n], x[at:at+n], k.worst[:], 1, 0)
		for i := 0; i < n; i++ {
			if i+8 <= n && *(*[8]bool)(k.passed[i:]) == [8]bool{true, true, true, true, true, true, true, true} {
				i += 7
				continue
			}
			if k.passed[i] {
				continue
			}
			if len(k.heap) == sampledMost(k.k) {
				return false
			}
			k.heap = append(k.heap, k.key(x[at+i], at+i))
		}
	}
	return true
}

// blockMost is how many elements have an extremum together.
const blockMost = 256

// topPiece is how many neighbours are compared at once with the worst of the heap.
const topPiece = 64

// collect fills the heap with the best of a row whose elements are inner apart.
func (k *topHeap) collect(x []float32) {
	k.heap = k.heap[:0]
	if k.k <= topFew && k.inner == 1 {
		k.few(x[:k.n])
		return
	}
	for j := 0; j < k.n; j++ {
		for len(k.heap) == k.k && k.inner == 1 && j+topPiece <= k.n {
			if k.worst[0] = x[keyAt(k.heap[0])]; k.worst[0] != k.worst[0] {
				break // with which nothing compares
			}
			k.piece(x[j:j+topPiece], j)
			j += topPiece
		}
		if j < k.n {
			k.offer(k.key(x[j*k.inner], j))
		}
	}
}

// few is collect for few of neighbours. What replaces the worst of few soon gets rare: until then elements are looked at one
// by one, and then many at once.
func (k *topHeap) few(x []float32) {
	for j, v := range x[:k.k] {
		k.insert(k.key(v, j))
	}
	for j := k.k; j < len(x); {
		worst := x[keyAt(k.heap[k.k-1])]
		if j >= topPiece && j+topPiece <= len(x) && worst == worst {
			k.worst[0] = worst
			k.piece(x[j:j+topPiece], j)
			j += topPiece
			continue
		}
		end := len(x)
		if j < topPiece && 2*topPiece <= end {
			end = topPiece
		}
		if j = k.skip(x[:end], j, worst); j < end {
			k.insert(k.key(x[j], j))
			j++
		}
	}
}

// skip is the first place from j on that does not fall behind worst, or the end.
func (k *topHeap) skip(x []float32, j int, worst float32) int {
	if k.smallest {
		for j < len(x) && x[j] >= worst {
			j++
		}
		return j
	}
	for j < len(x) && x[j] <= worst {
		j++
	}
	return j
}

// piece offers those of neighbours from the element at on that do not fall behind the worst of the heap.
func (k *topHeap) piece(x []float32, at int) {
	k.compare(k.passed[:], x, k.worst[:], 1, 0)
	for i := 0; i < topPiece; i += 8 {
		passed := *(*[8]bool)(k.passed[i:])
		if passed == [8]bool{true, true, true, true, true, true, true, true} {
			continue
		}
		for j, p := range passed {
			if !p {
				k.offer(k.key(x[i+j], at+i+j))
			}
		}
	}
}

// topFew is how many are kept in order, the best first, instead of in a heap.
const topFew = 16

// offer takes a key into the heap, if there is room or a worse one.
func (k *topHeap) offer(key uint64) {
	if k.k <= topFew {
		k.insert(key)
		return
	}
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

// insert is offer where few are kept.
func (k *topHeap) insert(key uint64) {
	h := k.heap
	if len(h) < k.k {
		h = append(h, 0)
		k.heap = h
	} else if key < h[len(h)-1] {
		return
	}
	i := len(h) - 1
	for ; i > 0 && h[i-1] < key; i-- {
		h[i] = h[i-1]
	}
	h[i] = key
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
