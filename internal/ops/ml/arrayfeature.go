package ml

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: domain, Name: "ArrayFeatureExtractor", Versions: []int{1}, Doc: "chosen features, elements of the last dimension",
		In: op.Ports("X:T", "Y:int64"), Out: op.Ports("Z:T"), Types: op.Types{"T": append([]dtype.Type{dtype.String}, features...)},
		Infer: inferArrayFeature, Ref: arrayFeatureRef,
		Cases: arrayFeatureExtractorCases{},
	})
}

type arrayFeatureExtractorCases struct{}

func (arrayFeatureExtractorCases) Cases() []op.Case {
	return []op.Case{
		{Name: "columns", In: []*tensor.Tensor{tensor.FromSlice([]float32{0, 1, 2, 3, 4, 5, 6, 7}, 2, 4), tensor.FromSlice([]int64{3, 0})},
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{3, 0, 7, 4}, 2, 2)}},
		{Name: "vector of strings", In: []*tensor.Tensor{tensor.FromStrings([]string{"a", "b", "c"}, 3), tensor.FromSlice([]int64{2})},
			Out: []*tensor.Tensor{tensor.FromStrings([]string{"c"}, 1, 1)}},
	}
}

func inferArrayFeature(c *op.Infer) error {
	x, y := c.In[0].Shape, c.In[1].Shape
	if x == nil || y == nil {
		c.Set(0, c.In[0].DType, nil)
		return nil
	}
	if len(x) == 0 {
		return fmt.Errorf("X is a scalar, expected at least one dimension")
	}
	s := append(shape.Shape{}, x[:len(x)-1]...)
	if len(x) == 1 {
		s = shape.Of(1)
	}
	c.Set(0, c.In[0].DType, append(s, y.Count()))
	return nil
}

func arrayFeatureRef(c *op.Call) error {
	x, y := c.In[0], tensor.Of[int64](c.In[1])
	if len(x.Shape) == 0 || len(y) == 0 {
		return fmt.Errorf("X is %s and Y %s, expected at least one dimension and one index", x, c.In[1])
	}
	width := x.Shape[len(x.Shape)-1]
	for _, i := range y {
		if i < 0 || int(i) >= width {
			return fmt.Errorf("Y holds %d, expected 0 to %d", i, width-1)
		}
	}
	dims := []int{1, len(y)}
	if len(x.Shape) > 1 {
		dims = append(append([]int{}, x.Shape[:len(x.Shape)-1]...), len(y))
	}
	z := c.Output(0, x.DType, dims...)
	size := x.DType.Bytes(1)
	for i := range z.Len() {
		from := i/len(y)*width + int(y[i%len(y)])
		if x.DType == dtype.String {
			z.Strings[i] = x.Strings[from]
			continue
		}
		copy(z.Data[i*size:(i+1)*size], x.Data[from*size:])
	}
	return nil
}
