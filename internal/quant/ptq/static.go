package ptq

import (
	"errors"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/quant/report"
)

// Apply gives a quantized copy of a prepared graph, which stays as it is, and
// what was done to each node with weights. It fails if nothing can be quantized.
func Apply(g *ir.Graph, c *Calibration, o Options) (*ir.Graph, *report.Report, error) {
	return nil, nil, errors.ErrUnsupported
}
