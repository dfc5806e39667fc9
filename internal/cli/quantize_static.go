package cli

import (
	"context"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/quant/calib"
	"github.com/salver-ml/salver/internal/quant/ptq"
	"github.com/salver-ml/salver/internal/quant/report"
	"github.com/spf13/cobra"
)

// staticFlags are those of static and dynamic quantization.
type staticFlags struct {
	calibrator                string
	percentile, movingAverage float64
	bins                      int
	activations, weights      string
	asymmetricWeights         bool
	perTensor, perRow         bool
	reduceRange               bool
	format                    string
	contrib                   bool
}

func (f *staticFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.calibrator, "calibrator", "percentile", "static: how ranges are chosen: minmax, percentile, entropy or mse")
	fl.Float64Var(&f.percentile, "percentile", 0, "static: of --calibrator percentile, the part of all values that a range holds, in percent; 0 is 99.999")
	fl.Float64Var(&f.movingAverage, "moving-average", 0, "static: of --calibrator minmax, the weight of a new sample's extremes, e.g. 0.01; 0 takes the extremes of all")
	fl.IntVar(&f.bins, "bins", 0, "static: bins of histograms; 0 is 8192")
	fl.StringVar(&f.activations, "activations", "uint8", "static: uint8, int8, uint16 or int16")
	fl.StringVar(&f.weights, "weights", "int8", "static, dynamic: int8 or uint8")
	fl.BoolVar(&f.asymmetricWeights, "asymmetric-weights", false, "static, dynamic: weights with zero points")
	fl.BoolVar(&f.perTensor, "per-tensor", false, "static, dynamic: one scale for each weight tensor, not one for each channel")
	fl.BoolVar(&f.perRow, "per-row", false, "dynamic: a scale for each row of activations, so that rows do not depend on each other")
	fl.BoolVar(&f.reduceRange, "reduce-range", false, "static, dynamic: 7-bit weights, for onnxruntime on CPUs without VNNI")
	fl.StringVar(&f.format, "format", "qdq", "static: qdq or qoperator; language models: gguf, which is their default, or folders with gptq, awq or compressed-tensors weights")
	fl.BoolVar(&f.contrib, "contrib", false, "static: of --format qoperator, use operators of com.microsoft too")
}

var integerTypes = map[string]dtype.Type{"int8": dtype.Int8, "uint8": dtype.Uint8, "int16": dtype.Int16, "uint16": dtype.Uint16}

// options gives what static and dynamic quantization want to know.
func (j *quantizeJob) options() (ptq.Options, error) {
	f := &j.f.static
	o := ptq.Options{Activations: integerTypes[f.activations], Symmetric: j.f.symmetric, Weights: integerTypes[f.weights], AsymmetricWeights: f.asymmetricWeights,
		PerTensor: f.perTensor, PerRow: f.perRow, ReduceRange: f.reduceRange, Contrib: f.contrib, Ops: j.f.ops, Exclude: j.f.exclude, Pool: j.pool}
	if o.Activations == dtype.Invalid {
		return o, misusef("--activations %q: expected uint8, int8, uint16 or int16", f.activations)
	}
	if o.Weights == dtype.Invalid {
		return o, misusef("--weights %q: expected int8 or uint8", f.weights)
	}
	if j.f.to == "int16" && o.Activations == dtype.Uint8 {
		o.Activations = dtype.Uint16
	}
	switch f.format {
	case "qdq":
	case "qoperator":
		o.Format = ptq.QOperator
	default:
		return o, misusef("--format %q: expected qdq or qoperator", f.format)
	}
	return o, nil
}

func quantizeStatic(ctx context.Context, j *quantizeJob) (*report.Report, error) {
	if j.f.data == "" {
		return nil, misusef("static quantization measures ranges on samples: give --data, or --method dynamic")
	}
	o, err := j.options()
	if err != nil {
		return nil, err
	}
	f := &j.f.static
	watch := calib.Options{Percentile: f.percentile, MovingAverage: f.movingAverage, Bins: f.bins, Histogram: j.f.report != ""}
	if _, err := calib.New(f.calibrator, watch); err != nil {
		return nil, misuse{err}
	}
	if f.calibrator == "distribution" { // known before samples are read
		return nil, misusef("--calibrator distribution makes scales of 8-bit floats, static quantization integers: expected minmax, percentile, entropy or mse")
	}
	g := j.model.Graph
	if err := ptq.Prepare(ctx, g, o); err != nil {
		return nil, err
	}
	set, err := j.samples()
	if err != nil {
		return nil, err
	}
	if err := j.f.guard.prepare(ctx, j, set, o); err != nil {
		return nil, err
	}
	bar := newProgress(j.e, set.Len(), "runs")
	c, err := ptq.Calibrate(ctx, g, set, func() (calib.Observer, error) { return calib.New(f.calibrator, watch) }, o, func(done, all int) {
		bar.all = all
		bar.at(done)
	})
	bar.done()
	if err != nil {
		return nil, err
	}
	c.Calibrator = f.calibrator
	q, rep, err := j.f.guard.apply(ctx, j, c, set, o)
	if err != nil {
		return nil, err
	}
	j.model.Graph = q
	return rep, nil
}

// quantizeDynamic needs no samples.
func quantizeDynamic(ctx context.Context, j *quantizeJob) (*report.Report, error) {
	o, err := j.options()
	if err != nil {
		return nil, err
	}
	return ptq.Dynamic(ctx, j.model.Graph, o)
}
