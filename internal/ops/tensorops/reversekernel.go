package tensorops

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// compileReverse makes the kernel of ReverseSequence, for elements that move as whole bytes.
func compileReverse(p *op.Prep) (op.Kernel, error) {
	dims, lens := p.InShape(0), p.InShape(1)
	batch, time := p.Node.Int("batch_axis"), p.Node.Int("time_axis")
	size, ok := byteSize(p.In[0].DType)
	if !ok || p.In[1].DType != dtype.Int64 || len(dims) < 2 || len(lens) != 1 || batch+time != 1 || batch*time != 0 || lens[0] != dims[batch] || tensor.Count(dims) == 0 {
		return nil, nil
	}
	r := reversal{dims: dims, dt: p.In[0].DType, items: dims[batch], steps: dims[time], inner: tensor.Count(dims[2:]), timeFirst: time == 0}
	r.parts = min(split.Parts(tensor.Count(dims)*size, 64<<10), dims[0])
	switch size {
	case 1:
		return &reverseKernel[uint8]{reversal: r}, nil
	case 2:
		return &reverseKernel[uint16]{reversal: r}, nil
	case 4:
		return &reverseKernel[uint32]{reversal: r}, nil
	case 8:
		return &reverseKernel[uint64]{reversal: r}, nil
	}
	return nil, nil
}

// reversal is how sequences lie: [steps, items, inner] with the time first, or else [items, steps, inner].
type reversal struct {
	dims                []int
	dt                  dtype.Type
	items, steps, inner int
	timeFirst           bool
	parts               int
}

type reverseKernel[T uint8 | uint16 | uint32 | uint64] struct {
	reversal
	dst, src []T
	lens     []int64
}

func (k *reverseKernel[T]) Run(c *op.Call) error {
	k.lens = tensor.Of[int64](c.In[1])
	for b, n := range k.lens {
		if n < 0 || n > int64(k.steps) {
			return fmt.Errorf("sequence_lens[%d] is %d, expected 0 to %d", b, n, k.steps)
		}
	}
	k.dst, k.src = tensor.Of[T](c.Output(0, k.dt, k.dims...)), tensor.Of[T](c.In[0])
	c.Pool.Run(k.parts, k)
	k.dst, k.src, k.lens = nil, nil, nil
	return nil
}

// Do reverses one chunk; it is called by the pool.
func (k *reverseKernel[T]) Do(part int) {
	lo, hi := split.Range(k.dims[0], k.parts, part)
	for i := lo; i < hi; i++ {
		switch {
		case !k.timeFirst:
			k.item(i)
		case k.inner == 1:
			k.numbers(i)
		default:
			k.step(i)
		}
	}
}

// item reverses a sequence whose steps follow each other.
func (k *reverseKernel[T]) item(b int) {
	all := k.steps * k.inner
	dst, src := k.dst[b*all:(b+1)*all], k.src[b*all:(b+1)*all]
	n := int(k.lens[b])
	if k.inner == 1 {
		for t := range dst[:n] {
			dst[t] = src[n-1-t]
		}
	} else {
		for t := range n {
			copy(dst[t*k.inner:(t+1)*k.inner], src[(n-1-t)*k.inner:])
		}
	}
	copy(dst[n*k.inner:], src[n*k.inner:])
}

// source is the step of a sequence of so many elements (n) that comes to be step t.
func source(t, n int) int {
	if t < n {
		return n - 1 - t
	}
	return t
}

// step gives all sequences their elements of step t, together those that take them from one step.
func (k *reverseKernel[T]) step(t int) {
	row := k.items * k.inner
	for b := 0; b < k.items; {
		from, first := source(t, int(k.lens[b])), b
		for b++; b < k.items && source(t, int(k.lens[b])) == from; b++ {
		}
		copy(k.dst[t*row+first*k.inner:t*row+b*k.inner], k.src[from*row+first*k.inner:])
	}
}

// numbers is step for elements of one number.
func (k *reverseKernel[T]) numbers(t int) {
	dst := k.dst[t*k.items:][:len(k.lens)]
	for b, n := range k.lens {
		dst[b] = k.src[source(t, int(n))*k.items+b]
	}
}
