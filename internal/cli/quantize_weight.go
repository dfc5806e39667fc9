package cli

import (
	"context"
	"errors"

	"github.com/salver-ml/salver/internal/quant/report"
	"github.com/spf13/cobra"
)

// weightFlags are those of weight-only quantization.
type weightFlags struct{}

func (f *weightFlags) add(c *cobra.Command) {}

// quantizeWeights stores weights in few bits and leaves activations alone.
func quantizeWeights(ctx context.Context, j *quantizeJob) (*report.Report, error) {
	return nil, errors.ErrUnsupported
}
