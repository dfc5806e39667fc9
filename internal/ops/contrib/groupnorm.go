package contrib

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// Operators of Stable Diffusion models.

func init() {
	attrs := op.Attrs{"activation": op.Required(ir.KindInt), "channels_last": op.Default(ir.Int(1)), "epsilon": op.Default(ir.Float(1e-5)), "groups": op.Required(ir.KindInt)}
	types := op.Types{"T": op.Floats, "M": op.Floats}
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "GroupNorm", Versions: []int{1}, Doc: "group normalization, with SiLU after it if activation is 1; the channels are last, or first with channels_last 0",
		In: op.Ports("X:T", "gamma:M", "beta:M"), Out: op.Ports("Y:T"), Types: types, Attrs: attrs,
		Infer: op.SameAsInput, Ref: groupNormRef, Rows: op.RowsFirst,
		Cases: groupNormCases{},
	})
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "SkipGroupNorm", Versions: []int{1}, Doc: "GroupNorm of X + skip + bias, which is output 1; skip and bias are added to channels that are last",
		In: op.Ports("X:T", "gamma:M", "beta:M", "skip:T", "bias:T?"), Out: op.Ports("Y:T", "S:T?"), Types: types, Attrs: attrs,
		Infer: func(c *op.Infer) error { c.Set(1, c.In[0].DType, c.In[0].Shape); return op.SameAsInput(c) }, Ref: skipGroupNormRef,
		Cases: skipGroupNormCases{},
	})
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "BiasAdd", Versions: []int{1}, Doc: "X + bias along the last axis + skip",
		In: op.Ports("X:T", "bias:T", "skip:T"), Out: op.Ports("Y:T"), Types: op.Types{"T": op.Floats}, Infer: op.SameAsInput, Ref: biasAddRef,
		Cases: biasAddCases{},
	})
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "BiasSplitGelu", Versions: []int{1}, Doc: "of X + bias, the first half of the last axis times Gelu of the second",
		In: op.Ports("X:T", "bias:T"), Out: op.Ports("Y:T"), Types: op.Types{"T": op.Floats}, Infer: inferSplitGelu, Ref: splitGeluRef,
		Cases: biasSplitGeluCases{},
	})
}

func twoGroups() map[string]*ir.Attr {
	return map[string]*ir.Attr{"groups": ir.Int(2), "activation": ir.Int(1)}
}

type groupNormCases struct{}

func (groupNormCases) Cases() []op.Case {
	return []op.Case{{Name: "channels last", In: []*tensor.Tensor{wave(2, 3, 3, 4), wave(4), wave(4)}, Attrs: twoGroups()},
		{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 3}, 1, 2, 1), tensor.FromSlice([]float32{2}), tensor.FromSlice([]float32{1})}, Attrs: map[string]*ir.Attr{"groups": ir.Int(1), "activation": ir.Int(0), "epsilon": ir.Float(0)},
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{-1, 3}, 1, 2, 1)}}}
}

type skipGroupNormCases struct{}

func (skipGroupNormCases) Cases() []op.Case {
	return []op.Case{{Name: "skip of channels", In: []*tensor.Tensor{wave(2, 3, 3, 4), wave(4), wave(4), wave(2, 4), wave(4)}, Attrs: twoGroups()}}
}

type biasAddCases struct{}

func (biasAddCases) Cases() []op.Case {
	return []op.Case{{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2}, 1, 2), tensor.FromSlice([]float32{10, 20}), tensor.FromSlice([]float32{100, 200}, 1, 2)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{111, 222}, 1, 2)}}}
}

type biasSplitGeluCases struct{}

func (biasSplitGeluCases) Cases() []op.Case {
	return []op.Case{{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]float32{2, 1}, 1, 2), tensor.FromSlice([]float32{1, 0})}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{2.524034}, 1, 1)}}}
}

func groupNormRef(c *op.Call) error {
	v := num.Floats(c.In[0])
	if err := groupNormalize(c, v); err != nil {
		return err
	}
	num.SetFloats(c.Output(0, c.In[0].DType, c.In[0].Shape...), v)
	return nil
}

// groupNormalize normalizes v, which has the shape of input 0, in place.
func groupNormalize(c *op.Call, v []float64) error {
	n, s := c.Node, c.In[0].Shape
	groups, act := n.Int("groups"), n.Int("activation")
	if len(s) < 3 {
		return fmt.Errorf("X is %s, expected batch, channels and positions", c.In[0])
	}
	channels, step := s[1], tensor.Count(s[2:])
	if n.Bool("channels_last") {
		channels, step = s[len(s)-1], 1
	}
	if groups < 1 || groups > channels || channels%groups != 0 || act < 0 || act > 1 || c.In[1].Len() != channels || c.In[2].Len() != channels {
		return fmt.Errorf("%d groups of %d channels, activation %d, gamma %s and beta %s: expected groups of equal size, 0 or 1, and a number for each channel", groups, channels, act, c.In[1], c.In[2])
	}
	gamma, beta := num.Floats(c.In[1]), num.Floats(c.In[2])
	group := func(i int) int {
		return i/(channels*max(positions(s, n), 1))*groups + i/step%channels/(channels/groups)
	}
	count, mean, square := make([]float64, s[0]*groups), make([]float64, s[0]*groups), make([]float64, s[0]*groups)
	for i, x := range v {
		count[group(i)]++
		mean[group(i)] += x
	}
	for g := range mean {
		mean[g] /= count[g]
	}
	for i, x := range v {
		d := x - mean[group(i)]
		square[group(i)] += float64(d * d)
	}
	for i, x := range v {
		g, ch := group(i), i/step%channels
		y := float64((x-mean[g])/math.Sqrt(square[g]/count[g]+float64(n.Float("epsilon")))*gamma[ch]) + beta[ch]
		if act == 1 {
			y /= 1 + math.Exp(-y)
		}
		v[i] = y
	}
	return nil
}

// positions is the number of elements of one channel of one item.
func positions(s []int, n *ir.Node) int {
	if n.Bool("channels_last") {
		return tensor.Count(s[1 : len(s)-1])
	}
	return tensor.Count(s[2:])
}

func skipGroupNormRef(c *op.Call) error {
	x, skip := c.In[0], c.In[3]
	s := x.Shape
	if !c.Node.Bool("channels_last") {
		return fmt.Errorf("channels_last is 0, expected 1")
	}
	if len(s) < 3 || len(skip.Shape) < 2 || skip.Shape[0] != s[0] || skip.Shape[len(skip.Shape)-1] != s[len(s)-1] || skip.Len() != x.Len() && skip.Len() != s[0]*s[len(s)-1] {
		return fmt.Errorf("skip is %s, expected the shape of X (%s) or its batch and channels", skip, x)
	}
	channels := s[len(s)-1]
	bias := make([]float64, channels)
	if t := c.Input(4); t != nil {
		if t.Len() != channels {
			return fmt.Errorf("bias is %s, expected %d numbers", t, channels)
		}
		bias = num.Floats(t)
	}
	v, add := num.Floats(x), num.Floats(skip)
	per := tensor.Count(s[1:])
	for i := range v {
		at := i
		if len(add) < len(v) {
			at = i/per*channels + i%channels
		}
		v[i] += add[at] + bias[i%channels]
	}
	if c.Wants(1) {
		num.SetFloats(c.Output(1, x.DType, s...), v)
	}
	if err := groupNormalize(c, v); err != nil {
		return err
	}
	num.SetFloats(c.Output(0, x.DType, s...), v)
	return nil
}

func biasAddRef(c *op.Call) error {
	v, err := biased(c)
	if err != nil {
		return err
	}
	if c.In[2].Len() != len(v) {
		return fmt.Errorf("skip is %s, expected the shape of X (%s)", c.In[2], c.In[0])
	}
	for i, x := range num.Floats(c.In[2]) {
		v[i] += x
	}
	num.SetFloats(c.Output(0, c.In[0].DType, c.In[0].Shape...), v)
	return nil
}

func inferSplitGelu(c *op.Infer) error {
	s := c.In[0].Shape
	if s != nil {
		if len(s) == 0 {
			return fmt.Errorf("X is a scalar, expected at least one dimension")
		}
		last := len(s) - 1
		if n, ok := s[last].Int(); ok && n%2 != 0 {
			return fmt.Errorf("X has shape %v, expected an even last dimension", s)
		}
		half := s[last].Div(shape.Const(2))
		s = append(s[:last:last], half)
	}
	c.Set(0, c.In[0].DType, s)
	return nil
}

func splitGeluRef(c *op.Call) error {
	v, err := biased(c)
	if err != nil {
		return err
	}
	dims := append([]int{}, c.In[0].Shape...)
	width := dims[len(dims)-1]
	if width%2 != 0 {
		return fmt.Errorf("X is %s, expected an even last dimension", c.In[0])
	}
	dims[len(dims)-1] /= 2
	out := make([]float64, 0, len(v)/2)
	for at := 0; at < len(v); at += width {
		for k := range width / 2 {
			out = append(out, v[at+k]*gelu(v[at+width/2+k], params{}))
		}
	}
	num.SetFloats(c.Output(0, c.In[0].DType, dims...), out)
	return nil
}
