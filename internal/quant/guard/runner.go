package guard

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/quant/samples"
	"github.com/salver-ml/salver/internal/tensor"
)

// Runner measures graphs against a reference on samples, with the arithmetic that
// they are served in.
type Runner struct {
	set       samples.Set
	pool      *pool.Pool
	outputs   []ir.Output
	reference *exec.Session
	known     [][]*tensor.Tensor // the reference's answers, as far as they are kept
	kept      int                // bytes of them
}

// mostKept bounds the bytes of answers that are kept to be compared with again.
const mostKept = 256 << 20

// NewRunner makes a runner whose reference is a graph, which stays as it is.
func NewRunner(reference *ir.Graph, set samples.Set, p *pool.Pool) (*Runner, error) {
	s, err := prepare(reference, p)
	if err != nil {
		return nil, err
	}
	return &Runner{set: set, pool: p, outputs: reference.Outputs, reference: s, known: make([][]*tensor.Tensor, set.Len())}, nil
}

// prepare makes a session of an optimized copy of g.
func prepare(g *ir.Graph, p *pool.Pool) (*exec.Session, error) {
	g = g.Clone()
	if _, err := pass.Run(g, passes.All, pass.Options{Level: pass.MaxLevel, Pool: p}); err != nil {
		return nil, err
	}
	return exec.New(g, exec.Options{Pool: p}), nil
}

// Close frees the reference.
func (r *Runner) Close() { r.reference.Close() }

// Measure compares a graph's answers to the first so many samples, at most all.
func (r *Runner) Measure(ctx context.Context, g *ir.Graph, most int) (*Outputs, error) {
	s, err := prepare(g, r.pool)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	sum := NewOutputs(r.outputs)
	for i := range min(most, r.set.Len()) {
		in, err := r.set.At(ctx, i)
		if err != nil {
			return nil, err
		}
		want, err := r.answer(ctx, i, in)
		if err != nil {
			return nil, err
		}
		got, err := s.Run(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("the quantized model, sample %d: %w", i, err)
		}
		class, labelled := r.set.Label(i)
		if err := sum.Add(got, want, class, labelled); err != nil {
			return nil, err
		}
	}
	return sum, nil
}

// answer is what the reference says of sample i.
func (r *Runner) answer(ctx context.Context, i int, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
	if r.known[i] != nil {
		return r.known[i], nil
	}
	out, err := r.reference.Run(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("the original model, sample %d: %w", i, err)
	}
	bytes := 0
	for _, t := range out {
		bytes += len(t.Data)
	}
	if r.kept+bytes <= mostKept {
		r.known[i] = out
		r.kept += bytes
	}
	return out, nil
}

// Time gives the best of some runs of graphs on the first sample, in turns, which take
// about two seconds in all.
func (r *Runner) Time(ctx context.Context, graphs ...*ir.Graph) ([]time.Duration, error) {
	in, err := r.set.At(ctx, 0)
	if err != nil {
		return nil, err
	}
	sessions, best := make([]*exec.Session, len(graphs)), make([]time.Duration, len(graphs))
	for i, g := range graphs {
		best[i] = math.MaxInt64
		if sessions[i], err = prepare(g, r.pool); err != nil {
			return nil, err
		}
		defer sessions[i].Close()
	}
	for i, start := 0, time.Now(); i < 2 || i < 30 && time.Since(start) < 2*time.Second; i++ {
		for j, s := range sessions {
			begin := time.Now()
			if _, err := s.Run(ctx, in); err != nil {
				return nil, err
			}
			best[j] = min(best[j], time.Since(begin))
		}
	}
	return best, nil
}

// fromDecibels gives noise as a share of the signal.
func fromDecibels(db float64) float64 { return math.Pow(10, -db/10) }
