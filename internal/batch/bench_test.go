package batch

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/tensor"
)

func echo(ctx context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, func(), error) {
	return in, func() {}, nil
}

// spin is a model that takes some microseconds per execution, so that batches form.
func spin(ctx context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, func(), error) {
	var x float32
	for i := range 20000 {
		x += float32(i)
	}
	_ = x
	return in, func() {}, nil
}

// BenchmarkOverhead measures what the batcher costs per request of 64 concurrent callers.
func BenchmarkOverhead(b *testing.B) {
	for _, m := range []struct {
		name string
		run  RunFunc
		ctx  bool
	}{{"instant", echo, false}, {"busy", spin, false}, {"busy-cancelable", spin, true}} {
		b.Run(m.name, func(b *testing.B) {
			bt, err := New(m.run, Options{MaxRows: 64})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			hammer(b, bt, m.ctx)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
		})
	}
}

func hammer(b *testing.B, bt *Batcher, cancelable bool) {
	const callers = 64
	var n atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			ctx := context.Background()
			if cancelable {
				c, cancel := context.WithCancel(ctx)
				defer cancel()
				ctx = c
			}
			in := []*tensor.Tensor{tensor.New(dtype.Float32, 1, 64)}
			for n.Add(1) <= int64(b.N) {
				c, err := bt.Do(ctx, in, 0, 0)
				if err != nil {
					b.Error(err)
					return
				}
				c.Release()
			}
		})
	}
	wg.Wait()
}
