package logic

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/pointwise"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	bitwise("BitwiseAnd", elemwise.BitAnd, func(a, b int64) int64 { return a & b })
	bitwise("BitwiseOr", elemwise.BitOr, func(a, b int64) int64 { return a | b })
	bitwise("BitwiseXor", elemwise.BitXor, func(a, b int64) int64 { return a ^ b })
	op.Register(&op.Op{
		Name: "BitwiseNot", Versions: []int{18}, Doc: "inverts every bit",
		In: op.Ports("X:T"), Out: op.Ports("Y:T"), Types: op.Types{"T": op.IntTypes},
		Infer: op.SameAsInput, Ref: bitwiseNotRef, InPlace: []int{0}, Rows: op.RowsBroadcast,
		Compile: compileNot,
		Cases:   bitwiseNotCases{},
	})
	op.Register(&op.Op{
		Name: "BitShift", Versions: []int{11}, Doc: "shifts X by Y bits; by the width or more gives 0",
		In: op.Ports("X:T", "Y:T"), Out: op.Ports("Z:T"), Types: op.Types{"T": op.Unsigned}, Attrs: op.Attrs{"direction": op.Required(ir.KindString)},
		Infer: op.BroadcastInputs, Ref: shiftRef, Compile: compileShift, InPlace: []int{0, 1}, Rows: op.RowsBroadcast, Cases: shiftCases{},
	})
}

type bitwiseNotCases struct{}

func (bitwiseNotCases) Cases() []op.Case {
	return []op.Case{{Name: "int16", In: []*tensor.Tensor{tensor.FromSlice([]int16{0, -1, 5})}, Out: []*tensor.Tensor{tensor.FromSlice([]int16{-1, 0, -6})}}}
}

func bitwise(name string, kernel elemwise.Binary, f func(a, b int64) int64) {
	pointwise.Binary{
		Name: name, Versions: []int{18}, Types: op.IntTypes,
		Kernel: func(*ir.Node) elemwise.Binary { return kernel },
		Signed: f, Unsigned: func(a, b uint64) uint64 { return uint64(f(int64(a), int64(b))) },
		Cases: bitwiseCases(f),
	}.Register()
}

// bitwiseCases are those of a function.
type bitwiseCases func(a, b int64) int64

func (f bitwiseCases) Cases() []op.Case {
	return []op.Case{
		{Name: "uint8", In: []*tensor.Tensor{tensor.FromSlice([]uint8{12, 200}), tensor.FromSlice([]uint8{10})}, Out: []*tensor.Tensor{tensor.FromSlice([]uint8{uint8(f(12, 10)), uint8(f(200, 10))})}},
		{Name: "int32", In: []*tensor.Tensor{tensor.FromSlice([]int32{-12, 5}), tensor.FromSlice([]int32{10})}, Out: []*tensor.Tensor{tensor.FromSlice([]int32{int32(f(-12, 10)), int32(f(5, 10))})}},
	}
}

func bitwiseNotRef(c *op.Call) error {
	x := c.In[0]
	v := num.Int64s(x)
	for i := range v {
		v[i] = ^v[i]
	}
	num.SetInt64s(c.Output(0, x.DType, x.Shape...), v)
	return nil
}

// bitwiseNot works on bytes, whatever integers they make.
// compileNot is an exclusive or with bytes of ones.
func compileNot(p *op.Prep) (op.Kernel, error) {
	k, err := elemwise.NewBinary(elemwise.BitXor, dtype.Uint8, []int{p.In[0].DType.Bytes(tensor.Count(p.InShape(0)))}, nil)
	if err != nil {
		return nil, err
	}
	ones := []byte{0xff}
	return op.KernelFunc(func(c *op.Call) error {
		x := c.In[0]
		k.Run(c.Pool, c.Output(0, x.DType, x.Shape...).Data, x.Data, ones)
		return nil
	}), nil
}

func shiftsLeft(n *ir.Node) (bool, error) {
	switch d := n.Str("direction"); d {
	case "LEFT", "RIGHT":
		return d == "LEFT", nil
	default:
		return false, fmt.Errorf("direction: expected LEFT or RIGHT, found %q", d)
	}
}

func shiftRef(c *op.Call) error {
	left, err := shiftsLeft(c.Node)
	if err != nil {
		return err
	}
	x, y := c.In[0], c.In[1]
	dims, err := num.BroadcastShape(x.Shape, y.Shape)
	if err != nil {
		return err
	}
	v := slices.Clone(num.Broadcast(num.Uint64s(x), x.Shape, dims))
	for i, by := range num.Broadcast(num.Uint64s(y), y.Shape, dims) {
		if left {
			v[i] <<= by
		} else {
			v[i] >>= by
		}
	}
	num.SetUint64s(c.Output(0, x.DType, dims...), v)
	return nil
}

type shiftKernel struct {
	k    *elemwise.BinaryKernel
	dims []int
}

func (k *shiftKernel) Run(c *op.Call) error {
	x := c.In[0]
	k.k.Run(c.Pool, c.Output(0, x.DType, k.dims...).Data, x.Data, c.In[1].Data)
	return nil
}

func compileShift(p *op.Prep) (op.Kernel, error) {
	left, err := shiftsLeft(p.Node)
	if err != nil {
		return nil, err
	}
	kernel := elemwise.ShiftRight
	if left {
		kernel = elemwise.ShiftLeft
	}
	k, err := elemwise.NewBinary(kernel, p.In[0].DType, p.InShape(0), p.InShape(1))
	if err != nil {
		return nil, err
	}
	return &shiftKernel{k, p.OutShape(0)}, nil
}

type shiftCases struct{}

func (shiftCases) Cases() []op.Case {
	x, y := tensor.FromSlice([]uint8{16, 4, 255}), tensor.FromSlice([]uint8{1, 2, 9})
	one := func(direction string, want ...uint8) op.Case {
		return op.Case{Name: direction, Attrs: map[string]*ir.Attr{"direction": ir.Str(direction)}, In: []*tensor.Tensor{x, y}, Out: []*tensor.Tensor{tensor.FromSlice(want)}}
	}
	return []op.Case{one("LEFT", 32, 16, 0), one("RIGHT", 8, 1, 0)}
}
