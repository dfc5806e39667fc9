package blocked

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/norm"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: op.Salver, Name: "BlockedAffine", Versions: []int{1},
		Doc: "X·scale + shift with a number for each channel, of blocked X; scale and shift are [N or 1, blocks, 1, 1, b]",
		In:  op.Ports("X:T", "scale:T", "shift:T?"), Out: op.Ports("Y:T"), Types: onlyFloat,
		Infer: inferAffine, Ref: affineRef, Compile: compileAffine, InPlace: []int{0}, Rows: affineRows, Cases: affineCases{},
	})
}

func inferAffine(c *op.Infer) error {
	x := c.In[0].Shape
	for i := 1; i < len(c.In); i++ {
		s := c.In[i].Shape
		if !c.In[i].Present || s == nil || x == nil {
			continue
		}
		if len(x) != 5 || len(s) != 5 || !s[1:].Compatible(shape.Shape{x[1], shape.Const(1), shape.Const(1), x[4]}) {
			return fmt.Errorf("input %d has shape %v, expected a number for each channel of %v", i, s, x)
		}
		if one := shape.Of(1); !s[:1].Compatible(one) && !s[:1].Compatible(x[:1]) {
			return fmt.Errorf("input %d has numbers for %v images, X has %v", i, s[0], x[0])
		}
	}
	c.Set(0, dtype.Float32, x)
	return nil
}

// affineRows: factors of one image serve every request; others go with X.
func affineRows(n *ir.Node, in []int) ([]int, bool) {
	for i, a := range in {
		shared := n.In[i] != nil && len(n.In[i].Type.Shape) == 5 && n.In[i].Type.Shape[0].Is(1)
		if a > 0 || a == 0 && in[0] != 0 || a == op.NoRows && in[0] == 0 && n.In[i] != nil && !shared {
			return nil, false
		}
	}
	return in[:1], true
}

func affineRef(c *op.Call) error {
	x := c.In[0]
	y := c.Output(0, dtype.Float32, x.Shape...)
	b, area := x.Shape[4], x.Shape[2]*x.Shape[3]
	at := func(t *tensor.Tensor, i int) float32 { // of element i of X
		channel, image := i/b/area*b+i%b, x.Shape[1]*b
		if t.Shape[0] == 1 {
			channel %= image
		}
		return tensor.Of[float32](t)[channel]
	}
	dst := tensor.Of[float32](y)
	for i, v := range tensor.Of[float32](x) {
		dst[i] = float32(v * at(c.In[1], i))
		if t := c.Input(2); t != nil {
			dst[i] += at(t, i)
		}
	}
	return nil
}

// affine runs a prepared factor and term. What is not constant is copied in
// before each run.
type affine struct {
	run          *norm.Batch
	scale, shift []float32
}

func (k *affine) Run(c *op.Call) error {
	fill(k.scale, tensor.Of[float32](c.In[1]))
	if t := c.Input(2); t != nil {
		fill(k.shift, tensor.Of[float32](t))
	}
	k.run.Run(c.Pool, tensor.Of[float32](c.Out[0]), tensor.Of[float32](c.In[0]))
	return nil
}

// fill repeats src over dst.
func fill(dst, src []float32) {
	for len(dst) > 0 {
		dst = dst[copy(dst, src):]
	}
}

func compileAffine(p *op.Prep) (op.Kernel, error) {
	x := p.InShape(0)
	if tensor.Count(x) == 0 {
		return nil, nil
	}
	images := 1 // with numbers of their own
	for i := range p.In {
		if i > 0 && p.Has(i) {
			images = max(images, p.InShape(i)[0])
		}
	}
	channels := images * x[1] * x[4]
	k := &affine{scale: make([]float32, channels), shift: make([]float32, channels)}
	var err error
	k.run, err = norm.NewBatch(x[0]/images, x[2]*x[3], x[4], k.scale, k.shift)
	return k, err
}

type affineCases struct{}

func (affineCases) Cases() []op.Case {
	x := ramp(2, 2, 3, 5, 8)
	return []op.Case{
		{Name: "one image", In: []*tensor.Tensor{x, ramp(1, 2, 1, 1, 8), ramp(1, 2, 1, 1, 8)}},
		{Name: "each image", In: []*tensor.Tensor{x, ramp(2, 2, 1, 1, 8)}},
		{Name: "mixed", In: []*tensor.Tensor{x, ramp(2, 2, 1, 1, 8), ramp(1, 2, 1, 1, 8)}},
	}
}
