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
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	attrs := func() op.Attrs {
		return op.Attrs{"epsilon": op.Default(ir.Float(1e-5)), "momentum": op.Default(ir.Float(0.9))}
	}
	o := op.Op{
		Name: "BatchNormalization", Infer: inferBatchNorm, Ref: batchNormRef, Compile: wide.Compile(compileBatchNorm), InPlace: []int{0}, Rows: rowsBatchNorm,
		Flops: func(in, _ []op.Fact) float64 { n, _ := in[0].Shape.Count().Int(); return 2 * float64(n) },
		Types: op.Types{"T": op.Floats, "U": op.Floats, "T1": op.Floats, "T2": op.Floats}, Cases: batchNormCases{},
	}
	seven := o
	seven.Versions = []int{7}
	seven.In = op.Ports("X:T", "scale:T", "B:T", "mean:T", "var:T")
	seven.Out = op.Ports("Y:T", "mean:T?", "var:T?", "saved_mean:T?", "saved_var:T?")
	seven.Attrs = attrs()
	nine := seven
	nine.Versions, nine.Attrs = []int{9}, attrs()
	op.Register(&nine)
	seven.Doc = "Only spatial=1 is supported."
	seven.Attrs["spatial"] = op.Default(ir.Int(1))
	op.Register(&seven)
	six := seven
	six.Versions, six.Attrs = []int{6}, attrs()
	six.Doc = "Only spatial=1 is supported, and only the form for inference."
	six.Attrs["spatial"], six.Attrs["is_test"] = op.Default(ir.Int(1)), op.Default(ir.Int(0))
	op.Register(&six)
	o.Versions, o.Attrs = []int{14}, attrs()
	o.Attrs["training_mode"] = op.Default(ir.Int(0))
	o.In, o.Out = op.Ports("X:T", "scale:T", "B:T", "input_mean:U", "input_var:U"), op.Ports("Y:T", "running_mean:U?", "running_var:U?")
	op.Register(&o)
	o.Versions = []int{15}
	o.In, o.Out = op.Ports("X:T", "scale:T1", "B:T1", "input_mean:T2", "input_var:T2"), op.Ports("Y:T", "running_mean:T2?", "running_var:T2?")
	op.Register(&o)
}

type batchNormCases struct{}

func (batchNormCases) Cases() []op.Case {
	v := func(x ...float32) *tensor.Tensor { return tensor.FromSlice(x) }
	none := []*tensor.Tensor{nil}
	return []op.Case{
		{Name: "two channels", In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2, 3, 4}, 1, 2, 2), v(2, 1), v(0, 1), v(1, 3), v(1, 4)},
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{0, 1.99999, 1, 1.4999994}, 1, 2, 2)}},
		{Name: "image", In: []*tensor.Tensor{ramp(2, 18, 5, 7), ramp(18), ramp(18), ramp(18), ramp(18)}, Out: none},
		{Name: "matrix", In: []*tensor.Tensor{ramp(4, 33), ramp(33), ramp(33), ramp(33), ramp(33)}, Out: none},
	}
}

func rowsBatchNorm(n *ir.Node, in []int) ([]int, bool) {
	if n.Bool("training_mode") || in[0] > 0 {
		return nil, false
	}
	return op.RowsFirst(n, in)
}

func inferBatchNorm(c *op.Infer) error {
	x := c.In[0]
	c.Set(0, x.DType, x.Shape)
	if len(x.Shape) > 1 {
		for i, f := range c.In[1:] {
			if f.Shape != nil && !f.Shape.Compatible(shape.Shape{x.Shape[1]}) {
				return fmt.Errorf("input %d has shape %v, expected [%v] for X's channels", i+1, f.Shape, x.Shape[1])
			}
		}
	}
	for i := 1; i < len(c.Out); i++ {
		c.Set(i, c.In[3].DType, c.In[3].Shape)
	}
	return nil
}

func batchNormRef(c *op.Call) error {
	x := c.In[0]
	if c.Node.Has("spatial") && !c.Node.Bool("spatial") {
		return fmt.Errorf("spatial=0 is not supported")
	}
	if len(x.Shape) == 0 {
		return fmt.Errorf("input X is a scalar, expected at least one dimension")
	}
	channels := 1
	if len(x.Shape) > 1 {
		channels = x.Shape[1]
	}
	var p [4][]float64 // scale, bias, mean, variance
	for i := range p {
		if t := c.In[i+1]; t.Len() != channels {
			return fmt.Errorf("input %d is %s, expected %d numbers for X's channels", i+1, t, channels)
		}
		p[i] = num.Floats(c.In[i+1])
	}
	v := num.Floats(x)
	area := 1
	if len(x.Shape) > 2 {
		area = tensor.Count(x.Shape[2:])
	}
	if c.Node.Bool("training_mode") {
		p[2], p[3] = batchStatistics(v, channels, area)
		if err := runningStatistics(c, p[2], p[3]); err != nil {
			return err
		}
	} else if c.Wants(1) {
		return fmt.Errorf("running statistics are outputs of training mode only")
	}
	eps := float64(c.Node.Float("epsilon"))
	for i := range v {
		ch := i / area % channels
		v[i] = (v[i]-p[2][ch])/math.Sqrt(p[3][ch]+eps)*p[0][ch] + p[1][ch]
	}
	num.SetFloats(c.Output(0, x.DType, x.Shape...), v)
	return nil
}

// batchStatistics gives the mean and variance of each channel of the batch.
func batchStatistics(v []float64, channels, area int) (mean, variance []float64) {
	mean, variance = make([]float64, channels), make([]float64, channels)
	n := float64(len(v) / max(channels, 1))
	for i, x := range v {
		mean[i/area%channels] += x / n
	}
	for i, x := range v {
		d := x - mean[i/area%channels]
		variance[i/area%channels] += d * d / n
	}
	return mean, variance
}

func runningStatistics(c *op.Call, mean, variance []float64) error {
	m := float64(c.Node.Float("momentum"))
	for i, batch := range [][]float64{mean, variance} {
		old := c.In[3+i]
		run := num.Floats(old)
		for k := range run {
			run[k] = run[k]*m + batch[k]*(1-m)
		}
		num.SetFloats(c.Output(1+i, old.DType, old.Shape...), run)
	}
	return nil
}

type batchKernel struct {
	*norm.Batch
	dims []int
}

func (k *batchKernel) Run(c *op.Call) error {
	y := c.Output(0, dtype.Float32, k.dims...)
	k.Batch.Run(c.Pool, tensor.Of[float32](y), tensor.Of[float32](c.In[0]))
	return nil
}

// compileBatchNorm takes constant parameters, as trained networks have them.
func compileBatchNorm(p *op.Prep) (op.Kernel, error) {
	dims := p.InShape(0)
	if p.Node.Bool("training_mode") || p.Node.Has("spatial") && !p.Node.Bool("spatial") || len(dims) < 2 || len(p.Out) > 1 && p.Node.Output(1) != nil {
		return nil, nil
	}
	var v [4][]float32
	for i := range p.In {
		if p.In[i].DType != dtype.Float32 || i > 0 && (p.In[i].Const == nil || p.In[i].Const.Len() != dims[1]) {
			return nil, nil
		}
		if i > 0 {
			v[i-1] = tensor.Of[float32](p.In[i].Const)
		}
	}
	scale, shift := norm.Fold(v[0], v[1], v[2], v[3], p.Node.Float("epsilon"))
	k, err := norm.NewBatch(dims[0], tensor.Count(dims[2:]), 1, scale, shift)
	return &batchKernel{k, dims}, err
}
