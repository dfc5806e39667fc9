package signal

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	for _, w := range []struct {
		name  string
		terms []float64
		cases op.Cases
	}{
		{"HannWindow", []float64{0.5, -0.5}, windowCases{[]float32{0, 0.5, 1, 0.5}, []float32{0, 1, 0}}},
		{"HammingWindow", []float64{25. / 46, -21. / 46}, windowCases{[]float32{4. / 46, 25. / 46, 1, 25. / 46}, []float32{4. / 46, 1, 4. / 46}}},
		{"BlackmanWindow", []float64{0.42, -0.5, 0.08}, windowCases{[]float32{0, 0.34, 1, 0.34}, []float32{0, 1, 0}}},
	} {
		op.Register(&op.Op{
			Name: w.name, Versions: []int{17}, Doc: "a window function: a sum of cosines",
			In: op.Ports("size:T1"), Out: op.Ports("output:T2"), Types: op.Types{"T1": op.Indices, "T2": op.Numeric},
			Attrs: op.Attrs{"output_datatype": op.Default(ir.Int(1)), "periodic": op.Default(ir.Int(1))},
			Infer: windowInfer, Cases: w.cases,
			Ref: func(c *op.Call) error { return windowRef(c, w.terms) },
		})
	}
	op.Register(&op.Op{
		Name: "MelWeightMatrix", Versions: []int{17}, Doc: "triangular filters from linear frequencies to the mel scale",
		In:  op.Ports("num_mel_bins:T1", "dft_length:T1", "sample_rate:T1", "lower_edge_hertz:T2", "upper_edge_hertz:T2"),
		Out: op.Ports("output:T3"), Types: op.Types{"T1": op.Indices, "T2": op.Floats, "T3": op.Numeric},
		Attrs: op.Attrs{"output_datatype": op.Default(ir.Int(1))},
		Infer: melInfer, Ref: melRef, Cases: melCases{},
	})
}

func windowInfer(c *op.Infer) error {
	dt, err := outputType(c.Node)
	n := shape.Unknown()
	if d, ok := c.In[0].Dims(); ok && len(d) == 1 {
		n = d[0]
	}
	c.Set(0, dt, shape.Shape{n})
	return err
}

// windowRef computes Σ terms[k]·cos(2πki/n).
func windowRef(c *op.Call, terms []float64) error {
	dt, err := outputType(c.Node)
	if err != nil {
		return err
	}
	n, err := scalarInt(c, 0)
	if err != nil {
		return err
	}
	if err := tensor.CheckSize([]int{n}); err != nil {
		return err
	}
	period := float64(n)
	if !c.Node.Bool("periodic") {
		period--
	}
	v := make([]float64, n)
	for i := range v {
		for k, a := range terms {
			v[i] += a * math.Cos(2*math.Pi*float64(k*i)/max(period, 1))
		}
	}
	num.SetFloats(c.Output(0, dt, n), v)
	return nil
}

func melInfer(c *op.Infer) error {
	dt, err := outputType(c.Node)
	bins, bands := shape.Unknown(), shape.Unknown()
	if d, ok := c.In[1].Dims(); ok && len(d) == 1 {
		bins = d[0].Div(shape.Const(2)).Add(shape.Const(1))
	}
	if d, ok := c.In[0].Dims(); ok && len(d) == 1 {
		bands = d[0]
	}
	c.Set(0, dt, shape.Shape{bins, bands})
	return err
}

func melRef(c *op.Call) error {
	dt, err := outputType(c.Node)
	if err != nil {
		return err
	}
	var v [5]float64
	for i, t := range c.In {
		if v[i], err = num.Scalar(t); err != nil {
			return fmt.Errorf("input %d: %w", i, err)
		}
	}
	bands, length, rate, low, high := int(v[0]), int(v[1]), v[2], v[3], v[4]
	bins := length/2 + 1
	if err := tensor.CheckSize([]int{bands, length}); err != nil {
		return err
	}
	mel := func(hertz float64) float64 { return 2595 * math.Log10(1+hertz/700) }
	step := (mel(high) - mel(low)) / float64(bands+2)
	edges := make([]int, bands+2)
	for i := range edges {
		hertz := 700 * (math.Pow(10, (mel(low)+float64(i)*step)/2595) - 1)
		at := math.Floor(float64(length+1) * hertz / rate)
		if !(at >= 0 && at < float64(bins)) {
			return fmt.Errorf("band edge %d is at %v Hz, outside the %d frequencies of a transform of %d at %v Hz", i, hertz, bins, length, rate)
		}
		edges[i] = int(at)
	}
	out := make([]float64, bins*bands)
	for b := range bands {
		left, centre, right := edges[b], edges[b+1], edges[b+2]
		out[centre*bands+b] = 1
		for j := left; j < centre; j++ {
			out[j*bands+b] = float64(j-left) / float64(centre-left)
		}
		for j := centre; j < right; j++ {
			out[j*bands+b] = float64(right-j) / float64(right-centre)
		}
	}
	num.SetFloats(c.Output(0, dt, bins, bands), out)
	return nil
}
