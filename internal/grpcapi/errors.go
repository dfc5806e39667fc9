package grpcapi

import (
	"time"

	"github.com/salver-ml/salver/internal/grpcapi/rpc"
	"github.com/salver-ml/salver/internal/serve"
)

var codeOf = [...]rpc.Code{
	serve.Internal:          rpc.Internal,
	serve.InvalidArgument:   rpc.InvalidArgument,
	serve.NotFound:          rpc.NotFound,
	serve.Unavailable:       rpc.Unavailable,
	serve.ResourceExhausted: rpc.ResourceExhausted,
	serve.DeadlineExceeded:  rpc.DeadlineExceeded,
	serve.Canceled:          rpc.Canceled,
}

// statusError makes gRPC's error of one of the core's, and logs those that are the server's fault.
func (s *Server) statusError(method string, err error) error {
	e := serve.AsError(err)
	if e.Kind == serve.Internal {
		s.log.Error("a call failed", "method", method, "error", e.Message, "cause", e.Err)
	}
	status := &rpc.Error{Code: codeOf[e.Kind], Message: e.Message}
	if e.Kind == serve.ResourceExhausted || e.Kind == serve.Unavailable && e.RetryAfter > 0 {
		status.RetryAfter = max(e.RetryAfter, time.Millisecond)
	}
	return status
}
