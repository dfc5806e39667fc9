package tensorops

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/kernels/transpose"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Name: "Gather", Versions: []int{1, 11, 13}, Doc: "slices along an axis, chosen by indices",
		In: op.Ports("data:T", "indices:Tind"), Out: op.Ports("output:T"),
		Types: op.Types{"T": op.AllTensors, "Tind": op.Indices}, Attrs: op.Attrs{"axis": op.Default(ir.Int(0))},
		Infer: gatherInfer, Ref: gatherRef, Compile: compileGather, Rows: gatherRows, Cases: gatherCases{},
	})
}

func gatherInfer(c *op.Infer) error {
	x, idx := c.In[0], c.In[1]
	if x.Shape == nil || idx.Shape == nil {
		c.Set(0, x.DType, nil)
		return nil
	}
	axis, err := op.Axis(c.Node.Int("axis"), len(x.Shape))
	if err != nil {
		return err
	}
	c.Set(0, x.DType, shape.Join(x.Shape[:axis], idx.Shape, x.Shape[axis+1:]))
	elems, ok := content(x)
	at, ok2 := idx.Ints()
	if !ok || !ok2 || len(x.Shape) != 1 || len(idx.Shape) > 1 || len(at) > maxContent {
		return nil
	}
	out := make([]shape.Dim, len(at))
	for i, k := range at {
		if k, err = element(k, len(elems)); err != nil {
			return err
		}
		out[i] = elems[k]
	}
	c.SetContent(0, out)
	return nil
}

// element resolves an index, which may count from the end, in n elements.
func element(i, n int) (int, error) {
	if i < -n || i >= n {
		return 0, fmt.Errorf("index %d is outside [%d, %d)", i, -n, n)
	}
	if i < 0 {
		i += n
	}
	return i, nil
}

func gatherRows(n *ir.Node, in []int) ([]int, bool) {
	x, idx := n.In[0].Type.Shape, n.In[1].Type.Shape
	if x == nil || idx == nil {
		return nil, false
	}
	axis, err := op.Axis(n.Int("axis"), len(x))
	switch {
	case err != nil, in[0] != op.NoRows && in[1] != op.NoRows, in[0] == axis:
		return nil, false
	case in[1] != op.NoRows:
		return every(n, axis+in[1]), true
	case in[0] > axis:
		return every(n, in[0]-1+len(idx)), true
	}
	return every(n, in[0]), true
}

func gatherRef(c *op.Call) error {
	x, idx := c.In[0], c.In[1]
	axis, err := op.Axis(c.Node.Int("axis"), x.Rank())
	if err != nil {
		return err
	}
	at, err := idx.Ints()
	if err != nil {
		return err
	}
	out := c.Output(0, x.DType, slices.Concat(x.Shape[:axis], idx.Shape, x.Shape[axis+1:])...)
	n, row := x.Shape[axis], tensor.Count(x.Shape[axis+1:])
	for o := range tensor.Count(x.Shape[:axis]) {
		for i, k := range at {
			if k, err = element(k, n); err != nil {
				return err
			}
			out.CopyElements((o*len(at)+i)*row, x, (o*n+k)*row, row)
		}
	}
	return nil
}

// gatherKernel copies rows of bytes. Indices are read when it runs.
type gatherKernel struct {
	dt              dtype.Type
	dims            []int
	outer, n, bytes int
	bits            int // of an element, where a row is one; else 0
	rows, parts     int // of the output, and the chunks that they are cut in

	dst, src []byte
	ids32    []int32
	ids64    []int64
	errs     split.Errors
}

func (k *gatherKernel) Run(c *op.Call) error {
	k.dst, k.src = c.Output(0, k.dt, k.dims...).Data, c.In[0].Data
	if c.In[1].DType == dtype.Int32 {
		k.ids32 = tensor.Of[int32](c.In[1])
	} else {
		k.ids64 = tensor.Of[int64](c.In[1])
	}
	c.Pool.Run(k.parts, k)
	k.dst, k.src, k.ids32, k.ids64 = nil, nil, nil, nil
	return k.errs.First()
}

// Do copies some rows; it is called by the pool.
func (k *gatherKernel) Do(part int) {
	lo, hi := split.Range(k.rows, k.parts, part)
	if k.ids32 != nil {
		k.errs[part] = gatherBytes(k, k.ids32, lo, hi)
	} else {
		k.errs[part] = gatherBytes(k, k.ids64, lo, hi)
	}
}

func gatherBytes[T int32 | int64](k *gatherKernel, ids []T, lo, hi int) error {
	if len(ids) == 1 {
		return gatherOne(k, int(ids[0]), lo, hi)
	}
	for lo < hi {
		o, first := lo/len(ids), lo%len(ids)
		n := min(len(ids)-first, hi-lo)
		src, dst := k.src[o*k.n*k.bytes:(o+1)*k.n*k.bytes], k.dst[lo*k.bytes:(lo+n)*k.bytes]
		var err error
		switch ids := ids[first : first+n]; {
		case k.bits == 32:
			err = gatherLine(tensor.View[uint32](dst), tensor.View[uint32](src), ids)
		case k.bits == 64:
			err = gatherLine(tensor.View[uint64](dst), tensor.View[uint64](src), ids)
		default:
			err = gatherSlices(k, dst, src, ids)
		}
		if err != nil {
			return err
		}
		lo += n
	}
	return nil
}

// gatherOne takes the same place of each line: all where lines have but one place, else elements a line apart.
func gatherOne(k *gatherKernel, id, lo, hi int) error {
	if lo == hi {
		return nil
	}
	at, err := element(id, k.n)
	if err != nil {
		return err
	}
	dst, src := k.dst[lo*k.bytes:hi*k.bytes], k.src[(lo*k.n+at)*k.bytes:]
	switch {
	case k.n == 1:
		transpose.CopyBytes(dst, src)
	case k.bits == 32:
		everyNth(tensor.View[uint32](dst), tensor.View[uint32](src), k.n)
	case k.bits == 64:
		everyNth(tensor.View[uint64](dst), tensor.View[uint64](src), k.n)
	default:
		for i := range hi - lo {
			copy(dst[i*k.bytes:(i+1)*k.bytes], src[i*k.n*k.bytes:])
		}
	}
	return nil
}

func everyNth[T any](dst, src []T, n int) {
	src = src[:(len(dst)-1)*n+1]
	for i := range dst {
		dst[i] = src[i*n]
	}
}

func gatherSlices[T int32 | int64](k *gatherKernel, dst, src []byte, ids []T) error {
	for i, id := range ids {
		at, err := element(int(id), k.n)
		if err != nil {
			return err
		}
		to := dst[i*k.bytes : (i+1)*k.bytes]
		if k.bytes >= gatherLong {
			transpose.CopyBytes(to, src[at*k.bytes:])
		} else {
			copy(to, src[at*k.bytes:])
		}
	}
	return nil
}

// gatherLong is from how many bytes on a row is copied by a kernel, gatherGrain the least number of bytes in a chunk.
const gatherLong, gatherGrain = 2 << 10, 128 << 10

func compileGather(p *op.Prep) (op.Kernel, error) {
	size, ok := byteSize(p.In[0].DType)
	if !ok {
		return nil, nil
	}
	in, idx := p.InShape(0), p.InShape(1)
	axis, err := op.Axis(p.Node.Int("axis"), len(in))
	if err != nil {
		return nil, err
	}
	k := &gatherKernel{
		dt: p.In[0].DType, dims: slices.Concat(in[:axis], idx, in[axis+1:]),
		outer: tensor.Count(in[:axis]), n: in[axis], bytes: tensor.Count(in[axis+1:]) * size,
	}
	if tensor.Count(in[axis+1:]) == 1 {
		k.bits = 8 * size
	}
	k.rows = k.outer * tensor.Count(idx)
	k.parts = min(split.Parts(k.rows*k.bytes, gatherGrain), max(k.rows, 1))
	return k, nil
}

type gatherCases struct{}

func (gatherCases) Cases() []op.Case {
	x := tensor.FromSlice([]float32{0, 1, 2, 3, 4, 5}, 3, 2)
	return []op.Case{
		{Name: "rows", In: []*tensor.Tensor{x, tensor.FromSlice([]int64{2, 0, -1})}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{4, 5, 0, 1, 4, 5}, 3, 2)}},
		{Name: "scalar index", Attrs: map[string]*ir.Attr{"axis": ir.Int(-1)}, In: []*tensor.Tensor{x, tensor.Scalar(int32(1))}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{1, 3, 5})}},
		{Name: "the only element of lines", Attrs: map[string]*ir.Attr{"axis": ir.Int(2)},
			In:  []*tensor.Tensor{tensor.FromSlice([]float32{0, 1, 2, 3, 4, 5}, 3, 2, 1), tensor.FromSlice([]int64{-1}, 1, 1)},
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{0, 1, 2, 3, 4, 5}, 3, 2, 1, 1)}},
		{Name: "a column of 64 bits", Attrs: map[string]*ir.Attr{"axis": ir.Int(1)},
			In:  []*tensor.Tensor{tensor.FromSlice([]int64{0, 1, 2, 3, 4, 5}, 2, 3), tensor.FromSlice([]int64{-1}, 1)},
			Out: []*tensor.Tensor{tensor.FromSlice([]int64{2, 5}, 2, 1)}},
		{Name: "a column of bytes", Attrs: map[string]*ir.Attr{"axis": ir.Int(1)},
			In:  []*tensor.Tensor{tensor.FromSlice([]uint8{0, 1, 2, 3, 4, 5}, 2, 3), tensor.FromSlice([]int64{1}, 1)},
			Out: []*tensor.Tensor{tensor.FromSlice([]uint8{1, 4}, 2, 1)}},
		{Name: "a row of each", Attrs: map[string]*ir.Attr{"axis": ir.Int(1)},
			In:  []*tensor.Tensor{tensor.FromSlice([]float32{0, 1, 2, 3, 4, 5, 6, 7}, 2, 2, 2), tensor.Scalar(int64(1))},
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{2, 3, 6, 7}, 2, 2)}},
		{Name: "elements of lines", Attrs: map[string]*ir.Attr{"axis": ir.Int(1)},
			In:  []*tensor.Tensor{x, tensor.FromSlice([]int64{1, -2, 1, 0}, 2, 2)},
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{1, 0, 1, 0, 3, 2, 3, 2, 5, 4, 5, 4}, 3, 2, 2)}},
		{Name: "elements of 64 bits", In: []*tensor.Tensor{tensor.FromSlice([]int64{7, 8, 9}), tensor.FromSlice([]int32{-1, 0})}, Out: []*tensor.Tensor{tensor.FromSlice([]int64{9, 7})}},
		{Name: "no indices", In: []*tensor.Tensor{x, tensor.FromSlice([]int64{}, 0)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{}, 0, 2)}},
	}
}
