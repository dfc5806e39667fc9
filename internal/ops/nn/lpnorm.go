package nn

import (
	"fmt"
	"math"
	"slices"

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
		Name: "LpNormalization", Versions: []int{1, 22}, Doc: "A line of zeros stays zeros.",
		In: op.Ports("input:T"), Out: op.Ports("output:T"), Types: op.Types{"T": op.Floats},
		Attrs: op.Attrs{"axis": op.Default(ir.Int(-1)), "p": op.Default(ir.Int(2))},
		Infer: op.SameAsInput, Ref: lpNormRef, Compile: wide.Compile(compileLpNorm), Flops: normFlops, InPlace: []int{0}, Rows: op.RowsExceptAxis("axis"),
		Cases: lpNormalizationCases{},
	})
	op.Register(&op.Op{
		Name: "MeanVarianceNormalization", Versions: []int{9, 13},
		In: op.Ports("X:T"), Out: op.Ports("Y:T"), Types: op.Types{"T": op.Floats},
		Attrs: op.Attrs{"axes": op.Default(ir.Ints(0, 2, 3))},
		Infer: op.SameAsInput, Ref: mvnRef, Compile: wide.Compile(compileMVN), Flops: normFlops, InPlace: []int{0}, Rows: rowsMVN,
		Cases: meanVarianceNormalizationCases{},
	})
}

type lpNormalizationCases struct{}

func (lpNormalizationCases) Cases() []op.Case {
	return []op.Case{
		{Name: "l2", In: []*tensor.Tensor{tensor.FromSlice([]float32{3, 4, 0, 0}, 2, 2)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{.6, .8, 0, 0}, 2, 2)}},
		{Name: "l1", In: []*tensor.Tensor{tensor.FromSlice([]float32{3, -4, 1, 4}, 2, 2)}, Attrs: map[string]*ir.Attr{"p": ir.Int(1), "axis": ir.Int(0)},
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{.75, -.5, .25, .5}, 2, 2)}},
		{Name: "rows", In: []*tensor.Tensor{ramp(5, 700)}},
		{Name: "channels", In: []*tensor.Tensor{ramp(2, 30, 5, 7)}, Attrs: map[string]*ir.Attr{"axis": ir.Int(1)}},
	}
}

type meanVarianceNormalizationCases struct{}

func (meanVarianceNormalizationCases) Cases() []op.Case {
	return []op.Case{
		{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 3, 5, 9}, 1, 2, 1, 2)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{-1, 1, -1, 1}, 1, 2, 1, 2)}},
		{Name: "rows", In: []*tensor.Tensor{ramp(3, 2, 5)}, Attrs: map[string]*ir.Attr{"axes": ir.Ints(1, 2)}},
	}
}

// alongAxes calls f with the elements along the given axes, for each place of
// the others, and stores what f leaves.
func alongAxes(v []float64, dims, axes []int, f func(line []float64)) {
	strides := tensor.Strides(dims)
	var in, inStrides, out, outStrides []int
	for i, d := range dims {
		if slices.Contains(axes, i) {
			in, inStrides = append(in, d), append(inStrides, strides[i])
		} else {
			out, outStrides = append(out, d), append(outStrides, strides[i])
		}
	}
	offsets := num.Index(in, inStrides)
	line := make([]float64, len(offsets))
	for _, at := range num.Index(out, outStrides) {
		for k, o := range offsets {
			line[k] = v[at+o]
		}
		f(line)
		for k, o := range offsets {
			v[at+o] = line[k]
		}
	}
}

func lpNormRef(c *op.Call) error {
	x := c.In[0]
	axis, err := op.Axis(c.Node.Int("axis"), len(x.Shape))
	if err != nil {
		return err
	}
	p := c.Node.Int("p")
	if p != 1 && p != 2 {
		return fmt.Errorf("p is %d, expected 1 or 2", p)
	}
	v := num.Floats(x)
	alongAxes(v, x.Shape, []int{axis}, func(line []float64) {
		if n := lpNorm(line, float64(p)); n != 0 {
			for i := range line {
				line[i] /= n
			}
		}
	})
	num.SetFloats(c.Output(0, x.DType, x.Shape...), v)
	return nil
}

// lpKernel divides lines of float32 by their norm.
type lpKernel struct {
	*norm.Lp
	dims []int
}

func compileLpNorm(p *op.Prep) (op.Kernel, error) {
	dims := p.InShape(0)
	if p.In[0].DType != dtype.Float32 || tensor.Count(dims) == 0 {
		return nil, nil
	}
	k, err := norm.NewLp(p.Node.Int("p"), dims, p.Node.Int("axis"))
	return &lpKernel{k, dims}, err
}

// ScratchBytes is the working memory of a run.
func (k *lpKernel) ScratchBytes() int { return 4 * k.Scratch() }

// Run normalizes.
func (k *lpKernel) Run(c *op.Call) error {
	y := c.Output(0, dtype.Float32, k.dims...)
	k.Lp.Run(c.Pool, tensor.Of[float32](y), tensor.Of[float32](c.In[0]), tensor.View[float32](c.Scratch))
	return nil
}

// mvnEpsilon is added to the standard deviation, as the specification's
// function body does.
const mvnEpsilon = 1e-9

func mvnRef(c *op.Call) error {
	x := c.In[0]
	axes, err := op.Axes(c.Node.Ints("axes"), len(x.Shape))
	if err != nil {
		return err
	}
	v := num.Floats(x)
	alongAxes(v, x.Shape, axes, func(line []float64) {
		mean := average(line, 0, false)
		squares := 0.
		for _, x := range line {
			squares += (x - mean) * (x - mean) / float64(len(line))
		}
		for i := range line {
			line[i] = (line[i] - mean) / (math.Sqrt(squares) + mvnEpsilon)
		}
	})
	num.SetFloats(c.Output(0, x.DType, x.Shape...), v)
	return nil
}

// compileMVN serves float32 whose reduced axes come last, but for axes of one.
// Added to the variance, the square of mvnEpsilon has the same effect: none,
// but that a constant line becomes zeros.
func compileMVN(p *op.Prep) (op.Kernel, error) {
	dims := p.InShape(0)
	axes, err := op.Axes(p.Node.Ints("axes"), len(dims))
	if err != nil || p.In[0].DType != dtype.Float32 || tensor.Count(dims) == 0 {
		return nil, err
	}
	width, reduced := 1, false
	for i, d := range dims {
		switch {
		case d == 1:
		case slices.Contains(axes, i):
			width, reduced = width*d, true
		case reduced:
			return nil, nil
		}
	}
	k := norm.NewLayer(tensor.Count(dims)/width, width, mvnEpsilon*mvnEpsilon)
	return op.KernelFunc(func(c *op.Call) error {
		y := c.Output(0, dtype.Float32, dims...)
		k.Run(c.Pool, tensor.Of[float32](y), tensor.Of[float32](c.In[0]), nil, nil)
		return nil
	}), nil
}

func rowsMVN(n *ir.Node, in []int) ([]int, bool) {
	if n.In[0].Type.Shape == nil {
		return nil, false
	}
	axes, err := op.Axes(n.Ints("axes"), len(n.In[0].Type.Shape))
	return []int{in[0]}, err == nil && !slices.Contains(axes, in[0])
}
