package contrib

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// onnxruntime's pooling of bytes, with the channels first or last.

var poolAttrs = []string{"auto_pad", "ceil_mode", "kernel_shape", "pads", "strides"}

func init() {
	pool := op.Attrs{"auto_pad": op.Default(ir.Str("NOTSET")), "ceil_mode": op.Default(ir.Int(0)), "kernel_shape": op.Required(ir.KindInts), "pads": op.Opt(ir.KindInts), "strides": op.Opt(ir.KindInts)}
	average := op.Attrs{"channels_last": op.Default(ir.Int(0)), "count_include_pad": op.Default(ir.Int(0))}
	largest := op.Attrs{"dilations": op.Opt(ir.KindInts)}
	for name, spec := range pool {
		average[name], largest[name] = spec, spec
	}
	ports := op.Ports("X:T", "x_scale:float32", "x_zero_point:T?", "y_scale:float32", "y_zero_point:T?")
	o := qpool("QLinearAveragePool", ports, average, averagePool, map[string]*ir.Attr{"kernel_shape": ir.Ints(2, 3), "pads": ir.Ints(1, 1, 0, 1)})
	o.Ref, o.Compile = qaveragePoolRef, compileQAverage
	op.Register(&o)
	o = qpool("QLinearGlobalAveragePool", ports, op.Attrs{"channels_last": op.Default(ir.Int(0))}, globalAveragePool, map[string]*ir.Attr{})
	op.Register(&o)
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "NhwcMaxPool", Versions: []int{1}, Doc: "MaxPool with the channels last",
		In: op.Ports("x:T"), Out: op.Ports("y:T"), Types: op.Types{"T": bytes8}, Attrs: largest,
		Infer: func(c *op.Infer) error { return inferPool(c, maxPool, true) }, Ref: nhwcMaxPoolRef, Rows: op.RowsFirst,
		Cases: nhwcMaxPoolCases{},
	})
}

type nhwcMaxPoolCases struct{}

func (nhwcMaxPoolCases) Cases() []op.Case {
	return []op.Case{
		{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]uint8{1, 8, 3, 2, 5, 4, 7, 6}, 1, 2, 2, 2)}, Attrs: map[string]*ir.Attr{"kernel_shape": ir.Ints(2, 2)}, Out: []*tensor.Tensor{tensor.FromSlice([]uint8{7, 8}, 1, 1, 1, 2)}},
		{Name: "padded", In: []*tensor.Tensor{bytesWave[int8](2, 5, 6, 3)}, Attrs: map[string]*ir.Attr{"kernel_shape": ir.Ints(3, 3), "pads": ir.Ints(1, 1, 1, 1), "strides": ir.Ints(2, 2)}},
	}
}

func averagePool(n *ir.Node) (*standard, error) {
	return newStandard("AveragePool", 11, pick(n, append([]string{"count_include_pad"}, poolAttrs...)...), 1, 1)
}

func globalAveragePool(*ir.Node) (*standard, error) {
	return newStandard("GlobalAveragePool", 1, nil, 1, 1)
}

func maxPool(n *ir.Node) (*standard, error) {
	return newStandard("MaxPool", 12, pick(n, append([]string{"dilations"}, poolAttrs...)...), 1, 1)
}

func qpool(name string, in []op.Port, attrs op.Attrs, base func(*ir.Node) (*standard, error), caseAttrs map[string]*ir.Attr) op.Op {
	last := func(n *ir.Node) bool { return n.Bool("channels_last") }
	return op.Op{
		Domain: op.Microsoft, Name: name, Versions: []int{1}, Doc: "computed in float32; the channels are first, or last with channels_last",
		In: in, Out: op.Ports("Y:T"), Types: op.Types{"T": bytes8}, Attrs: attrs, Rows: op.RowsFirst,
		Infer: func(c *op.Infer) error { return inferPool(c, base, last(c.Node)) },
		Ref: func(c *op.Call) error {
			s, err := base(c.Node)
			if err != nil {
				return err
			}
			return viaFloats(c, s, [4]*tensor.Tensor{c.In[1], c.In[2], c.In[3], c.Input(4)}, last(c.Node))
		},
		Cases: qpoolCases{caseAttrs},
	}
}

type qpoolCases struct{ attrs map[string]*ir.Attr }

func (c qpoolCases) Cases() []op.Case {
	lastAttrs := map[string]*ir.Attr{"channels_last": ir.Int(1)}
	for k, a := range c.attrs {
		lastAttrs[k] = a
	}
	in := func(x, xz, yz *tensor.Tensor) []*tensor.Tensor {
		return []*tensor.Tensor{x, scalar32(.05), xz, scalar32(.03), yz}
	}
	return []op.Case{
		{Name: "channels first", In: in(bytesWave[uint8](2, 3, 5, 6), tensor.Scalar[uint8](120), tensor.Scalar[uint8](100)), Attrs: c.attrs},
		{Name: "channels last", In: in(bytesWave[int8](2, 5, 6, 3), tensor.Scalar[int8](-3), nil), Attrs: lastAttrs},
	}
}

func inferPool(c *op.Infer, base func(*ir.Node) (*standard, error), last bool) error {
	x := c.In[0]
	x.Const, x.Content = nil, nil
	if x.Shape == nil {
		c.Set(0, x.DType, nil)
		return nil
	}
	if len(x.Shape) < 3 {
		return fmt.Errorf("input has shape %v, expected batch, channels and at least one dimension of positions", x.Shape)
	}
	s, err := base(c.Node)
	if err != nil {
		return err
	}
	if last {
		x = permutedFact(x, channelsFirst)
	}
	out, err := s.infer(x)
	if err != nil {
		return err
	}
	if last {
		out[0] = permutedFact(out[0], channelsLast)
	}
	c.Set(0, x.DType, out[0].Shape)
	return nil
}

func nhwcMaxPoolRef(c *op.Call) error {
	x := c.In[0]
	if len(x.Shape) < 3 {
		return fmt.Errorf("input is %s, expected batch, positions and channels", x)
	}
	s, err := maxPool(c.Node)
	if err != nil {
		return err
	}
	y, err := s.run(c, transposed(x, channelsFirst(len(x.Shape))))
	if err != nil {
		return err
	}
	give(c, 0, transposed(y, channelsLast(len(y.Shape))))
	return nil
}
