package tensorops

import (
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/blend"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/kernels/transpose"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/tensor"
)

// compileResize makes kernels for whole-byte elements (nearest), and for floats up to 32 bits and
// bytes (the other modes), whose operands are constants.
func compileResize(p *op.Prep) (op.Kernel, error) {
	dt := p.In[0].DType
	switch {
	case p.Node.Str("mode") == "nearest":
		return compileSized(p)
	case dt == dtype.Uint8 || dt == dtype.Int8:
		return compileBytes(p)
	}
	return wide.Compile(compileSized)(p)
}

func compileSized(p *op.Prep) (op.Kernel, error) {
	o, known := operandsOfFacts(p.Node, p.In)
	size, bytes := byteSize(p.In[0].DType)
	if !known || !bytes {
		return nil, nil
	}
	r := newResizing(p.Node)
	if err := r.resolve(p.Node, p.InShape(0), o); err != nil {
		return nil, err
	}
	taps, err := r.taps()
	if err != nil {
		return nil, err
	}
	for _, t := range taps {
		if t != nil && slices.Contains(t.outside, true) {
			return nil, nil
		}
	}
	if r.mode == "nearest" {
		return newNearest(p, r.outDims(), taps, size), nil
	}
	if p.In[0].DType != dtype.Float32 || tensor.Count(r.outDims()) == 0 {
		return nil, nil
	}
	return newInterpolation(p.InShape(0), r.outDims(), taps, p.Threads), nil
}

// nearest copies rows of the last axis element by element, or whole where the
// last axis stays; a row like the one before is copied from it.
type nearest struct {
	dt       dtype.Type
	dims     []int
	size     int     // of an element, bytes
	rows     []int   // offset of the input row of each output row, bytes
	columns  []int32 // input element of each output element of a row; nil for all in order
	repeat   int     // each input element of a row this often in order; 0 if columns is not so
	width    int     // bytes of an output row
	parts    int
	dst, src []byte
}

func newNearest(p *op.Prep, dims []int, taps []*axisTaps, size int) op.Kernel {
	in := p.InShape(0)
	if len(in) == 0 || tensor.Count(dims) == 0 {
		return nil
	}
	last := len(dims) - 1
	k := &nearest{dt: p.In[0].DType, dims: dims, size: size, width: dims[last] * size, rows: []int{0}}
	for d := range last {
		stride := tensor.Count(in[d+1:]) * size
		var next []int
		for _, base := range k.rows {
			for i := range dims[d] {
				if taps[d] != nil {
					i = taps[d].index[i]
				}
				next = append(next, base+i*stride)
			}
		}
		k.rows = next
	}
	if t := taps[last]; t != nil {
		for _, i := range t.index {
			k.columns = append(k.columns, int32(i))
		}
	}
	k.repeat = repeats(k.columns)
	k.parts = split.Parts(len(k.rows)*k.width, 64<<10)
	return k
}

// repeats gives r if columns is 0 r times, 1 r times and so on, else 0.
func repeats(columns []int32) int {
	r := 0
	for r < len(columns) && columns[r] == 0 {
		r++
	}
	for i, c := range columns {
		if r == 0 || int(c) != i/r {
			return 0
		}
	}
	return r
}

func (k *nearest) Run(c *op.Call) error {
	k.dst, k.src = c.Output(0, k.dt, k.dims...).Data, c.In[0].Data
	c.Pool.Run(min(k.parts, len(k.rows)), k)
	k.dst, k.src = nil, nil
	return nil
}

// Do fills one chunk of rows; it is called by the pool.
func (k *nearest) Do(part int) {
	lo, hi := split.Range(len(k.rows), min(k.parts, len(k.rows)), part)
	for r := lo; r < hi; r++ {
		dst := k.dst[r*k.width : (r+1)*k.width]
		switch {
		case k.repeat == 2 && len(k.columns)%2 == 0 && k.size <= 8:
			again := dst
			if r+1 < hi && k.rows[r+1] == k.rows[r] {
				r++
				again = k.dst[r*k.width : (r+1)*k.width]
			}
			transpose.Double(dst, again, k.src[k.rows[r]:][:k.width/2], k.size)
		case r > lo && k.rows[r] == k.rows[r-1]:
			copy(dst, k.dst[(r-1)*k.width:r*k.width])
		case k.columns == nil:
			copy(dst, k.src[k.rows[r]:k.rows[r]+k.width])
		default:
			k.row(dst, k.src[k.rows[r]:])
		}
	}
}

func (k *nearest) row(dst, src []byte) {
	switch k.size {
	case 1:
		nearestRow[uint8](dst, src, k.columns)
	case 2:
		nearestRow[uint16](dst, src, k.columns)
	case 4:
		nearestRow[uint32](dst, src, k.columns)
	case 8:
		nearestRow[uint64](dst, src, k.columns)
	default:
		for i, c := range k.columns {
			copy(dst[i*k.size:(i+1)*k.size], src[int(c)*k.size:])
		}
	}
}

// nearestRow takes an element of src for each column.
func nearestRow[T uint8 | uint16 | uint32 | uint64](dst, src []byte, columns []int32) {
	s := tensor.View[T](src)
	d := tensor.View[T](dst)[:len(columns)]
	for i, c := range columns {
		d[i] = s[c]
	}
}

// interpolation applies the taps of one axis after the other in float32; each
// product and sum is rounded, in the order of the taps.
type interpolation struct {
	dims   []int
	passes []*pass
	bytes  int // of scratch
}

// pass interpolates one axis: outer × in × inner gives outer × out × inner.
type pass struct {
	outer, in, out, inner int
	n                     int
	index                 []int32
	offsets               []int // of the taps' rows, in bytes
	weight                []float32
	parts                 int
	dst, src              []float32
}

func newInterpolation(in, out []int, taps []*axisTaps, threads int) op.Kernel {
	k := &interpolation{dims: out}
	dims := slices.Clone(in)
	for _, axis := range passOrder(in, out, taps) {
		t := taps[axis]
		p := &pass{outer: tensor.Count(dims[:axis]), in: dims[axis], out: out[axis], inner: tensor.Count(dims[axis+1:]), n: t.n}
		for i, w := range t.weight {
			p.index, p.weight = append(p.index, int32(t.index[i])), append(p.weight, float32(w))
			p.offsets = append(p.offsets, 4*t.index[i]*p.inner)
		}
		dims[axis] = out[axis]
		rows := p.outer * p.out
		if p.inner == 1 {
			rows = p.outer
		}
		p.parts = min(split.Parts(tensor.Count(dims)*t.n, 16<<10), max(rows, 1))
		k.passes = append(k.passes, p)
		k.bytes = max(k.bytes, 4*tensor.Count(dims))
	}
	switch len(k.passes) {
	case 0:
		return nil
	case 2:
		if f := newPlanes(k, threads); f != nil {
			return f
		}
	}
	return k
}

// passOrder lists the axes that change: first those that shrink, outermost
// first, since whole rows are cheap to add; then those that grow, innermost first.
func passOrder(in, out []int, taps []*axisTaps) []int {
	var order, grow []int
	for axis, t := range taps {
		switch {
		case t == nil:
		case out[axis] > in[axis]:
			grow = append(grow, axis)
		default:
			order = append(order, axis)
		}
	}
	slices.Reverse(grow)
	return append(order, grow...)
}

// ScratchBytes is room for two intermediate results.
func (k *interpolation) ScratchBytes() int {
	if len(k.passes) < 2 {
		return 0
	}
	return 2 * (k.bytes + tensor.Align)
}

func (k *interpolation) Run(c *op.Call) error {
	src := tensor.Of[float32](c.In[0])
	half := len(c.Scratch) / 2 / tensor.Align * tensor.Align
	for i, p := range k.passes {
		var dst []float32
		if i == len(k.passes)-1 {
			dst = tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...))
		} else {
			side := c.Scratch[i%2*half:]
			dst = tensor.View[float32](side[:half])
		}
		p.dst, p.src = dst, src
		c.Pool.Run(p.parts, p)
		p.dst, p.src = nil, nil
		src = dst
	}
	return nil
}

// Do computes one chunk; it is called by the pool.
func (p *pass) Do(part int) {
	if p.inner == 1 {
		lo, hi := split.Range(p.outer, p.parts, part)
		p.items(p.dst[lo*p.out:hi*p.out], p.src[lo*p.in:hi*p.in])
		return
	}
	lo, hi := split.Range(p.outer*p.out, p.parts, part)
	for r := lo; r < hi; r++ {
		o := r / p.out
		p.row(p.dst[r*p.inner:(r+1)*p.inner], p.src[o*p.in*p.inner:(o+1)*p.in*p.inner], r%p.out)
	}
}

// items interpolates some of the outer items.
func (p *pass) items(dst, src []float32) {
	in, out := p.in*p.inner, p.out*p.inner
	for p.inner == 1 && len(dst) >= 4*out {
		p.alongRows(dst[:4*out], src[:4*in])
		dst, src = dst[4*out:], src[4*in:]
	}
	for len(dst) > 0 {
		if p.inner == 1 {
			p.alongRow(dst[:out], src[:in])
		} else {
			for i := range p.out {
				p.row(dst[i*p.inner:(i+1)*p.inner], src[:in], i)
			}
		}
		dst, src = dst[out:], src[in:]
	}
}

// row computes output i along the axis of one of the outer items.
func (p *pass) row(row, src []float32, i int) {
	if p.inner >= leastInner {
		blend.Rows(row, src, p.offsets[i*p.n:(i+1)*p.n], p.weight[i*p.n:(i+1)*p.n])
		return
	}
	for k := i * p.n; k < (i+1)*p.n; k++ {
		scaleRow(row, src[int(p.index[k])*p.inner:][:p.inner], p.weight[k], k > i*p.n)
	}
}

// leastInner is the length of rows from which the kernel pays.
const leastInner = 8

// scaleRow computes dst = w·src, or adds it.
func scaleRow(dst, src []float32, w float32, add bool) {
	for j, v := range src {
		if add {
			dst[j] += float32(w * v)
		} else {
			dst[j] = w * v
		}
	}
}

// alongRows interpolates along the last axis, four rows beside each other, for which places
// and weights are read once.
func (p *pass) alongRows(dst, src []float32) {
	d0, s0 := dst[:p.out], src[:p.in]
	d1, s1 := dst[p.out:][:len(d0)], src[p.in:][:len(s0)]
	d2, s2 := dst[2*p.out:][:len(d0)], src[2*p.in:][:len(s0)]
	d3, s3 := dst[3*p.out:][:len(d0)], src[3*p.in:][:len(s0)]
	if p.n == 2 {
		index, weight := p.index[:2*len(d0)], p.weight[:2*len(d0)]
		for i := range d0 {
			a, b, u, v := index[2*i], index[2*i+1], weight[2*i], weight[2*i+1]
			d0[i] = float32(u*s0[a]) + float32(v*s0[b])
			d1[i] = float32(u*s1[a]) + float32(v*s1[b])
			d2[i] = float32(u*s2[a]) + float32(v*s2[b])
			d3[i] = float32(u*s3[a]) + float32(v*s3[b])
		}
		return
	}
	for i := range d0 {
		var t0, t1, t2, t3 float32
		index, weight := p.index[i*p.n:][:p.n], p.weight[i*p.n:][:p.n]
		for k, a := range index {
			w := weight[k]
			t0 += float32(w * s0[a])
			t1 += float32(w * s1[a])
			t2 += float32(w * s2[a])
			t3 += float32(w * s3[a])
		}
		d0[i], d1[i], d2[i], d3[i] = t0, t1, t2, t3
	}
}

// alongRow interpolates along the last axis.
func (p *pass) alongRow(dst, src []float32) {
	if p.n == 2 {
		index, weight := p.index[:2*len(dst)], p.weight[:2*len(dst)]
		for i := range dst {
			dst[i] = float32(weight[2*i]*src[index[2*i]]) + float32(weight[2*i+1]*src[index[2*i+1]])
		}
		return
	}
	for i := range dst {
		sum := float32(0)
		for k := i * p.n; k < (i+1)*p.n; k++ {
			sum += float32(p.weight[k] * src[p.index[k]])
		}
		dst[i] = sum
	}
}
