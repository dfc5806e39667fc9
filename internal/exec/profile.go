package exec

import (
	"context"
	"time"

	"github.com/salver-ml/salver/internal/tensor"
)

// Profile runs the plan for the inputs n times and gives it with the mean time
// of each step.
func (s *Session) Profile(ctx context.Context, inputs []*tensor.Tensor, n int) (*Plan, []time.Duration, error) {
	p, err := s.PlanFor(inputs)
	if err != nil {
		return nil, nil, err
	}
	f, err := p.acquire()
	if err != nil {
		return nil, nil, err
	}
	defer p.release(f)
	s.pool.Begin()
	defer s.pool.End()
	warm := make([]*tensor.Tensor, len(s.graph.Outputs))
	if err := f.run(ctx, inputs, warm, nil); err != nil {
		return nil, nil, err
	}
	times := make([]time.Duration, len(p.steps))
	for range n {
		outputs := make([]*tensor.Tensor, len(s.graph.Outputs))
		if err := f.run(ctx, inputs, outputs, times); err != nil {
			return nil, nil, err
		}
	}
	for i := range times {
		times[i] /= time.Duration(max(n, 1))
	}
	return p, times, nil
}
