package serve

import (
	"context"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/salver-ml/salver/internal/repo"
	"github.com/salver-ml/salver/internal/tensor"
)

// Defaults apply to models whose configuration is silent.
type Defaults struct {
	MaxBatchSize int // rows put together for a model that can batch; 0 means 64, 1 turns batching off
}

// servable is one loaded version of a model.
type servable struct {
	name        string
	version     int64
	versionText string
	backend     Backend
	config      *repo.Config
	labels      map[string][]string

	inputs, outputs []TensorInfo // as clients see them

	core  *Core
	gate  gate // requests inside
	close sync.Once

	inference atomic.Uint64
}

func newServable(name string, version int64, b Backend, cfg *repo.Config, c *Core) (*servable, error) {
	if cfg == nil {
		cfg = &repo.Config{Name: name}
	}
	return &servable{name: name, version: version, versionText: versionText(version), backend: b, config: cfg, core: c,
		inputs: b.Inputs(), outputs: b.Outputs()}, nil
}

// Infer answers a request: see the package documentation.
func (c *Core) Infer(ctx context.Context, r *Request) (*Response, error) {
	if !c.gate.enter() {
		return nil, errDraining()
	}
	s, err := c.lookup(r.Model, r.Version)
	if err != nil {
		c.gate.leave()
		return nil, err
	}
	resp, err := s.infer(ctx, r)
	if err != nil {
		s.gate.leave()
		c.gate.leave()
		return nil, AsError(err)
	}
	inner := resp.release
	resp.release = func() {
		inner()
		s.gate.leave()
		c.gate.leave()
	}
	return resp, nil
}

func (s *servable) infer(ctx context.Context, r *Request) (*Response, error) {
	inputs, wanted, err := s.arrange(r)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	start := time.Now()
	outs, release, err := s.run(ctx, inputs)
	if err != nil {
		return nil, err
	}
	resp := &Response{Model: s.name, Version: s.versionText, ID: r.ID, release: release, Timing: Timing{Compute: time.Since(start)}}
	for _, i := range wanted {
		resp.Outputs = append(resp.Outputs, NamedTensor{s.outputs[i].Name, outs[i]})
	}
	s.inference.Add(1)
	return resp, nil
}

// run calls the backend and turns a panic into an error.
func (s *servable) run(ctx context.Context, inputs []*tensor.Tensor) (outs []*tensor.Tensor, release func(), err error) {
	defer func() {
		if p := recover(); p != nil {
			s.core.log.Error("a model's execution panicked", "model", s.name, "version", s.version, "panic", p, "stack", string(debug.Stack()))
			err = Errorf(Internal, "model %q version %s failed to run this request; the server's log says more", s.name, s.versionText)
		}
	}()
	return s.backend.Run(ctx, inputs)
}

func (s *servable) statistics() ModelStatistics {
	return ModelStatistics{Name: s.name, Version: s.versionText, InferenceCount: s.inference.Load()}
}
