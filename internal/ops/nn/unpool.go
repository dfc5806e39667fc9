package nn

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/spatial"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Name: "MaxUnpool", Versions: []int{9, 11, 22},
		In: op.Ports("X:T1", "I:T2", "output_shape:T2?"), Out: op.Ports("output:T1"), Types: op.Types{"T1": op.Floats, "T2": {dtype.Int64}},
		Attrs: op.Attrs{"kernel_shape": op.Required(ir.KindInts), "pads": op.Opt(ir.KindInts), "strides": op.Opt(ir.KindInts)},
		Infer: inferUnpool, Ref: unpoolRef, Compile: compileUnpool,
		Cases: maxUnpoolCases{},
	})
}

type maxUnpoolCases struct{}

func (maxUnpoolCases) Cases() []op.Case {
	attrs := map[string]*ir.Attr{"kernel_shape": ir.Ints(2, 2), "strides": ir.Ints(2, 2)}
	x, i := tensor.FromSlice([]float32{1, 2, 3, 4}, 1, 1, 2, 2), tensor.FromSlice([]int64{5, 7, 13, 15}, 1, 1, 2, 2)
	two := tensor.FromSlice([]float32{1, 2, 3, 4, 5, 6, 7, 8}, 1, 2, 2, 2)
	return []op.Case{
		{Name: "two planes", In: []*tensor.Tensor{two, tensor.FromSlice([]int64{0, 3, 10, 15, 17, 17, 28, 31}, 1, 2, 2, 2)}, Attrs: attrs},
		{Name: "from plane to plane", In: []*tensor.Tensor{two, tensor.FromSlice([]int64{0, 30, 10, 15, 17, 0, 28, 10}, 1, 2, 2, 2)}, Attrs: attrs},
		{Name: "inferred", In: []*tensor.Tensor{x, i}, Attrs: attrs, Out: []*tensor.Tensor{tensor.FromSlice([]float32{0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 3, 0, 4}, 1, 1, 4, 4)}},
		{Name: "shape given", In: []*tensor.Tensor{x, i, tensor.FromSlice([]int64{1, 1, 5, 5})}, Attrs: attrs,
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{0, 0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 4, 0, 0, 0, 0, 0, 0}, 1, 1, 5, 5)}},
	}
}

// maxUnpoolRest bounds how much larger than inferred an output may be asked for.
const maxUnpoolRest = 1 << 10

// unpooledShape is the shape that a pooling with the node's window came from.
func unpooledShape(n *ir.Node, x shape.Shape) (shape.Shape, error) {
	w, err := spatial.Read(n, nil)
	if err != nil {
		return nil, err
	}
	if len(x) != len(w.Kernel)+2 {
		return nil, fmt.Errorf("X has shape %v, expected %d dimensions for the window %v", x, len(w.Kernel)+2, w.Kernel)
	}
	out := shape.Shape{x[0], x[1]}
	for i, d := range x[2:] {
		grow := w.Kernel[i] - w.Pads[i] - w.Pads[i+len(w.Kernel)]
		out = append(out, d.Sub(shape.Const(1)).Mul(shape.Const(w.Stride[i])).Add(shape.Const(grow)))
	}
	return out, nil
}

func inferUnpool(c *op.Infer) error {
	x := c.In[0].Shape
	if given := c.Input(2); given.Present {
		dims, ok := given.Dims()
		if !ok && x != nil {
			dims = shape.Unknowns(len(x))
		}
		c.Set(0, c.In[0].DType, dims)
		return nil
	}
	if x == nil {
		c.Set(0, c.In[0].DType, nil)
		return nil
	}
	s, err := unpooledShape(c.Node, x)
	c.Set(0, c.In[0].DType, s)
	return err
}

func unpoolRef(c *op.Call) error {
	x := c.In[0]
	s, err := unpooledShape(c.Node, shape.Of(x.Shape...))
	if err != nil {
		return err
	}
	inner, _ := s.Ints()
	if slices.Min(inner) < 0 {
		return fmt.Errorf("X is %s, which gives the shape %v", x, inner)
	}
	full := inner
	if t := c.Input(2); t != nil {
		if full, err = t.Ints(); err != nil {
			return fmt.Errorf("output_shape: %w", err)
		}
		if len(full) != len(inner) {
			return fmt.Errorf("output_shape is %v, expected %d numbers", full, len(inner))
		}
		for i, n := range full {
			if n < 0 || i > 1 && n > inner[i]+maxUnpoolRest || i < 2 && n != inner[i] {
				return fmt.Errorf("output_shape is %v, which does not go with the inferred %v", full, inner)
			}
		}
	}
	y := c.Output(0, x.DType, full...)
	clear(y.Data)
	strides := tensor.Strides(full)
	for i, at := range tensor.Of[int64](c.In[1]) {
		if at < 0 || at >= int64(tensor.Count(inner)) || i >= x.Len() {
			return fmt.Errorf("index %d is %d, expected 0 to %d", i, at, tensor.Count(inner)-1)
		}
		rest, to := int(at), 0
		for d := len(inner) - 1; d >= 0; d-- {
			p := rest % inner[d]
			rest /= inner[d]
			if p >= full[d] {
				return fmt.Errorf("index %d is %d, which lies outside output_shape %v", i, at, full)
			}
			to += p * strides[d]
		}
		y.CopyElements(to, x, i, 1)
	}
	return nil
}

// compileUnpool serves elements of four bytes and outputs of the inferred shape.
func compileUnpool(p *op.Prep) (op.Kernel, error) {
	x, dims := p.InShape(0), p.OutShape(0)
	if p.In[0].DType != dtype.Float32 || p.Has(2) || !slices.Equal(x, p.InShape(1)) || tensor.Count(x) == 0 || tensor.Count(dims) == 0 {
		return nil, nil
	}
	k := &unpoolKernel{dims: dims, planes: x[0] * x[1]}
	k.parts = min(split.Parts(tensor.Count(dims), 1<<15), k.planes)
	return k, nil
}

// unpoolKernel puts the numbers of each plane on a thread, as long as their places lie in
// the same plane of the output: those of max pooling do.
type unpoolKernel struct {
	dims   []int
	planes int
	parts  int
	across [split.Most]bool // chunks with places in other planes

	dst, src []float32
	at       []int64
}

func (k *unpoolKernel) Run(c *op.Call) error {
	k.dst, k.src, k.at = tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...)), tensor.Of[float32](c.In[0]), tensor.Of[int64](c.In[1])
	c.Pool.Run(k.parts, k)
	var err error
	if slices.Contains(k.across[:k.parts], true) {
		err = k.inOrder()
	}
	k.dst, k.src, k.at = nil, nil, nil
	return err
}

// Do fills the planes of one chunk; it is called by the pool.
func (k *unpoolKernel) Do(part int) {
	lo, hi := split.Range(k.planes, k.parts, part)
	in, out := len(k.src)/k.planes, len(k.dst)/k.planes
	k.across[part] = false
	for p := lo; p < hi; p++ {
		dst, at := k.dst[p*out:][:out], k.at[p*in:][:in]
		clear(dst)
		for i, v := range k.src[p*in:][:in] {
			to := at[i] - int64(p*out)
			if uint64(to) >= uint64(len(dst)) {
				k.across[part] = true
				return
			}
			dst[to] = v
		}
	}
}

// inOrder puts all numbers on this goroutine: the last one at a place stays.
func (k *unpoolKernel) inOrder() error {
	clear(k.dst)
	for i, to := range k.at {
		if to < 0 || to >= int64(len(k.dst)) {
			return fmt.Errorf("index %d is %d, expected 0 to %d", i, to, len(k.dst)-1)
		}
		k.dst[to] = k.src[i]
	}
	return nil
}
