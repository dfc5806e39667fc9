package ptq

import (
	"context"
	"errors"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/quant/calib"
	"github.com/salver-ml/salver/internal/quant/report"
	"github.com/salver-ml/salver/internal/quant/samples"
)

// Prepare simplifies a graph in place by the passes whose results are standard
// ONNX, folds normalization into weights, and gives each node a name of its
// own. It fails where the graph is quantized already.
func Prepare(ctx context.Context, g *ir.Graph, o Options) error { return errors.ErrUnsupported }

// Watch makes the observer of a tensor.
type Watch func() (calib.Observer, error)

// Calibrate runs a prepared graph on all samples and observes every activation
// that Apply may want to quantize, whatever Options.Keep and Exclude say then.
// progress, if not nil, is told after each sample how many are done. Memory is
// bounded by that of a run with some of the activations kept, whatever the
// number of samples.
func Calibrate(ctx context.Context, g *ir.Graph, set samples.Set, watch Watch, o Options, progress func(done int)) (*Calibration, error) {
	return nil, errors.ErrUnsupported
}

// Apply gives a quantized copy of a prepared graph, which stays as it is, and
// what was done to each node with weights. It fails if nothing can be quantized.
func Apply(g *ir.Graph, c *Calibration, o Options) (*ir.Graph, *report.Report, error) {
	return nil, nil, errors.ErrUnsupported
}
