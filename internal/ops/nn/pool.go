package nn

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	kernels "github.com/salver-ml/salver/internal/kernels/pooling"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/spatial"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// pooling is an operator that reduces each window of each channel.
type pooling struct {
	name   string
	reduce func(n *ir.Node) func(v []float64, padded int) float64 // padded counts the taps in the padding
}

var (
	maxPool     = pooling{"MaxPool", func(*ir.Node) func([]float64, int) float64 { return largest }}
	averagePool = pooling{"AveragePool", func(n *ir.Node) func([]float64, int) float64 {
		include := n.Bool("count_include_pad")
		return func(v []float64, padded int) float64 { return average(v, padded, include) }
	}}
	lpPool = pooling{"LpPool", func(n *ir.Node) func([]float64, int) float64 {
		p := float64(n.Int("p"))
		return func(v []float64, _ int) float64 { return lpNorm(v, p) }
	}}
)

func largest(v []float64, _ int) float64 {
	m := math.Inf(-1)
	for _, x := range v {
		m = max(m, x)
	}
	return m
}

func average(v []float64, padded int, include bool) float64 {
	s := 0.
	for _, x := range v {
		s += x
	}
	n := len(v)
	if include {
		n += padded
	}
	return s / float64(n)
}

func lpNorm(v []float64, p float64) float64 {
	s := 0.
	for _, x := range v {
		s += math.Pow(math.Abs(x), p)
	}
	return math.Pow(s, 1/p)
}

func poolAttrs(names ...string) op.Attrs {
	a := op.Attrs{"auto_pad": op.Default(ir.Str("NOTSET")), "kernel_shape": op.Required(ir.KindInts), "pads": op.Opt(ir.KindInts), "strides": op.Opt(ir.KindInts)}
	for _, n := range names {
		switch n {
		case "dilations":
			a[n] = op.Opt(ir.KindInts)
		case "p":
			a[n] = op.Default(ir.Int(2))
		default:
			a[n] = op.Default(ir.Int(0))
		}
	}
	return a
}

func init() {
	types := op.Types{"T": append([]dtype.Type{dtype.Int8, dtype.Uint8}, op.Floats...), "I": {dtype.Int64}}
	for _, v := range []struct {
		p        pooling
		versions []int
		attrs    op.Attrs
	}{
		{maxPool, []int{1}, poolAttrs()},
		{maxPool, []int{8}, poolAttrs("storage_order")},
		{maxPool, []int{10, 11, 12, 22}, poolAttrs("storage_order", "ceil_mode", "dilations")},
		{averagePool, []int{1}, poolAttrs()},
		{averagePool, []int{7}, poolAttrs("count_include_pad")},
		{averagePool, []int{10, 11}, poolAttrs("count_include_pad", "ceil_mode")},
		{averagePool, []int{19, 22}, poolAttrs("count_include_pad", "ceil_mode", "dilations")},
		{lpPool, []int{2, 11}, poolAttrs("p")},
		{lpPool, []int{18, 22}, poolAttrs("p", "ceil_mode", "dilations")},
	} {
		out := op.Ports("Y:T")
		if v.p.name == "MaxPool" && v.versions[0] >= 8 {
			out = op.Ports("Y:T", "Indices:I?")
		}
		o := op.Op{
			Name: v.p.name, Versions: v.versions, In: op.Ports("X:T"), Out: out, Types: types, Attrs: v.attrs,
			Infer: inferPool, Ref: v.p.ref, Compile: wide.Compile(v.p.compile), Flops: poolFlops, Rows: rowsPool,
		}
		hasCeil := v.attrs["ceil_mode"].Kind == ir.KindInt
		_, hasDilations := v.attrs["dilations"]
		o.Cases = poolCases{bytes: v.p.name == "MaxPool", ceil: hasCeil, dilations: hasDilations}
		op.Register(&o)
	}
}

// rowsPool: indices count from the start of the whole tensor.
func rowsPool(n *ir.Node, in []int) ([]int, bool) {
	if n.Output(1) != nil {
		return nil, false
	}
	return op.RowsFirst(n, in)
}

func poolFlops(_, out []op.Fact) float64 {
	n, _ := out[0].Shape.Count().Int()
	return 9 * float64(n)
}

// poolCases are those of the operators, some of which have more types and attributes.
type poolCases struct{ bytes, ceil, dilations bool }

func (p poolCases) Cases() []op.Case {
	attrs := func(kernel []int, more map[string]*ir.Attr) map[string]*ir.Attr {
		m := map[string]*ir.Attr{"kernel_shape": ir.Ints(kernel...)}
		for k, v := range more {
			m[k] = v
		}
		return m
	}
	cases := []op.Case{
		{Name: "2x2", In: []*tensor.Tensor{ramp(2, 19, 8, 8)}, Attrs: attrs([]int{2, 2}, map[string]*ir.Attr{"strides": ir.Ints(2, 2)})},
		{Name: "3x3 padded", In: []*tensor.Tensor{ramp(2, 3, 9, 7)}, Attrs: attrs([]int{3, 3}, map[string]*ir.Attr{"strides": ir.Ints(2, 2), "pads": ir.Ints(1, 1, 1, 1)})},
		{Name: "same", In: []*tensor.Tensor{ramp(1, 3, 9, 7)}, Attrs: attrs([]int{3, 2}, map[string]*ir.Attr{"auto_pad": ir.Str("SAME_LOWER")})},
		{Name: "5x5 on planes of odd size", In: []*tensor.Tensor{ramp(1, 3, 39, 41)}, Attrs: attrs([]int{5, 5}, map[string]*ir.Attr{"pads": ir.Ints(2, 2, 2, 2)})},
		{Name: "wide strides", In: []*tensor.Tensor{ramp(2, 2, 21, 67)}, Attrs: attrs([]int{2, 3}, map[string]*ir.Attr{"strides": ir.Ints(3, 5), "pads": ir.Ints(1, 2, 0, 1)})},
		{Name: "1d", In: []*tensor.Tensor{ramp(2, 3, 20)}, Attrs: attrs([]int{5}, map[string]*ir.Attr{"strides": ir.Ints(3)})},
		{Name: "3d", In: []*tensor.Tensor{ramp(1, 2, 4, 5, 6)}, Attrs: attrs([]int{2, 2, 3}, nil)},
	}
	if p.bytes {
		for _, c := range cases {
			x := c.In[0]
			signed := tensor.New(dtype.Int8, x.Shape...)
			for i := range signed.Data {
				signed.Data[i] = byte(i*i*7 + i*31)
			}
			unsigned := &tensor.Tensor{DType: dtype.Uint8, Shape: x.Shape, Data: signed.Data}
			cases = append(cases, op.Case{Name: c.Name + " of int8", In: []*tensor.Tensor{signed}, Attrs: c.Attrs}, op.Case{Name: c.Name + " of uint8", In: []*tensor.Tensor{unsigned}, Attrs: c.Attrs})
		}
	}
	if p.ceil {
		cases = append(cases, op.Case{Name: "ceil", In: []*tensor.Tensor{ramp(1, 2, 6, 8)},
			Attrs: attrs([]int{3, 3}, map[string]*ir.Attr{"strides": ir.Ints(2, 2), "ceil_mode": ir.Int(1), "pads": ir.Ints(1, 0, 0, 1)})})
	}
	if p.dilations {
		cases = append(cases, op.Case{Name: "dilated", In: []*tensor.Tensor{ramp(1, 2, 9, 8)}, Attrs: attrs([]int{3, 2}, map[string]*ir.Attr{"dilations": ir.Ints(2, 3)})},
			op.Case{Name: "dilated, with strides, up to the end", In: []*tensor.Tensor{ramp(1, 2, 30, 43)}, Attrs: attrs([]int{3, 4}, map[string]*ir.Attr{
				"dilations": ir.Ints(2, 3), "strides": ir.Ints(3, 2), "pads": ir.Ints(2, 1, 1, 3), "ceil_mode": ir.Int(1)})})
	}
	cases = append(cases, op.Case{Name: "window larger than the input", In: []*tensor.Tensor{ramp(1, 1, 1, 3)}, Attrs: attrs([]int{2, 2}, map[string]*ir.Attr{"strides": ir.Ints(2, 2)})})
	for i := 1; i < len(cases); i++ {
		cases[i].Out = []*tensor.Tensor{nil} // without indices
	}
	return cases
}

func inferPool(c *op.Infer) error {
	s := c.In[0].Shape
	w, err := spatial.Read(c.Node, nil)
	if err != nil {
		return err
	}
	if s != nil {
		if len(s) < 3 {
			return fmt.Errorf("input X has shape %v, expected at least 3 dimensions", s)
		}
		out, err := w.OutShape(s[2:])
		if err != nil {
			return err
		}
		s = append(shape.Shape{s[0], s[1]}, out...)
	}
	c.Set(0, c.In[0].DType, s)
	c.Set(1, dtype.Int64, s)
	return nil
}

func (p pooling) ref(c *op.Call) error {
	x := c.In[0]
	w, err := spatial.Read(c.Node, nil)
	if err != nil {
		return err
	}
	if len(x.Shape) < 3 {
		return fmt.Errorf("input X has shape %v, expected at least 3 dimensions", x.Shape)
	}
	dims, err := w.Resolve(x.Shape[2:])
	if err != nil {
		return err
	}
	dimsOut := append([]int{x.Shape[0], x.Shape[1]}, spatial.Sizes(dims)...)
	taps, err := spatial.Taps(dims)
	if err != nil {
		return err
	}
	padded := paddedTaps(dims)
	area := tensor.Count(x.Shape[2:])
	f := p.reduce(c.Node)
	in := num.Floats(x)
	var out []float64
	var line []float64
	var argmax []int64
	order := storageOrder(x.Shape[2:], c.Node.Bool("storage_order"))
	for ch := range x.Shape[0] * x.Shape[1] {
		for i, list := range taps {
			line = line[:0]
			best := -1
			for _, at := range list {
				if at < 0 {
					continue
				}
				v := in[ch*area+at]
				line = append(line, v)
				if best < 0 || v > in[ch*area+best] {
					best = at
				}
			}
			out = append(out, f(line, padded[i]-len(line)))
			argmax = append(argmax, int64(ch*area+order(best)))
		}
	}
	num.SetFloats(c.Output(0, x.DType, dimsOut...), out)
	if c.Wants(1) {
		num.SetInt64s(c.Output(1, dtype.Int64, dimsOut...), argmax)
	}
	return nil
}

// paddedTaps counts, for each output, the taps inside the input or its padding.
func paddedTaps(dims []window.Dim) []int {
	counts := []int{1}
	for _, d := range dims {
		var next []int
		for _, c := range counts {
			for o := range d.Out {
				next = append(next, c*d.Padded(o))
			}
		}
		counts = next
	}
	return counts
}

// storageOrder turns a row-major offset into a column-major one.
func storageOrder(dims []int, column bool) func(int) int {
	return func(at int) int {
		if !column || at < 0 {
			return at
		}
		out, stride := 0, tensor.Count(dims)
		for i := len(dims) - 1; i >= 0; i-- {
			stride /= dims[i]
			out += at % dims[i] * stride
			at /= dims[i]
		}
		return out
	}
}

// poolKernel pools float32 tensors in plain layout.
type poolKernel struct {
	*kernels.Runner
	dims  []int
	batch int
}

func (k *poolKernel) Run(c *op.Call) error {
	y := c.Output(0, dtype.Float32, k.dims...)
	return k.Runner.Run(c.Pool, k.batch, tensor.Of[float32](c.In[0]), tensor.Of[float32](y))
}

func (p pooling) compile(c *op.Prep) (op.Kernel, error) {
	x := c.InShape(0)
	w, err := spatial.Read(c.Node, nil)
	if err != nil {
		return nil, err
	}
	dims, err := w.Resolve(x[2:])
	if err != nil {
		return nil, err
	}
	if p.name == "MaxPool" && c.In[0].DType.IsInt() {
		if k := compileBytePool(c, dims); k != nil {
			return k, nil
		}
		return nil, nil
	}
	if k, err := p.compileTaps(c, dims); k != nil || err != nil {
		return k, err
	}
	k := kernels.Params{Kernel: w.Kernel, Stride: w.Stride, Dilation: w.Dilation, Ceil: w.Ceil && !w.Same(), CountIncludePad: c.Node.Bool("count_include_pad")}
	for _, d := range dims {
		k.Pads = append(k.Pads, d.Begin)
	}
	for _, d := range dims {
		k.Pads = append(k.Pads, d.End)
	}
	return p.kernel(c, k)
}

// kernel gives nil for what package pooling doesn't do: other types, and more
// than three spatial dimensions.
func (p pooling) kernel(c *op.Prep, k kernels.Params) (op.Kernel, error) {
	x := c.InShape(0)
	kind, ok := map[string]kernels.Kind{"MaxPool": kernels.Max, "AveragePool": kernels.Average}[p.name]
	if !ok || c.In[0].DType != dtype.Float32 || len(x) < 3 || len(x) > 5 || tensor.Count(x) == 0 {
		return nil, nil
	}
	k.Kind = kind
	plan, err := kernels.New(k, x[1], x[2:], cpu.Level(), false)
	if err != nil {
		return nil, err
	}
	return &poolKernel{plan.NewRunner(), c.OutShape(0), x[0]}, nil
}
