package nn

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/conv"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/spatial"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	attrs := spatial.Attrs()
	attrs["group"] = op.Default(ir.Int(1))
	attrs["output_padding"], attrs["output_shape"] = op.Opt(ir.KindInts), op.Opt(ir.KindInts)
	op.Register(&op.Op{
		Name: "ConvTranspose", Versions: []int{1, 11, 22},
		In: op.Ports("X:T", "W:T", "B:T?"), Out: op.Ports("Y:T"), Types: op.Types{"T": op.Floats}, Attrs: attrs,
		Infer: inferConvTranspose, Ref: convTransposeRef, Compile: wide.Compile(compileConvTranspose), Flops: convTransposeFlops, Rows: op.RowsFirst,
		Cases: convTransposeCases{},
	})
}

type convTransposeCases struct{}

func (convTransposeCases) Cases() []op.Case {
	v := func(m map[string]*ir.Attr, x, w *tensor.Tensor) op.Case {
		return op.Case{In: []*tensor.Tensor{x, w}, Attrs: m}
	}
	named := func(name string, c op.Case) op.Case { c.Name = name; return c }
	return []op.Case{
		named("values", op.Case{In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2}, 1, 1, 2), tensor.FromSlice([]float32{1, 10, 100}, 1, 1, 3)},
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{1, 12, 120, 200}, 1, 1, 4)}}),
		named("strided", v(map[string]*ir.Attr{"strides": ir.Ints(2, 2), "pads": ir.Ints(1, 1, 1, 1), "output_padding": ir.Ints(1, 1)}, ramp(1, 3, 5, 6), ramp(3, 4, 3, 3))),
		named("upsampling", v(map[string]*ir.Attr{"strides": ir.Ints(2, 2)}, ramp(2, 16, 5, 6), ramp(16, 8, 2, 2))),
		named("groups", v(map[string]*ir.Attr{"group": ir.Int(2)}, ramp(1, 4, 5, 6), ramp(4, 3, 3, 3))),
		named("output shape", v(map[string]*ir.Attr{"strides": ir.Ints(3, 2), "output_shape": ir.Ints(10, 8)}, ramp(1, 1, 3, 3), ramp(1, 2, 3, 3))),
		named("dilated", v(map[string]*ir.Attr{"dilations": ir.Ints(2, 2)}, ramp(1, 1, 3, 3), ramp(1, 1, 2, 2))),
		named("same", v(map[string]*ir.Attr{"strides": ir.Ints(2, 2), "auto_pad": ir.Str("SAME_UPPER")}, ramp(1, 1, 3, 3), ramp(1, 2, 3, 3))),
	}
}

func convTransposeFlops(in, _ []op.Fact) float64 {
	n, _ := in[0].Shape.Count().Int()
	if len(in[1].Shape) == 0 {
		return 0
	}
	k, _ := in[1].Shape[1:].Count().Int()
	return 2 * float64(n) * float64(k)
}

// transposed is the geometry of a transposed convolution along one dimension.
type transposed struct {
	out, begin int
}

// transposedDim resolves dimension i of a window for an input size.
func transposedDim(n *ir.Node, w spatial.Window, i, in int) (transposed, error) {
	rank := len(w.Kernel)
	extra := 0
	if p := n.Ints("output_padding"); len(p) > 0 {
		if len(p) != rank {
			return transposed{}, fmt.Errorf("output_padding is %v, expected %d numbers", p, rank)
		}
		extra = p[i]
	}
	full := w.Stride[i]*(in-1) + extra + w.Dilation[i]*(w.Kernel[i]-1) + 1
	want := full - w.Pads[i] - w.Pads[i+rank]
	s := n.Ints("output_shape")
	switch {
	case len(s) == rank && rank > 0:
		want = s[i]
	case len(s) == rank+2:
		want = s[i+2]
	case len(s) > 0:
		return transposed{}, fmt.Errorf("output_shape is %v, expected %d numbers", s, rank)
	case w.AutoPad == "SAME_UPPER" || w.AutoPad == "SAME_LOWER":
		want = in * w.Stride[i]
	default:
		if want < 1 {
			return transposed{}, fmt.Errorf("spatial dimension %d of size %d gives %d outputs", i, in, want)
		}
		return transposed{want, w.Pads[i]}, nil
	}
	if want < 1 || want > full+w.Stride[i] {
		return transposed{}, fmt.Errorf("spatial dimension %d has an output of %d, expected 1 to %d", i, want, full+w.Stride[i])
	}
	total := max(full-want, 0)
	if w.AutoPad == "SAME_UPPER" {
		return transposed{want, total / 2}, nil
	}
	return transposed{want, total - total/2}, nil
}

func inferConvTranspose(c *op.Infer) error {
	x, w := c.In[0].Shape, c.In[1].Shape
	if x == nil || w == nil {
		var s shape.Shape
		if x != nil {
			s = shape.Unknowns(len(x))
		}
		c.Set(0, c.In[0].DType, s)
		return nil
	}
	if len(x) < 3 || len(w) != len(x) {
		return fmt.Errorf("input X has shape %v, weights %v: expected equal ranks of at least 3", x, w)
	}
	group := c.Node.Int("group")
	if channels := (shape.Shape{x[1]}); !channels.Compatible(w[:1]) || group < 1 {
		return fmt.Errorf("input X has %v channels, weights expect %v (group %d)", x[1], w[0], group)
	}
	out := shape.Shape{x[0], w[1].Mul(shape.Const(group))}
	kernel, ok := w[2:].Ints()
	if !ok {
		c.Set(0, c.In[0].DType, append(out, shape.Unknowns(len(x)-2)...))
		return nil
	}
	win, err := spatial.Read(c.Node, kernel)
	if err != nil {
		return err
	}
	for i, d := range x[2:] {
		n, ok := d.Int()
		if !ok {
			out = append(out, symbolicTransposed(c.Node, win, i, d))
			continue
		}
		g, err := transposedDim(c.Node, win, i, n)
		if err != nil {
			return err
		}
		out = append(out, shape.Const(g.out))
	}
	c.Set(0, c.In[0].DType, out)
	return nil
}

func symbolicTransposed(n *ir.Node, w spatial.Window, i int, d shape.Dim) shape.Dim {
	if n.Has("output_shape") || w.AutoPad != "NOTSET" && w.AutoPad != "VALID" {
		return shape.Unknown()
	}
	at0, err := transposedDim(n, w, i, 1<<20) // sizes are linear in the input's
	if err != nil {
		return shape.Unknown()
	}
	return d.Mul(shape.Const(w.Stride[i])).Add(shape.Const(at0.out - w.Stride[i]<<20))
}

func convTransposeRef(c *op.Call) error {
	x, w := c.In[0], c.In[1]
	if len(x.Shape) < 3 || len(w.Shape) != len(x.Shape) || x.Shape[1] != w.Shape[0] {
		return fmt.Errorf("input X is %s, weights are %s: expected equal ranks of at least 3, and %d channels", x, w, w.Shape[0])
	}
	group := c.Node.Int("group")
	if group < 1 || x.Shape[1]%group != 0 {
		return fmt.Errorf("%d channels don't divide into %d groups", x.Shape[1], group)
	}
	win, err := spatial.Read(c.Node, w.Shape[2:])
	if err != nil {
		return err
	}
	geo := make([]transposed, len(win.Kernel))
	dims := []int{x.Shape[0], w.Shape[1] * group}
	for i, n := range x.Shape[2:] {
		if geo[i], err = transposedDim(c.Node, win, i, n); err != nil {
			return err
		}
		dims = append(dims, geo[i].out)
	}
	y := scatterConv(num.Floats(x), num.Floats(w), x.Shape, w.Shape, dims, group, scatterTaps(win, geo, x.Shape[2:]))
	if b := c.Input(2); b != nil {
		if b.Len() != dims[1] {
			return fmt.Errorf("bias is %s, expected %d numbers", b, dims[1])
		}
		addChannels(y, num.Floats(b), dims[0])
	}
	num.SetFloats(c.Output(0, x.DType, dims...), y)
	return nil
}

// scatterTaps lists, for each input pixel, the output pixel that each tap
// reaches; -1 outside the output.
func scatterTaps(w spatial.Window, geo []transposed, in []int) [][]int {
	taps := [][]int{{0}}
	for i, g := range geo {
		var next [][]int
		for _, outer := range taps {
			for p := range in[i] {
				var list []int
				for _, at := range outer {
					for k := range w.Kernel[i] {
						o := p*w.Stride[i] + k*w.Dilation[i] - g.begin
						if at < 0 || o < 0 || o >= g.out {
							list = append(list, -1)
						} else {
							list = append(list, at*g.out+o)
						}
					}
				}
				next = append(next, list)
			}
		}
		taps = next
	}
	return taps
}

func scatterConv(x, w []float64, xs, ws, ys []int, group int, taps [][]int) []float64 {
	y := make([]float64, tensor.Count(ys))
	inArea, outArea, kernel := tensor.Count(xs[2:]), tensor.Count(ys[2:]), tensor.Count(ws[2:])
	perIn, perOut := xs[1]/group, ws[1]
	for n := range xs[0] {
		for ci := range xs[1] {
			for m := range perOut {
				filter := w[(ci*perOut+m)*kernel:]
				out := y[(n*ys[1]+ci/perIn*perOut+m)*outArea:]
				for p, list := range taps {
					v := x[(n*xs[1]+ci)*inArea+p]
					for k, at := range list {
						if at >= 0 {
							out[at] += float64(v * filter[k])
						}
					}
				}
			}
		}
	}
	return y
}

func compileConvTranspose(p *op.Prep) (op.Kernel, error) {
	x, w := p.InShape(0), p.InShape(1)
	group := p.Node.Int("group")
	if p.In[0].DType != dtype.Float32 || len(x) > 5 || tensor.Count(x) == 0 {
		return nil, nil
	}
	if p.In[1].Const == nil || p.Has(2) && p.In[2].Const == nil {
		return nil, nil // weights are cut into phases once, not in every run
	}
	win, err := spatial.Read(p.Node, w[2:])
	if err != nil {
		return nil, err
	}
	k := conv.TransposeParams{Params: conv.Params{In: x[1], Out: w[1] * group, Groups: group, Kernel: win.Kernel, Stride: win.Stride, Dilation: win.Dilation}}
	var ends []int
	for i, n := range x[2:] {
		g, err := transposedDim(p.Node, win, i, n)
		if err != nil {
			return nil, err
		}
		end := win.Stride[i]*(n-1) + win.Dilation[i]*(win.Kernel[i]-1) + 1 - g.begin - g.out
		k.Pads, ends = append(k.Pads, g.begin), append(ends, max(end, 0))
		k.OutputPadding = append(k.OutputPadding, max(-end, 0))
	}
	k.Pads = append(k.Pads, ends...)
	return spatial.CompileTranspose(p, k, x[2:])
}
