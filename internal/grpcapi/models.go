package grpcapi

import (
	"context"
	"encoding/json"

	"google.golang.org/protobuf/encoding/protojson"

	pb "github.com/salver-ml/salver/api/oip"
	"github.com/salver-ml/salver/internal/grpcapi/rpc"
	"github.com/salver-ml/salver/internal/oip"
	"github.com/salver-ml/salver/internal/serve"
)

// ServerLive answers while the process serves.
func (s *Server) ServerLive(context.Context, *pb.ServerLiveRequest) (*pb.ServerLiveResponse, error) {
	return &pb.ServerLiveResponse{Live: s.core.Live()}, nil
}

// ServerReady reports the core's readiness.
func (s *Server) ServerReady(context.Context, *pb.ServerReadyRequest) (*pb.ServerReadyResponse, error) {
	return &pb.ServerReadyResponse{Ready: s.core.Ready()}, nil
}

// ModelReady reports a model's readiness. An unknown model isn't ready: existing clients ask so whether there is one.
func (s *Server) ModelReady(_ context.Context, r *pb.ModelReadyRequest) (*pb.ModelReadyResponse, error) {
	ready, err := s.core.ModelReady(r.Name, r.Version)
	if err != nil && serve.AsError(err).Kind != serve.NotFound {
		return nil, s.statusError("ModelReady", err)
	}
	return &pb.ModelReadyResponse{Ready: ready}, nil
}

// ServerMetadata describes the server.
func (s *Server) ServerMetadata(context.Context, *pb.ServerMetadataRequest) (*pb.ServerMetadataResponse, error) {
	return &pb.ServerMetadataResponse{Name: s.opts.Name, Version: s.opts.Version, Extensions: oip.Extensions}, nil
}

// ModelMetadata describes a model's inputs and outputs.
func (s *Server) ModelMetadata(_ context.Context, r *pb.ModelMetadataRequest) (*pb.ModelMetadataResponse, error) {
	m, err := s.core.Metadata(r.Name, r.Version)
	if err != nil {
		return nil, s.statusError("ModelMetadata", err)
	}
	return &pb.ModelMetadataResponse{
		Name: m.Name, Versions: m.Versions, Platform: m.Platform,
		Inputs: tensorsMetadata(m.Inputs), Outputs: tensorsMetadata(m.Outputs),
	}, nil
}

func tensorsMetadata(infos []serve.TensorInfo) (list []*pb.ModelMetadataResponse_TensorMetadata) {
	for _, t := range infos {
		m := &pb.ModelMetadataResponse_TensorMetadata{Name: t.Name, Datatype: t.DType.OIP()}
		for _, d := range t.Shape {
			m.Shape = append(m.Shape, int64(d))
		}
		list = append(list, m)
	}
	return list
}

// ModelConfig gives a model's completed configuration.
func (s *Server) ModelConfig(_ context.Context, r *pb.ModelConfigRequest) (*pb.ModelConfigResponse, error) {
	c, err := s.core.Config(r.Name, r.Version)
	if err != nil {
		return nil, s.statusError("ModelConfig", err)
	}
	// The configuration's JSON is that of the message.
	text, err := json.Marshal(c)
	if err != nil {
		return nil, s.statusError("ModelConfig", err)
	}
	m := &pb.ModelConfig{}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(text, m); err != nil {
		return nil, s.statusError("ModelConfig", err)
	}
	return &pb.ModelConfigResponse{Config: m}, nil
}

// ModelStatistics gives the statistics of a version, of a model, or of all.
func (s *Server) ModelStatistics(_ context.Context, r *pb.ModelStatisticsRequest) (*pb.ModelStatisticsResponse, error) {
	stats, err := s.core.Statistics(r.Name, r.Version)
	if err != nil {
		return nil, s.statusError("ModelStatistics", err)
	}
	out := &pb.ModelStatisticsResponse{}
	for i := range stats {
		out.ModelStats = append(out.ModelStats, modelStatistics(&stats[i]))
	}
	return out, nil
}

func modelStatistics(m *serve.ModelStatistics) *pb.ModelStatistics {
	d := func(s serve.DurationStat) *pb.StatisticDuration {
		return &pb.StatisticDuration{Count: s.Count, Ns: s.NS}
	}
	i := &m.Inference
	out := &pb.ModelStatistics{
		Name: m.Name, Version: m.Version, LastInference: m.LastInference, InferenceCount: m.InferenceCount, ExecutionCount: m.ExecutionCount,
		InferenceStats: &pb.InferStatistics{
			Success: d(i.Success), Fail: d(i.Fail), Queue: d(i.Queue), ComputeInput: d(i.ComputeInput),
			ComputeInfer: d(i.ComputeInfer), ComputeOutput: d(i.ComputeOutput), CacheHit: d(i.CacheHit), CacheMiss: d(i.CacheMiss),
		},
	}
	for _, b := range m.Batch {
		out.BatchStats = append(out.BatchStats, &pb.InferBatchStatistics{
			BatchSize: b.BatchSize, ComputeInput: d(b.ComputeInput), ComputeInfer: d(b.ComputeInfer), ComputeOutput: d(b.ComputeOutput),
		})
	}
	for _, u := range m.MemoryUsage {
		out.MemoryUsage = append(out.MemoryUsage, &pb.MemoryUsage{Type: u.Type, Id: u.ID, ByteSize: u.ByteSize})
	}
	return out
}

// RepositoryIndex lists the models.
func (s *Server) RepositoryIndex(_ context.Context, r *pb.RepositoryIndexRequest) (*pb.RepositoryIndexResponse, error) {
	out := &pb.RepositoryIndexResponse{}
	for _, e := range s.core.Index(r.Ready) {
		out.Models = append(out.Models, &pb.RepositoryIndexResponse_ModelIndex{Name: e.Name, Version: e.Version, State: e.State, Reason: e.Reason})
	}
	return out, nil
}

// RepositoryModelLoad loads or reloads a model from the repository.
func (s *Server) RepositoryModelLoad(ctx context.Context, r *pb.RepositoryModelLoadRequest) (*pb.RepositoryModelLoadResponse, error) {
	var config []byte // nil: the model's own
	for name, value := range r.Parameters {
		text, ok := value.ParameterChoice.(*pb.ModelRepositoryParameter_StringParam)
		if name != "config" || !ok {
			return nil, rpc.Errorf(rpc.InvalidArgument, "%s", oip.ErrLoadParameter(name))
		}
		config = []byte(text.StringParam)
	}
	if err := s.core.LoadConfig(ctx, r.ModelName, config); err != nil {
		return nil, s.statusError("RepositoryModelLoad", err)
	}
	return &pb.RepositoryModelLoadResponse{}, nil
}

// RepositoryModelUnload stops serving a model.
func (s *Server) RepositoryModelUnload(ctx context.Context, r *pb.RepositoryModelUnloadRequest) (*pb.RepositoryModelUnloadResponse, error) {
	for name := range r.Parameters {
		if name != "unload_dependents" { // no model has dependents
			return nil, rpc.Errorf(rpc.InvalidArgument, "parameter %q: expected unload_dependents or nothing", name)
		}
	}
	if err := s.core.Unload(ctx, r.ModelName); err != nil {
		return nil, s.statusError("RepositoryModelUnload", err)
	}
	return &pb.RepositoryModelUnloadResponse{}, nil
}
