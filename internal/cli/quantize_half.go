package cli

import (
	"context"
	"errors"

	"github.com/salver-ml/salver/internal/quant/report"
)

// quantizeHalf stores floating point in 16 bits.
func quantizeHalf(ctx context.Context, j *quantizeJob) (*report.Report, error) {
	return nil, errors.ErrUnsupported
}
