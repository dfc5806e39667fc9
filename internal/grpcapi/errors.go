package grpcapi

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/salver-ml/salver/internal/serve"
)

var codeOf = [...]codes.Code{
	serve.Internal:          codes.Internal,
	serve.InvalidArgument:   codes.InvalidArgument,
	serve.NotFound:          codes.NotFound,
	serve.Unavailable:       codes.Unavailable,
	serve.ResourceExhausted: codes.ResourceExhausted,
	serve.DeadlineExceeded:  codes.DeadlineExceeded,
	serve.Canceled:          codes.Canceled,
}

// statusError makes gRPC's error of one of the core's, and logs those that are
// the server's fault. When to try again is in its details (RetryInfo) and, for
// gRPC's own retries, in the trailer grpc-retry-pushback-ms.
func (s *Server) statusError(ctx context.Context, method string, err error) error {
	e := serve.AsError(err)
	if e.Kind == serve.Internal {
		s.log.Error("a call failed", "method", method, "error", e.Message, "cause", e.Err)
	}
	st := status.New(codeOf[e.Kind], e.Message)
	if e.Kind == serve.ResourceExhausted || e.Kind == serve.Unavailable && e.RetryAfter > 0 {
		wait := max(e.RetryAfter, time.Millisecond)
		grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", strconv.FormatInt(wait.Milliseconds(), 10)))
		if d, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(wait)}); err == nil {
			st = d
		}
	}
	return st.Err()
}

// unsupported refuses a call of an extension that this server does not have.
func unsupported[T any](what string) (*T, error) {
	return nil, status.Error(codes.Unimplemented, what+" are not supported by this server")
}
