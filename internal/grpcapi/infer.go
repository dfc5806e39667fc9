package grpcapi

import (
	"context"

	"github.com/salver-ml/salver/internal/grpcapi/rpc"
	"github.com/salver-ml/salver/internal/oip"
	"github.com/salver-ml/salver/internal/serve"
)

// modelInfer answers ModelInfer.
func (s *Server) modelInfer(st *rpc.Stream) (*rpc.Buffer, error) {
	c := s.newCall()
	defer s.release(c)
	if err := c.recv(st); err != nil {
		return nil, errNoMessage(err)
	}
	out, err := s.infer(st.Context(), c, encode)
	if err != nil {
		return nil, s.statusError(inferMethod, err)
	}
	return out, nil
}

// infer answers a decoded request.
func (s *Server) infer(ctx context.Context, c *call, encode func(r *serve.Response, size int) *rpc.Buffer) (*rpc.Buffer, error) {
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
