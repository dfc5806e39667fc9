package tensorops

import (
	"slices"
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// padKernel fills in the constant and copies what stays of the input.
type padKernel struct {
	move
	dt   dtype.Type
	dims []int
	size int
	zero bool // the constant is zero
	fill []byte
}

func (k *padKernel) Run(c *op.Call) error {
	out := c.Output(0, k.dt, k.dims...)
	fill := k.fill
	if !k.zero {
		v, err := padValue(c)
		if err != nil {
			return err
		}
		fill = v.Data
	}
	if isZero(fill) {
		clear(out.Data)
	} else if len(out.Data) > 0 {
		n := copy(out.Data, fill)
		for n < len(out.Data) {
			n += copy(out.Data[n:], out.Data[:n])
		}
	}
	k.move.Run(c.Pool, out.Data, c.In[0].Data)
	return nil
}

func isZero(b []byte) bool { return !slices.ContainsFunc(b, func(x byte) bool { return x != 0 }) }

func compilePad(p *op.Prep) (op.Kernel, error) {
	size, ok := byteSize(p.In[0].DType)
	pads, known := p.Node.Ints("pads"), true
	if len(p.In) > 1 {
		pads, known = p.In[1].Ints()
	}
	if !ok || !known {
		return nil, nil
	}
	var axes []int
	if p.Has(3) {
		if axes, known = p.In[3].Ints(); !known {
			return nil, nil
		}
	}
	in := p.InShape(0)
	pd, err := paddingOf(pads, axes, len(in))
	if err != nil {
		return nil, err
	}
	if mode := p.Node.Str("mode"); mode != "constant" {
		return newPadLines(p, pd, mode, size)
	}
	k := &padKernel{dt: p.In[0].DType, dims: p.OutShape(0), size: size, zero: !p.Has(2) && p.Node.Float("value") == 0}
	inner := make([]int, len(in))
	from, to := 0, 0
	is, os := tensor.Strides(in), tensor.Strides(k.dims)
	for d, n := range in {
		first := max(0, -pd.before[d])
		inner[d] = max(0, min(n, n+pd.after[d])-first)
		from += first * is[d]
		to += max(0, pd.before[d]) * os[d]
	}
	k.move, err = newMove(size, inner, is, from, os, to)
	return k, err
}

// padLines pads with the input's own elements: lines are those along the last axis that is padded.
type padLines struct {
	dt      dtype.Type
	dims    []int
	starts  []int  // of the input's line for each line of the output, in bytes
	columns []int  // the same for each element of a line
	bytes   int    // of an element of a line
	middle  [2]int // the columns that lie in a row in the input too
	parts   int

	dst, src []byte
}

func newPadLines(p *op.Prep, pd padding, mode string, size int) (op.Kernel, error) {
	in := p.InShape(0)
	sources, dims, err := pd.sources(in, mode)
	if err != nil {
		return nil, err
	}
	axis := len(in) - 1
	for axis > 0 && pd.before[axis] == 0 && pd.after[axis] == 0 {
		axis--
	}
	if len(in) == 0 || tensor.Count(dims) == 0 {
		return nil, nil
	}
	k := &padLines{dt: p.In[0].DType, dims: dims, bytes: tensor.Count(in[axis+1:]) * size, starts: make([]int, tensor.Count(dims[:axis]))}
	at, strides := make([]int, axis), tensor.Strides(in)
	for i := range k.starts {
		for d, j := range at {
			k.starts[i] += sources[d][j] * strides[d] * size
		}
		advance(at, dims[:axis])
	}
	for _, j := range sources[axis] {
		k.columns = append(k.columns, j*k.bytes)
	}
	from := min(max(pd.before[axis], 0), dims[axis])
	k.middle = [2]int{from, max(from, min(pd.before[axis]+in[axis], dims[axis]))}
	k.parts = min(split.Parts(tensor.Count(dims)*size, 1<<17), len(k.starts))
	return k, nil
}

func (k *padLines) Run(c *op.Call) error {
	k.dst, k.src = c.Output(0, k.dt, k.dims...).Data, c.In[0].Data
	c.Pool.Run(k.parts, k)
	k.dst, k.src = nil, nil
	return nil
}

// Do pads one chunk of lines; it is called by the pool.
func (k *padLines) Do(part int) {
	lo, hi := split.Range(len(k.starts), k.parts, part)
	line := len(k.columns) * k.bytes
	for i := lo; i < hi; i++ {
		dst, src := k.dst[i*line:(i+1)*line], k.src[k.starts[i]:]
		k.copyEach(dst, src, 0, k.middle[0])
		if from, to := k.middle[0], k.middle[1]; from < to {
			copy(dst[from*k.bytes:to*k.bytes], src[k.columns[from]:])
		}
		k.copyEach(dst, src, k.middle[1], len(k.columns))
	}
}

// copyEach copies columns from lo to hi one by one.
func (k *padLines) copyEach(dst, src []byte, lo, hi int) {
	columns, to := k.columns[lo:hi], unsafe.Pointer(unsafe.SliceData(dst[lo*k.bytes:hi*k.bytes]))
	switch k.bytes {
	case 1:
		copyColumns[uint8](to, src, columns)
	case 2:
		copyColumns[uint16](to, src, columns)
	case 4:
		copyColumns[uint32](to, src, columns)
	case 8:
		copyColumns[uint64](to, src, columns)
	default:
		for j, at := range columns {
			copy(dst[(lo+j)*k.bytes:(lo+j+1)*k.bytes], src[at:at+k.bytes])
		}
	}
}

// copyColumns writes the element at each of the places, in bytes, one after the other.
func copyColumns[T any](dst unsafe.Pointer, src []byte, places []int) {
	var z T
	for j, at := range places {
		_ = src[at+int(unsafe.Sizeof(z))-1]
		*(*T)(unsafe.Add(dst, j*int(unsafe.Sizeof(z)))) = *(*T)(unsafe.Pointer(&src[at]))
	}
}
