package tensorops

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// castTypes are the element types that convert into each other.
var castTypes = slices.Concat(op.NumBool, []dtype.Type{dtype.String}, op.Float8, op.SubByte)

func init() {
	cast := func(attrs op.Attrs, cases op.Cases, versions ...int) {
		attrs["to"] = op.Required(ir.KindInt)
		op.Register(&op.Op{
			Name: "Cast", Versions: versions, Doc: "converts the element type",
			In: op.Ports("input:T1"), Out: op.Ports("output:T2"), Types: op.Types{"T1": castTypes, "T2": castTypes}, Attrs: attrs,
			Infer: castInfer, Ref: castRef, Compile: compileCast, Rows: op.RowsBroadcast, Row: castRow, Cases: cases,
		})
	}
	like := func(attrs op.Attrs, versions ...int) {
		op.Register(&op.Op{
			Name: "CastLike", Versions: versions, Doc: "converts to the element type of another input",
			In: op.Ports("input:T1", "target_type:T2"), Out: op.Ports("output:T2"), Types: op.Types{"T1": castTypes, "T2": castTypes}, Attrs: attrs,
			Infer: castInfer, Ref: castRef, Compile: compileCast, Cases: castLikeCases{},
			Rows: func(n *ir.Node, in []int) ([]int, bool) { return every(n, in[0]), true },
		})
	}
	saturate, round := op.Default(ir.Int(1)), op.Default(ir.Str("up"))
	cast(op.Attrs{}, castCases{}, 6, 9, 13)
	cast(op.Attrs{"saturate": saturate}, narrowCastCases{}, 19, 21, 23)
	cast(op.Attrs{"saturate": saturate, "round_mode": round}, nil, 24, 25)
	like(nil, 15)
	like(op.Attrs{"saturate": saturate}, 19, 21, 23)
	like(op.Attrs{"saturate": saturate, "round_mode": round}, 24, 25)
}

// castRow gives float32 of float32 or bool.
func castRow(n *ir.Node) elemwise.RowFunc {
	if n.DType("to") != dtype.Float32 {
		return nil
	}
	return elemwise.CastRow
}

// castTarget is the element type that a Cast or CastLike converts to.
func castTarget(n *ir.Node, like dtype.Type) (dtype.Type, error) {
	to := n.DType("to")
	if n.Op == "CastLike" {
		to = like
	}
	if !slices.Contains(castTypes, to) {
		return to, fmt.Errorf("to: expected an element type that numbers convert to, found %v", to)
	}
	return to, nil
}

func castInfer(c *op.Infer) error {
	if c.Node.Op == "CastLike" && c.In[1].DType == dtype.Invalid {
		c.Set(0, dtype.Invalid, c.In[0].Shape)
		return nil
	}
	to, err := castTarget(c.Node, c.Input(1).DType)
	if err != nil {
		return err
	}
	c.Set(0, to, c.In[0].Shape)
	if to == dtype.Int64 || to == dtype.Int32 {
		keepContent(c)
	} else if d, ok := content(c.In[0]); ok && to == dtype.Bool && len(c.In[0].Shape) <= 1 {
		c.SetContent(0, truths(d))
	}
	return nil
}

// truths converts numbers to 0 or 1, where they are known.
func truths(d []shape.Dim) []shape.Dim {
	out := shape.Unknowns(len(d))
	for i, x := range d {
		if n, fixed := x.Int(); fixed {
			out[i] = shape.Const(0)
			if n != 0 {
				out[i] = shape.Const(1)
			}
		}
	}
	return out
}

func castRef(c *op.Call) error {
	x := c.In[0]
	like := dtype.Invalid
	if t := c.Input(1); t != nil {
		like = t.DType
	}
	to, err := castTarget(c.Node, like)
	if err != nil {
		return err
	}
	cv := conversion{saturate: c.Node.Bool("saturate") || !c.Node.Has("saturate"), round: c.Node.Str("round_mode")}
	if cv.round == "" {
		cv.round = "up"
	}
	return cv.convert(c.Output(0, to, x.Shape...), x)
}

type castKernel struct {
	cast *elemwise.Cast
	to   dtype.Type
}

func (k *castKernel) Run(c *op.Call) error {
	x := c.In[0]
	k.cast.Run(c.Pool, c.Output(0, k.to, x.Shape...).Data, x.Data)
	return nil
}

func compileCast(p *op.Prep) (op.Kernel, error) {
	to := p.Out[0].DType
	if p.In[0].DType.Bits() < 8 || to.Bits() < 8 {
		return nil, nil
	}
	k, err := elemwise.NewCast(p.In[0].DType, to)
	if err != nil {
		return nil, nil // the reference serves the other types
	}
	return &castKernel{k, to}, nil
}

type castCases struct{}

func (castCases) Cases() []op.Case {
	to := func(dt dtype.Type) map[string]*ir.Attr { return map[string]*ir.Attr{"to": ir.Int(int(dt))} }
	x := tensor.FromSlice([]float32{-1.5, 0, 2.9, 300})
	one := func(name string, dt dtype.Type, in, out *tensor.Tensor) op.Case {
		return op.Case{Name: name, Opset: 13, Attrs: to(dt), In: []*tensor.Tensor{in}, Out: []*tensor.Tensor{out}}
	}
	return []op.Case{
		one("to int", dtype.Int32, x, tensor.FromSlice([]int32{-1, 0, 2, 300})),
		one("to bool", dtype.Bool, x, tensor.FromSlice([]bool{true, false, true, true})),
		one("large to bool", dtype.Bool, tensor.FromSlice([]int64{1 << 40, 0}), tensor.FromSlice([]bool{true, false})),
		one("wrap", dtype.Int8, tensor.FromSlice([]int64{200, -1, 1 << 40}), tensor.FromSlice([]int8{-56, -1, 0})),
		one("uint64", dtype.Float64, tensor.FromSlice([]uint64{1 << 63}), tensor.FromSlice([]float64{1 << 63})),
		one("from string", dtype.Float32, tensor.FromStrings([]string{"1.5", "-INF", "1e3"}), tensor.FromSlice([]float32{1.5, -inf32(), 1000})),
		one("to string", dtype.String, x, tensor.FromStrings([]string{"-1.5", "0", "2.9", "300"})),
	}
}
