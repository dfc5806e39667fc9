package tensorops

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// compileGatherElements serves elements of 8 to 64 bits, and indices of the
// data's shape but for the axis.
func compileGatherElements(p *op.Prep) (op.Kernel, error) {
	x, idx := p.InShape(0), p.InShape(1)
	axis, err := op.Axis(p.Node.Int("axis"), len(x))
	if err != nil {
		return nil, err
	}
	for i := range x {
		if len(idx) != len(x) || i != axis && x[i] != idx[i] {
			return nil, nil
		}
	}
	if p.In[0].DType == dtype.String {
		return nil, nil
	}
	long := p.In[1].DType == dtype.Int64
	switch p.In[0].DType.Bits() {
	case 8:
		return newElements[uint8](x, idx, axis, long), nil
	case 16:
		return newElements[uint16](x, idx, axis, long), nil
	case 32:
		return newElements[uint32](x, idx, axis, long), nil
	case 64:
		return newElements[uint64](x, idx, axis, long), nil
	}
	return nil, nil
}

// elements gathers elements of so many bits.
type elements[T uint8 | uint16 | uint32 | uint64] struct {
	dims        []int // of the indices
	from, inner int   // sizes of the data along the axis and behind it
	to          int   // of the indices along the axis
	long        bool  // indices of 64 bits
	parts       int

	dst, src []T
	ids32    []int32
	ids64    []int64
	errs     split.Errors
}

func newElements[T uint8 | uint16 | uint32 | uint64](x, idx []int, axis int, long bool) *elements[T] {
	return &elements[T]{dims: idx, from: x[axis], to: idx[axis], inner: tensor.Count(x[axis+1:]), long: long, parts: split.Parts(tensor.Count(idx), 16384)}
}

// Run gathers.
func (k *elements[T]) Run(c *op.Call) error {
	k.src, k.dst = tensor.Of[T](c.In[0]), tensor.Of[T](c.Output(0, c.In[0].DType, k.dims...))
	if k.long {
		k.ids64 = tensor.Of[int64](c.In[1])
	} else {
		k.ids32 = tensor.Of[int32](c.In[1])
	}
	c.Pool.Run(k.parts, k)
	k.src, k.dst, k.ids32, k.ids64 = nil, nil, nil, nil
	return k.errs.First()
}

// Do gathers one chunk; it is called by the pool.
func (k *elements[T]) Do(part int) {
	lo, hi := split.Range(len(k.dst), k.parts, part)
	if k.long {
		k.errs[part] = gatherRange(k, k.ids64, lo, hi)
	} else {
		k.errs[part] = gatherRange(k, k.ids32, lo, hi)
	}
}

func gatherRange[T uint8 | uint16 | uint32 | uint64, I int32 | int64](k *elements[T], ids []I, lo, hi int) error {
	for lo < hi {
		row := lo / k.inner
		in := lo - row*k.inner
		n := min(hi-lo, k.inner-in)
		if k.inner == 1 { // all that share a line of the data
			n = min(hi-lo, k.to-row%k.to)
			at := row / k.to * k.from
			if err := gatherLine(k.dst[lo:lo+n], k.src[at:at+k.from], ids[lo:lo+n]); err != nil {
				return err
			}
			lo += n
			continue
		}
		base := row/k.to*k.from*k.inner + in
		dst := k.dst[lo : lo+n]
		for i, id := range ids[lo : lo+n] {
			at := int(id)
			if uint(at) >= uint(k.from) {
				var err error
				if at, err = element(at, k.from); err != nil {
					return err
				}
			}
			dst[i] = k.src[base+at*k.inner+i]
		}
		lo += n
	}
	return nil
}

// gatherLine gathers elements of one line.
func gatherLine[T uint8 | uint16 | uint32 | uint64, I int32 | int64](dst, line []T, ids []I) error {
	dst = dst[:len(ids)]
	for i := 0; i < len(ids); {
		i += gatherFours(dst[i:], line, ids[i:])
		for end := min(i+4, len(ids)); i < end; i++ {
			at, err := element(int(ids[i]), len(line))
			if err != nil {
				return err
			}
			dst[i] = line[at]
		}
	}
	return nil
}

// gatherFours gathers four elements at a time, until an index is negative or out of range; it returns how many.
func gatherFours[T uint8 | uint16 | uint32 | uint64, I int32 | int64](dst, line []T, ids []I) int {
	n := uint(len(line))
	for i := 0; i+4 <= len(ids) && i+4 <= len(dst); i += 4 {
		x, y := ids[i:i+4:i+4], dst[i:i+4:i+4]
		a, b, c, d := uint(x[0]), uint(x[1]), uint(x[2]), uint(x[3])
		if a >= n || b >= n || c >= n || d >= n {
			return i
		}
		y[0], y[1], y[2], y[3] = line[a], line[b], line[c], line[d]
	}
	return len(ids) &^ 3
}
