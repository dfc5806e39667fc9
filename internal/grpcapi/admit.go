package grpcapi

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	pb "github.com/salver-ml/salver/api/oip"
	"github.com/salver-ml/salver/internal/oip"
)

// admit refuses calls without the key they need, before anything of them is read.
func (s *Server) admit(ctx context.Context, info *tap.Info) (context.Context, error) {
	if s.opts.Authorize == nil {
		return ctx, nil
	}
	switch err := s.opts.Authorize.Check(apiKey(info.Header), access(info.FullMethodName)); {
	case err == nil:
		return ctx, nil
	case errors.Is(err, oip.ErrForbidden):
		return nil, status.Error(codes.PermissionDenied, err.Error())
	default:
		return nil, status.Error(codes.Unauthenticated, err.Error())
	}
}

// access is what a method needs; unknown ones need a key like most.
func access(method string) oip.Access {
	switch method {
	case pb.GRPCInferenceService_ServerLive_FullMethodName, pb.GRPCInferenceService_ServerReady_FullMethodName,
		"/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch":
		return oip.Public
	case pb.GRPCInferenceService_RepositoryModelLoad_FullMethodName, pb.GRPCInferenceService_RepositoryModelUnload_FullMethodName:
		return oip.Admin
	}
	return oip.Use
}

func apiKey(md metadata.MD) string {
	if k := md.Get("x-api-key"); len(k) > 0 {
		return k[0]
	}
	for _, a := range md.Get("authorization") {
		if scheme, k, ok := strings.Cut(a, " "); ok && strings.EqualFold(scheme, "Bearer") {
			return strings.TrimSpace(k)
		}
	}
	return ""
}
