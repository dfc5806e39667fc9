package nn

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/norm"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Name: "InstanceNormalization", Versions: []int{6, 22},
		In: op.Ports("input:T", "scale:T", "B:T"), Out: op.Ports("output:T"), Types: op.Types{"T": op.Floats},
		Attrs: op.Attrs{"epsilon": op.Default(ir.Float(1e-5))},
		Infer: op.SameAsInput, Ref: instanceNormRef, Compile: wide.Compile(compileInstanceNorm), Flops: normFlops, InPlace: []int{0}, Rows: op.RowsFirst,
		Cases: instanceNormalizationCases{},
	})
	group := op.Op{
		Name: "GroupNormalization", In: op.Ports("X:T", "scale:T", "bias:T"), Out: op.Ports("Y:T"), Types: op.Types{"T": op.Floats},
		Infer: inferGroupNorm, Ref: groupNormRef, Compile: wide.Compile(compileGroupNorm), Flops: normFlops, InPlace: []int{0}, Rows: op.RowsFirst,
	}
	old := group
	old.Versions = []int{18}
	old.Doc = "Scale and bias hold one number per group."
	old.Attrs = op.Attrs{"epsilon": op.Default(ir.Float(1e-5)), "num_groups": op.Required(ir.KindInt)}
	old.Cases = oldGroupNormCases{}
	op.Register(&old)
	group.Versions = []int{21}
	group.Attrs = op.Attrs{"epsilon": op.Default(ir.Float(1e-5)), "num_groups": op.Required(ir.KindInt), "stash_type": op.Default(ir.Int(1))}
	group.Cases = groupNormCases{}
	op.Register(&group)
}

type instanceNormalizationCases struct{}

func (instanceNormalizationCases) Cases() []op.Case {
	return []op.Case{
		{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]float32{-1, 0, 1, 2, 3, 4}, 1, 2, 3), tensor.FromSlice([]float32{1, 1.5}), tensor.FromSlice([]float32{0, 1})},
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{-1.2247357, 0, 1.2247357, -.8371035, 1, 2.8371034}, 1, 2, 3)}},
		{Name: "image", In: []*tensor.Tensor{ramp(2, 5, 9, 8), ramp(5), ramp(5)}},
	}
}

type oldGroupNormCases struct{}

func (oldGroupNormCases) Cases() []op.Case {
	return []op.Case{{Name: "image", In: []*tensor.Tensor{ramp(2, 6, 9, 8), ramp(3), ramp(3)}, Attrs: map[string]*ir.Attr{"num_groups": ir.Int(3)}}}
}

type groupNormCases struct{}

func (groupNormCases) Cases() []op.Case {
	return []op.Case{{Name: "image", In: []*tensor.Tensor{ramp(2, 6, 9, 8), ramp(6), ramp(6)}, Attrs: map[string]*ir.Attr{"num_groups": ir.Int(3)}}}
}

func inferGroupNorm(c *op.Infer) error {
	groups := c.Node.Int("num_groups")
	if s := c.In[0].Shape; len(s) > 1 {
		if n, ok := s[1].Int(); ok && (groups < 1 || n%groups != 0) {
			return fmt.Errorf("num_groups is %d, expected a divisor of the %d channels", groups, n)
		}
	}
	return op.SameAsInput(c)
}

func instanceNormRef(c *op.Call) error {
	if len(c.In[0].Shape) < 2 {
		return fmt.Errorf("input is %s, expected at least 2 dimensions", c.In[0])
	}
	return normalizeGroups(c, c.In[0].Shape[1])
}

func groupNormRef(c *op.Call) error {
	if len(c.In[0].Shape) < 2 {
		return fmt.Errorf("input is %s, expected at least 2 dimensions", c.In[0])
	}
	return normalizeGroups(c, c.Node.Int("num_groups"))
}

// normalizeGroups normalizes groups of channels of each image; scale and bias
// have a number for each group or each channel.
func normalizeGroups(c *op.Call, groups int) error {
	x := c.In[0]
	channels := x.Shape[1]
	if groups < 1 || channels%groups != 0 {
		return fmt.Errorf("num_groups is %d, expected a divisor of the %d channels", groups, channels)
	}
	scale, bias := num.Floats(c.In[1]), num.Floats(c.In[2])
	if n := len(scale); n != groups && n != channels || n != len(bias) {
		return fmt.Errorf("scale is %s and bias %s, expected one number for each of %d groups or %d channels", c.In[1], c.In[2], groups, channels)
	}
	eps := float64(c.Node.Float("epsilon"))
	v := num.Floats(x)
	area := tensor.Count(x.Shape[2:])
	size := channels / groups * area
	for g := range x.Shape[0] * groups {
		line := v[g*size : (g+1)*size]
		mean, inv := moments(line, eps)
		for k := range line {
			p := (g%groups*size/max(area, 1) + k/area) * len(scale) / channels
			line[k] = (line[k]-mean)*inv*scale[p] + bias[p]
		}
	}
	num.SetFloats(c.Output(0, x.DType, x.Shape...), v)
	return nil
}

// moments gives the mean and the inverse of the standard deviation.
func moments(v []float64, eps float64) (mean, inv float64) {
	mean = average(v, 0, false)
	variance := 0.
	for _, x := range v {
		variance += (x - mean) * (x - mean) / float64(len(v))
	}
	return mean, 1 / math.Sqrt(variance+eps)
}

type groupKernel struct {
	*norm.Group
	dims        []int
	scale, bias []float32 // room for a number for each channel where the inputs have one for each group, else nil
}

func (k *groupKernel) Run(c *op.Call) error {
	y := c.Output(0, dtype.Float32, k.dims...)
	scale, bias := tensor.Of[float32](c.In[1]), tensor.Of[float32](c.In[2])
	if k.scale != nil {
		scale, bias = perChannel(k.scale, scale), perChannel(k.bias, bias)
	}
	k.Group.Run(c.Pool, tensor.Of[float32](y), tensor.Of[float32](c.In[0]), scale, bias)
	return nil
}

// perChannel repeats the number of each group for its channels.
func perChannel(channels, groups []float32) []float32 {
	size := len(channels) / len(groups)
	for i := range channels {
		channels[i] = groups[i/size]
	}
	return channels
}

func compileInstanceNorm(p *op.Prep) (op.Kernel, error) {
	if len(p.InShape(0)) < 2 {
		return nil, nil
	}
	return compileGroups(p, p.InShape(0)[1])
}

func compileGroupNorm(p *op.Prep) (op.Kernel, error) {
	return compileGroups(p, p.Node.Int("num_groups"))
}

// compileGroups takes a scale and bias of one number for each channel or each group.
func compileGroups(p *op.Prep, groups int) (op.Kernel, error) {
	dims, scales := p.InShape(0), tensor.Count(p.InShape(1))
	if p.In[0].DType != dtype.Float32 || tensor.Count(dims) == 0 || scales != tensor.Count(p.InShape(2)) {
		return nil, nil
	}
	k := &groupKernel{dims: dims}
	switch {
	case scales == dims[1]:
	case scales == groups && groups > 0 && dims[1]%groups == 0:
		k.scale, k.bias = make([]float32, dims[1]), make([]float32, dims[1])
	default:
		return nil, nil
	}
	var err error
	k.Group, err = norm.NewGroup(dims, groups, p.Node.Float("epsilon"))
	return k, err
}
