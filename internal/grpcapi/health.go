package grpcapi

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	pb "github.com/salver-ml/salver/api/oip"
)

// health is grpc.health.v1 over the core's readiness.
type health struct {
	healthpb.UnimplementedHealthServer
	server *Server
}

func (h *health) status() healthpb.HealthCheckResponse_ServingStatus {
	select {
	case <-h.server.draining:
		return healthpb.HealthCheckResponse_NOT_SERVING
	default:
	}
	if h.server.core.Ready() {
		return healthpb.HealthCheckResponse_SERVING
	}
	return healthpb.HealthCheckResponse_NOT_SERVING
}

func known(service string) bool {
	return service == "" || service == pb.GRPCInferenceService_ServiceDesc.ServiceName
}

func (h *health) Check(_ context.Context, r *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	if !known(r.Service) {
		return nil, status.Errorf(codes.NotFound, "expected the service %s or none, found %q", pb.GRPCInferenceService_ServiceDesc.ServiceName, r.Service)
	}
	return &healthpb.HealthCheckResponse{Status: h.status()}, nil
}

// Watch sends the status now and at each change, which it looks for twice a second.
func (h *health) Watch(r *healthpb.HealthCheckRequest, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	last := healthpb.HealthCheckResponse_ServingStatus(-1)
	for draining := false; ; {
		now := healthpb.HealthCheckResponse_SERVICE_UNKNOWN
		if known(r.Service) {
			now = h.status()
		}
		if now != last {
			if err := stream.Send(&healthpb.HealthCheckResponse{Status: now}); err != nil {
				return err
			}
			last = now
		}
		if draining {
			return status.Error(codes.Unavailable, "the server is shutting down")
		}
		select {
		case <-tick.C:
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-h.server.draining:
			draining = true
		}
	}
}
