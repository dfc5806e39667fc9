package nn

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	attrs := op.Attrs{"ignore_index": op.Opt(ir.KindInt), "reduction": op.Default(ir.Str("mean"))}
	types := op.Types{"T": op.Floats, "Tind": op.Indices}
	op.Register(&op.Op{
		Name: "NegativeLogLikelihoodLoss", Versions: []int{12, 13, 22},
		In: op.Ports("input:T", "target:Tind", "weight:T?"), Out: op.Ports("loss:T"), Types: types, Attrs: attrs,
		Infer: inferLoss, Ref: nllRef,
		Compile: wide.Compile(func(p *op.Prep) (op.Kernel, error) { return compileLoss(p, false) }),
		Cases:   nllCases{},
	})
	op.Register(&op.Op{
		Name: "SoftmaxCrossEntropyLoss", Versions: []int{12, 13},
		In: op.Ports("scores:T", "labels:Tind", "weights:T?"), Out: op.Ports("output:T", "log_prob:T?"), Types: types, Attrs: attrs,
		Infer: inferLoss, Ref: crossEntropyRef,
		Compile: wide.Compile(func(p *op.Prep) (op.Kernel, error) { return compileLoss(p, true) }),
		Cases:   crossEntropyCases{},
	})
}

// lossInputs are numbers and the classes that are right.
func lossInputs() []*tensor.Tensor {
	return []*tensor.Tensor{tensor.FromSlice([]float32{1, 2, 3, 4}, 2, 2), tensor.FromSlice([]int64{1, 0})}
}

type nllCases struct{}

func (nllCases) Cases() []op.Case {
	in := lossInputs()
	return []op.Case{
		{Name: "mean", In: in, Out: []*tensor.Tensor{tensor.Scalar[float32](-2.5)}},
		{Name: "weighted", In: append(in[:2:2], tensor.FromSlice([]float32{3, 1})), Out: []*tensor.Tensor{tensor.Scalar[float32](-2.75)}},
		{Name: "none, one ignored", In: in, Attrs: map[string]*ir.Attr{"reduction": ir.Str("none"), "ignore_index": ir.Int(0)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{-2, 0})}},
	}
}

func lossImages(shape ...int) *tensor.Tensor {
	v := make([]float32, tensor.Count(shape))
	for i := range v {
		v[i] = float32(i%13)/3 - 2
	}
	return tensor.FromSlice(v, shape...)
}

type crossEntropyCases struct{}

func (crossEntropyCases) Cases() []op.Case {
	in := lossInputs()
	images := []*tensor.Tensor{lossImages(3, 5, 4, 9), tensor.FromSlice(make([]int32, 3*4*9), 3, 4, 9)}
	for i := range tensor.Of[int32](images[1]) {
		tensor.Of[int32](images[1])[i] = int32(i % 7 % 5)
	}
	return []op.Case{
		{Name: "images", In: images},
		{Name: "images, none", In: append(images[:2:2], tensor.FromSlice([]float32{1, .5, 2, 3, .25})), Attrs: map[string]*ir.Attr{"reduction": ir.Str("none"), "ignore_index": ir.Int(2)}},
		{Name: "sum", In: in, Attrs: map[string]*ir.Attr{"reduction": ir.Str("sum")},
			Out: []*tensor.Tensor{tensor.Scalar[float32](1.6265234), tensor.FromSlice([]float32{-1.3132616, -.31326166, -1.3132616, -.31326166}, 2, 2)}}}
}

func inferLoss(c *op.Infer) error {
	x := c.In[0]
	if x.Shape != nil && len(x.Shape) < 2 {
		return fmt.Errorf("input 0 has shape %v, expected [batch, classes, …]", x.Shape)
	}
	switch r := c.Node.Str("reduction"); r {
	case "none":
		c.Set(0, x.DType, c.In[1].Shape)
	case "mean", "sum":
		c.Set(0, x.DType, shape.Shape{})
	default:
		return fmt.Errorf("reduction is %q, expected none, mean or sum", r)
	}
	c.Set(1, x.DType, x.Shape)
	return nil
}

func nllRef(c *op.Call) error { return loss(c, num.Floats(c.In[0])) }

func crossEntropyRef(c *op.Call) error {
	x := c.In[0]
	if len(x.Shape) < 2 {
		return fmt.Errorf("input 0 is %s, expected [batch, classes, …]", x)
	}
	v := num.Floats(x)
	alongAxes(v, x.Shape, []int{1}, func(line []float64) {
		top, sum := largest(line, 0), 0.
		for _, x := range line {
			sum += math.Exp(x - top)
		}
		for i := range line {
			line[i] -= top + math.Log(sum)
		}
	})
	if c.Wants(1) {
		num.SetFloats(c.Output(1, x.DType, x.Shape...), v)
	}
	return loss(c, v)
}

func checkWeight(t *tensor.Tensor, classes int) error {
	if t.Len() != classes {
		return fmt.Errorf("weight is %s, expected %d numbers", t, classes)
	}
	return nil
}

func wrongClass(i int, k int64, classes int) error {
	return fmt.Errorf("target %d is %d, expected 0 to %d", i, k, classes-1)
}

// loss picks -v at each target class, weighs it, and reduces.
func loss(c *op.Call, v []float64) error {
	x, target := c.In[0], c.In[1]
	if len(x.Shape) < 2 || target.Len()*x.Shape[1] != x.Len() {
		return fmt.Errorf("target is %s, which does not go with input %s", target, x)
	}
	classes, area := x.Shape[1], tensor.Count(x.Shape[2:])
	weight := make([]float64, classes)
	for i := range weight {
		weight[i] = 1
	}
	if t := c.Input(2); t != nil {
		if err := checkWeight(t, classes); err != nil {
			return err
		}
		weight = num.Floats(t)
	}
	out := make([]float64, target.Len())
	sum, weights := 0., 0.
	for i, k := range num.Int64s(target) {
		if c.Node.Has("ignore_index") && k == int64(c.Node.Int("ignore_index")) {
			continue
		}
		if k < 0 || k >= int64(classes) {
			return wrongClass(i, k, classes)
		}
		out[i] = -v[(i/area*classes+int(k))*area+i%area] * weight[k]
		sum += out[i]
		weights += weight[k]
	}
	switch c.Node.Str("reduction") {
	case "none":
		num.SetFloats(c.Output(0, x.DType, target.Shape...), out)
		return nil
	case "mean":
		sum /= weights
	}
	num.SetFloats(c.Output(0, x.DType), []float64{sum})
	return nil
}
