package grpcapi

import (
	"context"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/salver-ml/salver/internal/grpcapi/rpc"
	"github.com/salver-ml/salver/internal/oip"
	"github.com/salver-ml/salver/internal/serve"
)

// The methods here answer a request with the message that api/oip/inference.proto calls like them.

func (s *Server) serverLive(context.Context, []byte) (message, error) {
	return message{}.bool(1, s.core.Live()), nil
}

func (s *Server) serverReady(context.Context, []byte) (message, error) {
	return message{}.bool(1, s.core.Ready()), nil
}

func (s *Server) serverMetadata(context.Context, []byte) (message, error) {
	return message{}.text(1, s.opts.Name).text(2, s.opts.Version).texts(3, oip.Extensions), nil
}

// ofModel is a method whose request is the name and the version of a model.
func (s *Server) ofModel(method string, f func(name, version string) (message, error)) rpc.Handler {
	return unary(func(_ context.Context, request []byte) (message, error) {
		var name, version string
		if err := texts(request, &name, &version); err != nil {
			return nil, err
		}
		m, err := f(name, version)
		if err != nil {
			return nil, s.statusError(method, err)
		}
		return m, nil
	})
}

// modelReady: an unknown model isn't ready; existing clients ask so whether there is one.
func (s *Server) modelReady(name, version string) (message, error) {
	ready, err := s.core.ModelReady(name, version)
	if err != nil && serve.AsError(err).Kind != serve.NotFound {
		return nil, err
	}
	return message{}.bool(1, ready), nil
}

func (s *Server) modelMetadata(name, version string) (message, error) {
	d, err := s.core.Metadata(name, version)
	if err != nil {
		return nil, err
	}
	m := message{}.text(1, d.Name).texts(2, d.Versions).text(3, d.Platform)
	for _, t := range d.Inputs {
		m = m.inner(4, tensorMetadata(&t))
	}
	for _, t := range d.Outputs {
		m = m.inner(5, tensorMetadata(&t))
	}
	return m, nil
}

func tensorMetadata(t *serve.TensorInfo) message {
	return numbers(message{}.text(1, t.Name).text(2, t.DType.OIP()), 3, t.Shape)
}

func (s *Server) modelConfig(name, version string) (message, error) {
	c, err := s.core.Config(name, version)
	if err != nil {
		return nil, err
	}
	return message{}.inner(1, configMessage(c)), nil
}

func (s *Server) modelStatistics(name, version string) (m message, err error) {
	stats, err := s.core.Statistics(name, version)
	for i := range stats {
		m = m.inner(1, statisticsMessage(&stats[i]))
	}
	return m, err
}

func statisticsMessage(s *serve.ModelStatistics) message {
	i := &s.Inference
	m := message{}.text(1, s.Name).text(2, s.Version)
	m = m.number(3, int64(s.LastInference)).number(4, int64(s.InferenceCount)).number(5, int64(s.ExecutionCount))
	m = m.inner(6, durations(1, i.Success, i.Fail, i.Queue, i.ComputeInput, i.ComputeInfer, i.ComputeOutput, i.CacheHit, i.CacheMiss))
	for _, b := range s.Batch {
		d := durations(2, b.ComputeInput, b.ComputeInfer, b.ComputeOutput)
		m = m.inner(7, append(message{}.number(1, int64(b.BatchSize)), d...))
	}
	for _, u := range s.MemoryUsage {
		m = m.inner(8, message{}.text(1, u.Type).number(2, u.ID).number(3, int64(u.ByteSize)))
	}
	return m
}

// durations are fields of type StatisticDuration with the numbers from n on.
func durations(n protowire.Number, list ...serve.DurationStat) (m message) {
	for i, d := range list {
		m = m.inner(n+protowire.Number(i), message{}.number(1, int64(d.Count)).number(2, int64(d.NS)))
	}
	return m
}

func (s *Server) repositoryIndex(_ context.Context, request []byte) (m message, err error) {
	ready := false
	err = eachField(request, func(f field) error {
		if f.is(2, protowire.VarintType) {
			ready = protowire.DecodeBool(f.num)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, e := range s.core.Index(ready) {
		m = m.inner(1, message{}.text(1, e.Name).text(2, e.Version).text(3, e.State).text(4, e.Reason))
	}
	return m, nil
}

// repositoryModelLoad loads or reloads a model from the repository.
func (s *Server) repositoryModelLoad(ctx context.Context, request []byte) (message, error) {
	var config []byte // nil: the model's own
	model, err := ofRepository(request, func(p parameter) error {
		if p.name != "config" || p.value.Kind != oip.ParamText {
			return rpc.Errorf(rpc.InvalidArgument, "%s", oip.ErrLoadParameter(p.name))
		}
		config = []byte(p.value.Text)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := s.core.LoadConfig(ctx, model, config); err != nil {
		return nil, s.statusError("RepositoryModelLoad", err)
	}
	return nil, nil
}

// repositoryModelUnload stops serving a model.
func (s *Server) repositoryModelUnload(ctx context.Context, request []byte) (message, error) {
	model, err := ofRepository(request, func(p parameter) error {
		if p.name != "unload_dependents" { // no model has dependents
			return rpc.Errorf(rpc.InvalidArgument, "parameter %q: expected unload_dependents or nothing", p.name)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := s.core.Unload(ctx, model); err != nil {
		return nil, s.statusError("RepositoryModelUnload", err)
	}
	return nil, nil
}

// ofRepository reads a request to load or unload a model, with its parameters.
func ofRepository(request []byte, take func(parameter) error) (model string, err error) {
	var c call // its strings are copies
	err = eachField(request, func(f field) error {
		switch {
		case f.is(2, protowire.BytesType):
			model, err = f.text()
			return err
		case f.is(3, protowire.BytesType):
			p, err := c.parameter(f.bytes) // ModelRepositoryParameter has the fields of InferParameter that matter here
			if err != nil {
				return rpc.Errorf(rpc.Internal, "%s", err)
			}
			return take(p)
		}
		return nil
	})
	return model, err
}
