// Package servetest has a model in memory for tests of the server.
package servetest

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/tensor"
)

// Backend is a fake model. The zero value of Func copies input i to output i.
type Backend struct {
	In, Out  []serve.TensorInfo
	CanBatch bool
	Delay    time.Duration // time that a run takes, ended early by its context
	Func     func(ctx context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, error)

	Runs     atomic.Int64 // executions begun
	Rows     atomic.Int64 // rows of the first input over all executions
	Released atomic.Int64 // executions whose outputs were released
	Closed   atomic.Int64
}

// Identity is a model with one FP32 input "x" [-1,width] and the output "y"
// that equals it; it can batch.
func Identity(width int) *Backend {
	return &Backend{
		In:       []serve.TensorInfo{{Name: "x", DType: dtype.Float32, Shape: []int{-1, width}}},
		Out:      []serve.TensorInfo{{Name: "y", DType: dtype.Float32, Shape: []int{-1, width}}},
		CanBatch: true,
	}
}

func (b *Backend) Inputs() []serve.TensorInfo  { return b.In }
func (b *Backend) Outputs() []serve.TensorInfo { return b.Out }
func (b *Backend) MemoryBytes() int64          { return 1 << 20 }

// Batchable reports CanBatch.
func (b *Backend) Batchable() (bool, string) {
	if b.CanBatch {
		return true, ""
	}
	return false, "the fake model says that it can't"
}

// Run waits Delay and calls Func.
func (b *Backend) Run(ctx context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, func(), error) {
	b.Runs.Add(1)
	if len(in) > 0 && in[0] != nil && in[0].Rank() > 0 {
		b.Rows.Add(int64(in[0].Shape[0]))
	}
	if b.Delay > 0 {
		t := time.NewTimer(b.Delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
	out := in
	if b.Func != nil {
		var err error
		if out, err = b.Func(ctx, in); err != nil {
			return nil, nil, err
		}
	}
	return out[:len(b.Out)], func() { b.Released.Add(1) }, nil
}

// Close counts.
func (b *Backend) Close() error {
	b.Closed.Add(1)
	return nil
}
