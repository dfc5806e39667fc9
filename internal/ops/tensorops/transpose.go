package tensorops

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Name: "Transpose", Versions: []int{1, 13, 21, 23, 24, 25}, Doc: "permutes the dimensions",
		In: op.Ports("data:T"), Out: op.Ports("transposed:T"),
		Types: op.Types{"T": op.AllTensors}, Attrs: op.Attrs{"perm": op.Opt(ir.KindInts)},
		Infer: transposeInfer, Ref: transposeRef, Compile: compileTranspose,
		Rows: moveRows(func(n *ir.Node, axis int) int {
			perm, err := permutation(n, len(n.In[0].Type.Shape))
			if err != nil {
				return mixes
			}
			return slices.Index(perm, axis)
		}),
		Cases: transposeCases{},
	})
}

// permutation gives the attribute perm, by default the reversal.
func permutation(n *ir.Node, rank int) ([]int, error) {
	perm := n.Ints("perm")
	if !n.Has("perm") {
		perm = make([]int, rank)
		for i := range perm {
			perm[i] = rank - 1 - i
		}
	}
	sorted := slices.Clone(perm)
	slices.Sort(sorted)
	for i, a := range sorted {
		if i != a {
			return nil, fmt.Errorf("perm %v is not a permutation of %d dimensions", perm, rank)
		}
	}
	if len(perm) != rank {
		return nil, fmt.Errorf("perm %v: expected %d dimensions, as the input has, found %d", perm, rank, len(perm))
	}
	return perm, nil
}

func transposeInfer(c *op.Infer) error {
	x := c.In[0]
	if x.Shape == nil {
		var s shape.Shape
		if c.Node.Has("perm") {
			s = shape.Unknowns(len(c.Node.Ints("perm")))
		}
		c.Set(0, x.DType, s)
		return nil
	}
	perm, err := permutation(c.Node, len(x.Shape))
	if err != nil {
		return err
	}
	s := make(shape.Shape, len(perm))
	for i, a := range perm {
		s[i] = x.Shape[a]
	}
	c.Set(0, x.DType, s)
	keepContent(c)
	return nil
}

func transposeRef(c *op.Call) error {
	x := c.In[0]
	perm, err := permutation(c.Node, x.Rank())
	if err != nil {
		return err
	}
	c.Output(0, x.DType, permute(x.Shape, perm)...).CopyStrided(x, 0, permute(tensor.Strides(x.Shape), perm))
	return nil
}

func compileTranspose(p *op.Prep) (op.Kernel, error) {
	if _, ok := byteSize(p.In[0].DType); !ok {
		return nil, nil
	}
	dims := p.InShape(0)
	perm, err := permutation(p.Node, len(dims))
	if err != nil {
		return nil, err
	}
	return newMoveKernel(p.In[0].DType, permute(dims, perm), permute(tensor.Strides(dims), perm), 0)
}

// permute gives s[perm[0]], s[perm[1]], …
func permute(s, perm []int) []int {
	out := make([]int, len(perm))
	for i, a := range perm {
		out[i] = s[a]
	}
	return out
}

type transposeCases struct{}

func (transposeCases) Cases() []op.Case {
	perm := func(p ...int) map[string]*ir.Attr { return map[string]*ir.Attr{"perm": ir.Ints(p...)} }
	return []op.Case{
		{Name: "default", In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2, 3, 4, 5, 6}, 2, 3)},
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{1, 4, 2, 5, 3, 6}, 3, 2)}},
		{Name: "nchw to nhwc", Attrs: perm(0, 2, 3, 1), In: []*tensor.Tensor{sequence(2, 5, 7, 3)}},
		{Name: "heads", Attrs: perm(0, 2, 1, 3), In: []*tensor.Tensor{sequence(2, 5, 4, 8)}},
		{Name: "strings", In: []*tensor.Tensor{tensor.FromStrings([]string{"a", "b", "c", "d"}, 2, 2)},
			Out: []*tensor.Tensor{tensor.FromStrings([]string{"a", "c", "b", "d"}, 2, 2)}},
	}
}

// sequence makes test data: 0, 1, 2, …
func sequence(dims ...int) *tensor.Tensor {
	t := tensor.New(tensor.TypeOf[float32](), dims...)
	for i := range tensor.Of[float32](t) {
		tensor.Of[float32](t)[i] = float32(i)
	}
	return t
}
