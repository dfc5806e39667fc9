package cli

import (
	"context"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/quant/ptq"
	"github.com/salver-ml/salver/internal/quant/report"
)

// halfTypes are the types of 16 bits by what --to calls them.
var halfTypes = map[string]dtype.Type{"fp16": dtype.Float16, "bf16": dtype.BFloat16}

// quantizeHalf stores floating point in 16 bits.
func quantizeHalf(ctx context.Context, j *quantizeJob) (*report.Report, error) {
	to := halfTypes[j.f.to]
	if j.f.io != "" && j.f.io != j.f.to {
		return nil, misusef("--io %q: expected %s, or nothing to keep inputs and outputs of float32", j.f.io, j.f.to)
	}
	return ptq.Half(ctx, j.model.Graph, to, j.f.io != "", ptq.Options{Pool: j.pool})
}
