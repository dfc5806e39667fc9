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
	"github.com/salver-ml/salver/internal/limit"
	"github.com/salver-ml/salver/internal/oip"
	"github.com/salver-ml/salver/internal/serve"
)

// admit refuses calls without the key they need, and inferences beyond the
// server's bound, before anything of them is read.
func (s *Server) admit(ctx context.Context, info *tap.Info) (context.Context, error) {
	if err := s.authorize(info); err != nil {
		return nil, err
	}
	f := s.opts.InFlight
	if f == nil || info.FullMethodName != pb.GRPCInferenceService_ModelInfer_FullMethodName {
		return ctx, nil // those on a stream are counted one by one
	}
	if !f.Enter() {
		return nil, status.Error(codes.ResourceExhausted, errBusy(f).Error())
	}
	// ctx ends with the call, also with one that ends before its handler begins. A
	// handler gives the place back itself, which takes no goroutine.
	p := &place{in: f, stop: context.AfterFunc(ctx, f.Leave)}
	return context.WithValue(ctx, placeKey{}, p), nil
}

// place is one among the calls in flight.
type place struct {
	in   *limit.InFlight
	stop func() bool
}

type placeKey struct{}

// leave gives back the place of a call, if it has one.
func leave(ctx context.Context) {
	if p, ok := ctx.Value(placeKey{}).(*place); ok && p.stop() {
		p.in.Leave()
	}
}

func errBusy(f *limit.InFlight) error {
	return serve.Errorf(serve.ResourceExhausted, "the server is answering its maximum of %d requests; try again later", f.Max)
}

func (s *Server) authorize(info *tap.Info) error {
	if s.opts.Authorize == nil {
		return nil
	}
	switch err := s.opts.Authorize.Check(apiKey(info.Header), access(info.FullMethodName)); {
	case err == nil:
		return nil
	case errors.Is(err, oip.ErrForbidden):
		return status.Error(codes.PermissionDenied, err.Error())
	default:
		return status.Error(codes.Unauthenticated, err.Error())
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
