package tensorops

import (
	"slices"
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/kernels/transpose"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// reduction is how an update is combined with what is there.
type reduction uint8

const (
	replace reduction = iota
	sum
	product
	highest
	lowest
)

var reductions = map[string]reduction{"": replace, "none": replace, "add": sum, "mul": product, "max": highest, "min": lowest}

// scattered are the element types that are combined; those that are only replaced
// are taken for unsigned integers of their size.
type scattered interface {
	uint8 | uint16 | uint32 | uint64 | int32 | int64 | float32 | float64
}

// combine puts u into d.
func combine[T scattered](d *T, u T, how reduction) {
	switch how {
	case replace:
		*d = u
	case sum:
		*d += u
	case product:
		*d *= u
	case highest:
		if u > *d || u != u {
			*d = u
		}
	case lowest:
		if u < *d || u != u {
			*d = u
		}
	}
}

// combineRow puts updates into d one by one.
func combineRow[T scattered](d, updates []T, how reduction) {
	d = d[:len(updates)]
	switch how {
	case replace:
		copy(d, updates)
	case sum:
		if x, ok := any(d).([]float32); ok {
			elemwise.Row(elemwise.Add)(x, x, any(updates).([]float32), 1, 1)
			return
		}
		for i, u := range updates {
			d[i] += u
		}
	default:
		for i, u := range updates {
			combine(&d[i], u, how)
		}
	}
}

// leastColumns is the least of a row that a chunk takes: each reads all indices of its
// columns.
const leastColumns = 32

// Rows of ScatterND are cut in pieces of so many bytes (cutRow) for as many chunks. Of shorter
// ones a chunk takes those whose places are in its part of the data; each reads all indices, so
// there are no more such chunks than mostPlaces, and one where rows have less than placedRow bytes.
const cutRow, placedRow, mostPlaces = 1 << 10, 256, 4

// newScatter makes the kernel for the type of input 0, or nil where the reference serves it.
func newScatter(p *op.Prep, s scatterShape) op.Kernel {
	how, ok := reductions[p.Node.Str("reduction")]
	size, whole := byteSize(p.In[0].DType)
	if !ok || !whole || p.In[1].DType != dtype.Int64 {
		return nil
	}
	s.how, s.dt, s.dims = how, p.In[0].DType, p.InShape(0)
	switch {
	case how == replace:
		switch size {
		case 1:
			return &scatterKernel[uint8]{scatterShape: s}
		case 2:
			return &scatterKernel[uint16]{scatterShape: s}
		case 4:
			return &scatterKernel[uint32]{scatterShape: s}
		case 8:
			return &scatterKernel[uint64]{scatterShape: s}
		}
	case s.dt == dtype.Float32:
		return &scatterKernel[float32]{scatterShape: s}
	case s.dt == dtype.Float64:
		return &scatterKernel[float64]{scatterShape: s}
	case s.dt == dtype.Int32:
		return &scatterKernel[int32]{scatterShape: s}
	case s.dt == dtype.Int64:
		return &scatterKernel[int64]{scatterShape: s}
	}
	return nil
}

// compileScatterElements serves indices of the data's shape behind the axis.
func compileScatterElements(p *op.Prep) (op.Kernel, error) {
	x, idx := p.InShape(0), p.InShape(1)
	axis, err := op.Axis(p.Node.Int("axis"), len(x))
	if err != nil {
		return nil, err
	}
	if len(idx) != len(x) || !slices.Equal(idx, p.InShape(2)) || !slices.Equal(idx[axis+1:], x[axis+1:]) {
		return nil, nil
	}
	for d := range axis {
		if idx[d] > x[d] {
			return nil, nil
		}
	}
	inner, lines, rows := tensor.Count(x[axis+1:]), tensor.Count(idx[:axis]), idx[axis]
	if tensor.Count(idx) == 0 { // of dimensions that may be long
		lines, rows = 0, 0
	}
	s := scatterShape{limits: x[axis : axis+1], strides: []int{inner}, n: rows, width: inner, each: true, bases: make([]int, lines)}
	at, strides := make([]int, axis), tensor.Strides(x)
	for i := range s.bases {
		for d, a := range at {
			s.bases[i] += a * strides[d]
		}
		advance(at, idx[:axis])
	}
	s.parts = split.Parts(tensor.Count(idx), 16384)
	if s.byLine = lines >= inner; s.byLine {
		s.parts = min(s.parts, max(lines, 1))
	} else {
		s.parts = min(s.parts, max(inner/leastColumns, 1))
	}
	k := newScatter(p, s)
	if k == nil {
		return nil, nil
	}
	return k, nil
}

func compileScatterND(p *op.Prep) (op.Kernel, error) {
	x, idx := p.InShape(0), p.InShape(1)
	if len(idx) == 0 || idx[len(idx)-1] > len(x) {
		return nil, nil
	}
	last := len(idx) - 1
	depth := idx[last]
	if !slices.Equal(p.InShape(2), slices.Concat(idx[:last], x[depth:])) {
		return nil, nil
	}
	s := scatterShape{limits: x[:depth], strides: tensor.Strides(x)[:depth], n: tensor.Count(idx[:last]), width: tensor.Count(x[depth:]), bases: []int{0}}
	if depth == 0 && s.width == 0 { // neither an index nor an element
		s.n = 0
	}
	s.parts = split.Parts(s.n*s.width, 16384)
	switch bytes := s.width * p.In[0].DType.Bits() / 8; {
	case bytes >= 2*cutRow:
		s.parts = min(s.parts, bytes/cutRow)
	case bytes >= placedRow && tensor.Count(x) > 0:
		s.byPlace, s.parts = true, min(s.parts, mostPlaces)
	default:
		s.parts = 1
	}
	k := newScatter(p, s)
	if k == nil {
		return nil, nil
	}
	return k, nil
}

// scatterShape is how updates lie: for each base, the offset of a part of the data,
// there are n rows of so many of them (width).
type scatterShape struct {
	how     reduction
	dt      dtype.Type
	dims    []int
	limits  []int // of indices
	strides []int // in the data, for each index
	bases   []int
	n       int
	width   int
	each    bool // each update has an index; else each row a tuple of len(limits)
	byLine  bool // chunks are of bases; else of columns
	byPlace bool // or of the data
	parts   int
}

// scatterKernel combines updates in their order. Chunks never share an element of the data.
type scatterKernel[T scattered] struct {
	scatterShape
	dst, src, updates []T
	to, from          []byte // dst and src, while these are copied
	ids               []int64
	errs              split.Errors
}

func (k *scatterKernel[T]) Run(c *op.Call) error {
	out := c.Output(0, k.dt, k.dims...)
	k.dst, k.src, k.updates, k.ids = tensor.Of[T](out), tensor.Of[T](c.In[0]), tensor.Of[T](c.In[2]), tensor.Of[int64](c.In[1])
	if len(k.dst) > 0 && &k.dst[0] != &k.src[0] { // else in place
		k.to, k.from = out.Data, c.In[0].Data
		c.Pool.Run(split.Parts(len(k.dst), 1<<16), (*scatterCopy[T])(k))
		k.to, k.from = nil, nil
	}
	c.Pool.Run(k.parts, k)
	k.dst, k.src, k.updates, k.ids = nil, nil, nil, nil
	return k.errs.First()
}

// scatterCopy copies the data.
type scatterCopy[T scattered] scatterKernel[T]

func (k *scatterCopy[T]) Do(part int) {
	lo, hi := split.Range(len(k.dst), split.Parts(len(k.dst), 1<<16), part)
	size := int(unsafe.Sizeof(k.dst[0]))
	transpose.CopyBytes(k.to[lo*size:hi*size], k.from[lo*size:hi*size])
}

// Do combines one chunk; it is called by the pool.
func (k *scatterKernel[T]) Do(part int) {
	from, to, left, right, first, end := 0, len(k.bases), 0, k.width, 0, len(k.dst)
	switch {
	case k.byLine:
		from, to = split.Range(len(k.bases), k.parts, part)
	case k.byPlace:
		first, end = split.Range(len(k.dst), k.parts, part)
	default:
		left, right = split.Range(k.width, k.parts, part)
	}
	for b := from; b < to; b++ {
		var err error
		switch {
		case !k.each:
			err = k.tuples(left, right, first, end)
		case k.width == 1:
			err = k.line(k.bases[b], 0, b*k.n, (b+1)*k.n)
		default:
			for r := b * k.n; r < (b+1)*k.n && err == nil; r++ {
				err = k.row(k.bases[b]+left, r*k.width+left, r*k.width+right)
			}
		}
		if err != nil {
			k.errs[part] = err
			return
		}
	}
}

// row combines updates lo to hi with neighbours in the data; often all have the same index.
func (k *scatterKernel[T]) row(base, lo, hi int) error {
	if lo == hi {
		return nil
	}
	ids := k.ids[lo:hi]
	for _, id := range ids {
		if id != ids[0] {
			return k.line(base, 1, lo, hi)
		}
	}
	at, err := element(int(ids[0]), k.limits[0])
	if err == nil {
		combineRow(k.dst[base+at*k.strides[0]:], k.updates[lo:hi], k.how)
	}
	return err
}

// line combines updates lo to hi, each with its index; the i-th of them i·step elements
// further.
func (k *scatterKernel[T]) line(base, step, lo, hi int) error {
	limit, stride, how := k.limits[0], k.strides[0], k.how
	updates := k.updates[lo:hi]
	for i, id := range k.ids[lo:hi] {
		at := int(id)
		if uint(at) >= uint(limit) {
			var err error
			if at, err = element(at, limit); err != nil {
				return err
			}
		}
		combine(&k.dst[base+at*stride+i*step], updates[i], how)
	}
	return nil
}

// tuples combines the columns from left to right of all rows that begin in the data from first to end.
func (k *scatterKernel[T]) tuples(left, right, first, end int) error {
	depth := len(k.limits)
	for r := range k.n {
		base := 0
		for d, id := range k.ids[r*depth : (r+1)*depth] {
			at, err := element(int(id), k.limits[d])
			if err != nil {
				return err
			}
			base += at * k.strides[d]
		}
		if base < first || base >= end {
			continue
		}
		if k.width == 1 {
			combine(&k.dst[base], k.updates[r], k.how)
			continue
		}
		combineRow(k.dst[base+left:base+right], k.updates[r*k.width+left:r*k.width+right], k.how)
	}
	return nil
}
