package grpcapi

import (
	"context"

	"google.golang.org/grpc"

	pb "github.com/salver-ml/salver/api/oip"
	"github.com/salver-ml/salver/internal/oip"
	"github.com/salver-ml/salver/internal/serve"
)

// modelInfer answers ModelInfer.
func (s *Server) modelInfer(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	defer leave(ctx)
	c := s.newCall()
	defer s.release(c)
	if err := dec(c); err != nil {
		return nil, err
	}
	out, err := s.infer(ctx, c, encode)
	if err != nil {
		return nil, s.statusError(ctx, pb.GRPCInferenceService_ModelInfer_FullMethodName, err)
	}
	return out, nil
}

// infer answers a decoded request.
func (s *Server) infer(ctx context.Context, c *call, encode func(r *serve.Response, size int) *encoded) (*encoded, error) {
	if c.err != nil {
		return nil, c.err
	}
	c.req.Protocol = "grpc"
	resp, err := s.core.Infer(ctx, &c.req)
	if err != nil {
		return nil, err
	}
	defer resp.Release()
	for i, k := range c.classes {
		if k > 0 {
			if err := oip.ClassifyOutput(s.core, resp, i, k); err != nil {
				return nil, err
			}
		}
	}
	size, err := responseSize(resp)
	if err != nil {
		return nil, err
	}
	if err := c.room.Add(size); err != nil {
		return nil, err
	}
	return encode(resp, size), nil
}
