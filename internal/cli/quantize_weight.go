package cli

import (
	"context"

	"github.com/salver-ml/salver/internal/quant/guard"
	"github.com/salver-ml/salver/internal/quant/nbits"
	"github.com/salver-ml/salver/internal/quant/ptq"
	"github.com/salver-ml/salver/internal/quant/report"
	"github.com/salver-ml/salver/internal/quant/weight"
	"github.com/spf13/cobra"
)

// weightFlags are those of weight-only quantization, of graphs and of language models.
type weightFlags struct {
	kind                 string
	bits, group          int
	minMax               bool
	damp                 float64
	actOrder, sequential bool
	portable, embeddings bool
	accuracy             int
}

func (f *weightFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.kind, "kind", "int", "weight-only: int, nf4, fp8-e4m3 or fp8-e5m2")
	fl.IntVar(&f.bits, "bits", 4, "weight-only: of integers, 4 or 8; 2 without --portable")
	fl.IntVar(&f.group, "group", 32, "weight-only: inputs that share a scale, a power of two from 16; 0 is one scale for each output, with --portable")
	fl.BoolVar(&f.minMax, "min-max", false, "weight-only: scales cover all weights of a group, and not the range with the smallest error")
	fl.Float64Var(&f.damp, "damp", 0.01, "gptq: what is added to the Hessian's diagonal, in parts of its mean")
	fl.BoolVar(&f.actOrder, "act-order", false, "gptq: inputs with large values first")
	fl.BoolVar(&f.sequential, "sequential", false, "gptq, awq: layers see what the quantized layers before them give; one run over the data for each")
	fl.BoolVar(&f.portable, "portable", false, "weight-only: standard ONNX of opset 21, not MatMulNBits of com.microsoft")
	fl.BoolVar(&f.embeddings, "embeddings", false, "weight-only: tables of Gather too, as GatherBlockQuantized of com.microsoft")
	fl.IntVar(&f.accuracy, "accuracy-level", 4, "weight-only: of MatMulNBits; 4 rounds activations to 8 bits in blocks, which is faster, 0 does not")
}

var weightKinds = map[string]weight.Kind{"int": weight.Int, "nf4": weight.NF4, "fp8-e4m3": weight.E4M3, "fp8-e5m2": weight.E5M2}

// scheme is how the flags want weights to be stored.
func (f *quantizeFlags) scheme() (weight.Scheme, error) {
	kind, ok := weightKinds[f.weight.kind]
	if !ok {
		return weight.Scheme{}, misusef("--kind %q: expected int, nf4, fp8-e4m3 or fp8-e5m2", f.weight.kind)
	}
	s := weight.Scheme{Kind: kind, Group: f.weight.group, Symmetric: f.symmetric || kind != weight.Int}
	switch kind {
	case weight.Int:
		s.Bits = f.weight.bits
	case weight.E4M3, weight.E5M2:
		s.Group = 0
	}
	if err := s.Check(); err != nil {
		return s, misuse{err}
	}
	return s, nil
}

var weightMethods = map[string]nbits.Method{"weight-only": nbits.RTN, "gptq": nbits.GPTQ, "awq": nbits.AWQ, "hqq": nbits.HQQ}

// quantizeWeights stores weights in few bits and leaves activations alone.
func quantizeWeights(ctx context.Context, j *quantizeJob) (*report.Report, error) {
	f := &j.f.weight
	s, err := j.f.scheme()
	if err != nil {
		return nil, err
	}
	o := nbits.Options{Method: weightMethods[j.f.method], Scheme: s, MinMax: f.minMax, Portable: f.portable, AccuracyLevel: f.accuracy, Embeddings: f.embeddings,
		Damp: f.damp, ActOrder: f.actOrder, Sequential: f.sequential, Ops: j.f.ops, Exclude: j.f.exclude, Pool: j.pool}
	if (o.Method == nbits.GPTQ || o.Method == nbits.AWQ) && j.f.data == "" {
		return nil, misusef("%v looks at what layers read: give --data, or --method weight-only or hqq", o.Method)
	}
	if err := o.Check(); err != nil {
		return nil, misuse{err}
	}
	if err := ptq.Prepare(ctx, j.model.Graph, ptq.Options{Pool: j.pool}); err != nil {
		return nil, err
	}
	if j.f.data != "" {
		if o.Samples, err = j.samples(); err != nil {
			return nil, err
		}
	}
	bar := newProgress(j.e, 1, "steps")
	o.Progress = func(done, all int) {
		bar.all = all
		bar.at(done)
	}
	b, err := j.f.language.budget()
	if err == nil && b != (guard.Budget{}) {
		err = nbits.Spread(ctx, j.model.Graph, &o, b)
	}
	if err != nil {
		return nil, err
	}
	rep, err := nbits.Quantize(ctx, j.model.Graph, o)
	bar.done()
	return rep, err
}
