package serve

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/salver-ml/salver/internal/batch"
	"github.com/salver-ml/salver/internal/repo"
	"github.com/salver-ml/salver/internal/tensor"
)

// servable is one loaded version of a model.
type servable struct {
	*completion
	name        string
	version     int64
	versionText string
	backend     Backend
	config      *repo.Config // completed
	maxRows     int          // of one request; 0: any
	batcher     *batch.Batcher
	stats       *stats
	loaded      time.Time

	core  *Core
	gate  gate // requests inside
	close sync.Once
}

// newServable completes the configuration, warms the model up and makes it
// ready for requests. The backend is not closed on an error.
func newServable(ctx context.Context, name string, version int64, b Backend, cfg *repo.Config, c *Core) (*servable, error) {
	done, err := complete(name, cfg, b, c.opts.Batching)
	if err != nil {
		return nil, err
	}
	s := &servable{completion: done, name: name, version: version, versionText: versionText(version), backend: b, core: c, stats: newStats(), loaded: time.Now()}
	o := done.batching()
	o.OnExecution = s.stats.execution
	s.config = done.cfg
	if s.config.MaxBatchSizeSet {
		s.maxRows = s.config.MaxBatchSize
	}
	if s.batcher, err = batch.New(s.run, o); err != nil {
		return nil, Errorf(InvalidArgument, "model %q: dynamic_batching: %w", name, err)
	}
	if !s.canBatch && s.config.MaxBatchSize > 1 {
		c.log.Warn("requests are not put together", "model", name, "version", version, "reason", s.whyNot)
	}
	return s, s.warmUp(ctx)
}

// run calls the backend and turns a panic into an error.
func (s *servable) run(ctx context.Context, inputs []*tensor.Tensor) (outs []*tensor.Tensor, release func(), err error) {
	defer func() {
		if p := recover(); p != nil {
			s.core.log.Error("a model's execution panicked", "model", s.name, "version", s.version, "panic", p, "stack", string(debug.Stack()))
			outs, release, err = nil, nil, Errorf(Internal, "model %q version %s failed to run this request; the server's log says more", s.name, s.versionText)
		}
	}()
	outs, release, err = s.backend.Run(ctx, inputs)
	if err == nil && len(outs) != len(s.modelOut) {
		release()
		return nil, nil, fmt.Errorf("model %q version %s gave %d outputs, expected %d", s.name, s.versionText, len(outs), len(s.modelOut))
	}
	return outs, release, err
}

// Infer answers a request: see the package documentation.
func (c *Core) Infer(ctx context.Context, r *Request) (*Response, error) {
	start := time.Now()
	if !c.gate.enter() {
		return nil, c.refuse(errDraining())
	}
	s, err := c.lookup(r.Model, r.Version)
	if err != nil {
		c.gate.leave()
		return nil, c.refuse(err)
	}
	resp := &Response{Model: s.name, Version: s.versionText, ID: r.ID, servable: s}
	if err := s.infer(ctx, r, resp, start); err != nil {
		s.stats.failed(start, err.Kind)
		s.gate.leave()
		c.gate.leave()
		return nil, err
	}
	return resp, nil
}

// refuse counts a request that reached no model.
func (c *Core) refuse(err error) error {
	c.refused[AsError(err).Kind].Add(1)
	return err
}

// infer fills in resp. After an error nothing is held.
func (s *servable) infer(ctx context.Context, r *Request, resp *Response, start time.Time) *Error {
	level, e := s.level(r.Priority)
	if e != nil {
		return e
	}
	rows, e := s.arrange(r, resp)
	if e != nil {
		return e
	}
	call, err := s.batcher.Do(ctx, resp.inputs, level, r.Timeout)
	if err != nil {
		return s.explain(ctx, err)
	}
	resp.call = call
	if e := s.outputsFor(r, resp, call); e != nil {
		call.Release()
		return e
	}
	t := &call.Timing
	resp.Timing = Timing{Queue: t.Queue, Compute: t.Gather + t.Infer + t.Split, Batch: t.Rows}
	s.stats.succeeded(start, r.Protocol, t, rows)
	return nil
}

// level is the batcher's level for a request's priority. A model without
// priority levels treats all alike, as Triton does.
func (s *servable) level(priority uint64) (int, *Error) {
	n := s.batcher.Levels()
	if n == 1 {
		return 0, nil
	}
	if priority > uint64(n) {
		return 0, Errorf(InvalidArgument, "model %q: priority %d: expected 0 (the model's default) to %d", s.name, priority, n)
	}
	return int(priority), nil
}

// explain gives the batcher's errors their kinds.
func (s *servable) explain(ctx context.Context, err error) *Error {
	if full, ok := errors.AsType[*batch.FullError](err); ok {
		return &Error{Kind: ResourceExhausted, RetryAfter: full.RetryAfter, Err: err,
			Message: fmt.Sprintf("model %q: the queue is full with %d requests (max_queue_size); try again later", s.name, full.Waiting)}
	}
	switch {
	case errors.Is(err, batch.ErrQueueTimeout):
		return &Error{Kind: DeadlineExceeded, Err: err, Message: fmt.Sprintf("model %q: %v", s.name, err)}
	case errors.Is(err, batch.ErrClosed):
		return errDraining()
	}
	e := AsError(err)
	if e.Kind == Internal && ctx.Err() != nil {
		return AsError(ctx.Err()) // the error is the context's cause
	}
	if e.Kind == Internal {
		s.core.log.Error("a model's execution failed", "model", s.name, "version", s.version, "error", err)
	}
	return e
}

// outputsFor gives the response the outputs that were asked for.
func (s *servable) outputsFor(r *Request, resp *Response, call *batch.Call) *Error {
	n := len(resp.wanted)
	if resp.wanted == nil {
		n = len(s.outputs)
	}
	resp.Outputs = resp.outBuf[:0]
	for k := range n {
		i := k
		if resp.wanted != nil {
			i = resp.wanted[k]
		}
		t := call.Outputs[s.outIndex[i]]
		if re := s.outReshape[i]; re != nil {
			reshaped, ok := re.apply(t)
			if !ok {
				return Errorf(Internal, "model %q: output %q has shape %s, which can't be reshaped to %s", s.name, s.outputs[i].Name, shapeText(t.Shape), shapeText(re.to))
			}
			t = reshaped
		}
		resp.Outputs = append(resp.Outputs, NamedTensor{s.outputs[i].Name, t})
	}
	return nil
}
