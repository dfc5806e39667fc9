package batch

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/tensor"
)

// spin is a model whose executions take processor time, some for themselves and some per row.
type spin struct {
	self, row  int // additions
	rows, runs atomic.Int64
}

func (s *spin) run(ctx context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, func(), error) {
	n := in[0].Shape[0]
	s.rows.Add(int64(n))
	s.runs.Add(1)
	var x float32
	for i := range s.self + n*s.row {
		x += float32(i)
	}
	_ = x
	return in, func() {}, nil
}

// BenchmarkOverhead measures what the batcher costs per request of 64
// concurrent callers: with a model that takes no time, and with ones that
// occupy the processors, where the rows per execution tell whether batches form.
func BenchmarkOverhead(b *testing.B) {
	for _, m := range []struct {
		name       string
		s          *spin
		instances  int
		cancelable bool
	}{
		{"instant", &spin{}, 1, false},
		{"busy", &spin{self: 30000, row: 8000}, 1, false},
		{"busy-cancelable", &spin{self: 30000, row: 8000}, 1, true},
		{"busy-2-instances", &spin{self: 30000, row: 8000}, 2, false},
	} {
		b.Run(m.name, func(b *testing.B) {
			bt, err := New(m.s.run, Options{MaxRows: 64, Instances: m.instances})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			m.s.rows.Store(0)
			m.s.runs.Store(0)
			hammer(b, bt, m.cancelable)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
			b.ReportMetric(float64(m.s.rows.Load())/float64(m.s.runs.Load()), "rows/run")
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
