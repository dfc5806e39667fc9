package tensorops

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// Operators that rearrange elements by a fixed rule.
func init() {
	size := op.Required(ir.KindInt)
	firstOnly := sameAxis(func(_ *ir.Node, axis int) bool { return axis != 0 })
	depth := func(attrs op.Attrs, cases op.Cases, versions ...int) {
		attrs["blocksize"] = size
		op.Register(&op.Op{
			Name: "DepthToSpace", Versions: versions, Doc: "moves channels into blocks of pixels",
			In: op.Ports("input:T"), Out: op.Ports("output:T"), Types: op.Types{"T": op.AllTensors}, Attrs: attrs,
			Infer: blocksInfer, Ref: blocksRef, Compile: compileBlocks, Rows: firstOnly, Cases: cases,
		})
	}
	depth(op.Attrs{}, nil, 1)
	depth(op.Attrs{"mode": op.Default(ir.Str("DCR"))}, depthToSpaceCases{}, 11, 13)
	op.Register(&op.Op{
		Name: "SpaceToDepth", Versions: []int{1, 13}, Doc: "moves blocks of pixels into channels",
		In: op.Ports("input:T"), Out: op.Ports("output:T"), Types: op.Types{"T": op.AllTensors}, Attrs: op.Attrs{"blocksize": size},
		Infer: blocksInfer, Ref: blocksRef, Compile: compileBlocks, Rows: firstOnly,
		Cases: spaceToDepthCases{},
	})
	op.Register(&op.Op{
		Name: "ReverseSequence", Versions: []int{10}, Doc: "reverses the first elements of each sequence of a batch",
		In: op.Ports("input:T", "sequence_lens:int64"), Out: op.Ports("Y:T"), Types: op.Types{"T": op.AllTensors},
		Attrs: op.Attrs{"batch_axis": op.Default(ir.Int(1)), "time_axis": op.Default(ir.Int(0))},
		Infer: op.SameAsInput, Ref: reverseSequenceRef, Compile: compileReverse, Cases: reverseSequenceCases{},
		Rows: func(n *ir.Node, in []int) ([]int, bool) {
			if in[0] == op.NoRows && in[1] == op.NoRows || in[0] == n.Int("batch_axis") && in[1] == 0 {
				return every(n, in[0]), true
			}
			return nil, false
		},
	})
	like := func(types []dtype.Type, version int) {
		op.Register(&op.Op{
			Name: "EyeLike", Versions: []int{version}, Doc: "ones on a diagonal of a matrix of the input's shape",
			In: op.Ports("input:T1"), Out: op.Ports("output:T2"), Types: op.Types{"T1": types, "T2": types},
			Attrs: op.Attrs{"dtype": op.Opt(ir.KindInt), "k": op.Default(ir.Int(0))},
			Infer: eyeInfer, Ref: eyeRef, Compile: compileEye, Rows: noRows, Cases: eyeCases{},
		})
	}
	like(op.NumBool, 9)
	like(op.NumBool, 22)
}

type depthToSpaceCases struct{}

func (depthToSpaceCases) Cases() []op.Case {
	attrs := func(mode string) map[string]*ir.Attr {
		return map[string]*ir.Attr{"blocksize": ir.Int(2), "mode": ir.Str(mode)}
	}
	return []op.Case{{Name: "DCR", Attrs: attrs("DCR"), In: []*tensor.Tensor{sequence(2, 12, 3, 5)}}, {Name: "CRD", Attrs: attrs("CRD"), In: []*tensor.Tensor{sequence(2, 12, 3, 5)}}}
}

type spaceToDepthCases struct{}

func (spaceToDepthCases) Cases() []op.Case {
	return []op.Case{{Name: "image", Attrs: map[string]*ir.Attr{"blocksize": ir.Int(2)}, In: []*tensor.Tensor{sequence(2, 3, 4, 6)}}}
}

// maxBlock bounds the side of a block, so that its area does not overflow.
const maxBlock = 1 << 15

// blockLayout is the rearrangement as a copy: the output's shape, the shape of
// the copy, and the input's strides in it.
func blockLayout(n *ir.Node, in []int) (dims, loop, strides []int, err error) {
	b := n.Int("blocksize")
	if len(in) != 4 {
		return nil, nil, nil, fmt.Errorf("input has shape %v, expected 4 dimensions", in)
	}
	if b < 1 || b > maxBlock {
		return nil, nil, nil, fmt.Errorf("blocksize is %d, expected 1 to %d", b, maxBlock)
	}
	batch, c, h, w := in[0], in[1], in[2], in[3]
	if n.Op == "SpaceToDepth" {
		if h%b != 0 || w%b != 0 {
			return nil, nil, nil, fmt.Errorf("image of %d×%d: expected multiples of the block size %d", h, w, b)
		}
		s := tensor.Strides([]int{batch, c, h / b, b, w / b, b})
		return []int{batch, c * b * b, h / b, w / b}, []int{batch, b, b, c, h / b, w / b}, permute(s, []int{0, 3, 5, 1, 2, 4}), nil
	}
	if c%(b*b) != 0 {
		return nil, nil, nil, fmt.Errorf("%d channels: expected a multiple of %d, the block size squared", c, b*b)
	}
	c /= b * b
	dims, loop = []int{batch, c, h * b, w * b}, []int{batch, c, h, b, w, b}
	if err := tensor.CheckSize(dims); err != nil {
		return nil, nil, nil, err
	}
	if n.Str("mode") == "CRD" {
		return dims, loop, permute(tensor.Strides([]int{batch, c, b, b, h, w}), []int{0, 1, 4, 2, 5, 3}), nil
	}
	return dims, loop, permute(tensor.Strides([]int{batch, b, b, c, h, w}), []int{0, 3, 4, 1, 5, 2}), nil
}

func blocksInfer(c *op.Infer) error {
	x := c.In[0]
	s := x.Shape
	if s == nil {
		c.Set(0, x.DType, shape.Unknowns(4))
		return nil
	}
	if in, ok := s.Ints(); ok {
		dims, _, _, err := blockLayout(c.Node, in)
		if err != nil {
			return err
		}
		c.Set(0, x.DType, shape.Of(dims...))
		return nil
	}
	b := c.Node.Int("blocksize")
	if len(s) != 4 || b < 1 || b > maxBlock {
		return fmt.Errorf("input has shape %v and blocksize is %d, expected 4 dimensions and 1 to %d", s, b, maxBlock)
	}
	side, area := shape.Const(b), shape.Const(b*b)
	if c.Node.Op == "SpaceToDepth" {
		c.Set(0, x.DType, shape.Shape{s[0], s[1].Mul(area), s[2].Div(side), s[3].Div(side)})
	} else {
		c.Set(0, x.DType, shape.Shape{s[0], s[1].Div(area), s[2].Mul(side), s[3].Mul(side)})
	}
	return nil
}

func blocksRef(c *op.Call) error {
	x := c.In[0]
	dims, loop, strides, err := blockLayout(c.Node, x.Shape)
	if err != nil {
		return err
	}
	c.Output(0, x.DType, dims...).Reshape(loop...).CopyStrided(x, 0, strides)
	return nil
}

func compileBlocks(p *op.Prep) (op.Kernel, error) {
	size, ok := byteSize(p.In[0].DType)
	if !ok {
		return nil, nil
	}
	dims, loop, strides, err := blockLayout(p.Node, p.InShape(0))
	if err != nil {
		return nil, err
	}
	m, err := newMove(size, loop, strides, 0, tensor.Strides(loop), 0)
	if err != nil {
		return nil, err
	}
	return &moveKernel{m, p.In[0].DType, dims}, nil
}

func reverseSequenceRef(c *op.Call) error {
	x := c.In[0]
	batch, time := c.Node.Int("batch_axis"), c.Node.Int("time_axis")
	if x.Rank() < 2 || batch+time != 1 || batch*time != 0 {
		return fmt.Errorf("batch_axis %d and time_axis %d of %s: expected 0 and 1 in either order, and at least 2 dimensions", batch, time, x)
	}
	lens, err := intsOf(c, 1)
	if err != nil {
		return err
	}
	if len(lens) != x.Shape[batch] {
		return fmt.Errorf("sequence_lens has %d elements, expected %d, the batch", len(lens), x.Shape[batch])
	}
	out := c.Output(0, x.DType, x.Shape...)
	strides := tensor.Strides(x.Shape)
	inner := tensor.Count(x.Shape[2:])
	for b, n := range lens {
		if n < 0 || n > x.Shape[time] {
			return fmt.Errorf("sequence_lens[%d] is %d, expected 0 to %d", b, n, x.Shape[time])
		}
		for t := range x.Shape[time] {
			from := t
			if t < n {
				from = n - 1 - t
			}
			out.CopyElements(b*strides[batch]+t*strides[time], x, b*strides[batch]+from*strides[time], inner)
		}
	}
	return nil
}

func eyeType(n *ir.Node, like dtype.Type) (dtype.Type, error) {
	if n.Has("dtype") {
		like = n.DType("dtype")
	}
	if like.Bits() < 8 || like == dtype.Complex64 || like == dtype.Complex128 {
		return like, fmt.Errorf("dtype: expected a numeric type or bool, found %s", like)
	}
	return like, nil
}

func eyeInfer(c *op.Infer) error {
	dt, err := eyeType(c.Node, c.In[0].DType)
	if err != nil {
		return err
	}
	if r, ok := c.In[0].Rank(); ok && r != 2 {
		return fmt.Errorf("input has shape %v, expected 2 dimensions", c.In[0].Shape)
	}
	c.Set(0, dt, c.In[0].Shape)
	return nil
}

func eyeRef(c *op.Call) error {
	dims := c.In[0].Shape
	dt, err := eyeType(c.Node, c.In[0].DType)
	if err != nil {
		return err
	}
	if len(dims) != 2 {
		return fmt.Errorf("input has shape %v, expected 2 dimensions", dims)
	}
	k := c.Node.Int("k")
	v := make([]int64, tensor.Count(dims))
	for i := range dims[0] {
		if j := i + k; j >= 0 && j < dims[1] {
			v[i*dims[1]+j] = 1
		}
	}
	num.SetInt64s(c.Output(0, dt, dims...), v)
	return nil
}
