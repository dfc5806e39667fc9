// Package grpcapi is the gRPC transport: inference.GRPCInferenceService over a
// serve.Core, grpc.health.v1 and reflection.
//
// Inference messages do not go through the generated code: decode.go reads a
// request from the bytes that came, and its tensors alias them; encode.go
// writes an answer in one pass. The messages are those of api/oip, and a test
// compares both ways.
package grpcapi

import (
	"context"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // clients may compress
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	pb "github.com/salver-ml/salver/api/oip"
	"github.com/salver-ml/salver/internal/limit"
	"github.com/salver-ml/salver/internal/oip"
	"github.com/salver-ml/salver/internal/serve"
)

// Options configure a Server; the zero value is a server without keys.
type Options struct {
	Name    string // the server's, in its metadata; "" is "salver"
	Version string

	MaxMessage int // bound of a request in bytes, as sent and decompressed; 0 is 64 MiB
	Authorize  oip.Authorizer
	InFlight   *limit.InFlight // bounds the inferences that are answered at once; nil: no bound
	Log        *slog.Logger    // nil discards
}

// Server answers gRPC calls. It is used once: Serve, then Drain.
type Server struct {
	pb.UnimplementedGRPCInferenceServiceServer
	core *serve.Core
	opts Options
	log  *slog.Logger
	grpc *grpc.Server

	calls    sync.Pool // of *call
	draining chan struct{}
	drain    sync.Once
}

// streamWorkers are goroutines whose stacks have grown already: enough for the
// calls that wait for a batch together. Growing one's stack costs more than
// all else that a small call does here.
const streamWorkers = 128

// What a client may send before it is read, in bytes. gRPC's own estimate ends at the larger one too.
const (
	streamWindow = 4 << 20
	connWindow   = 16 << 20
)

// New makes a server.
func New(core *serve.Core, o Options) *Server {
	if o.Name == "" {
		o.Name = "salver"
	}
	if o.MaxMessage == 0 {
		o.MaxMessage = 64 << 20
	}
	s := &Server{core: core, opts: o, log: o.Log, draining: make(chan struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.calls.New = func() any { return new(call) }
	s.grpc = grpc.NewServer(
		grpc.ForceServerCodecV2(codec{}),
		grpc.InTapHandle(s.admit),
		grpc.MaxRecvMsgSize(o.MaxMessage),
		grpc.MaxSendMsgSize(maxAnswer), // responseSize refuses more before it is encoded
		grpc.MaxHeaderListSize(32<<10),
		grpc.MaxConcurrentStreams(1024), // per connection; more wait at the client
		grpc.ConnectionTimeout(10*time.Second),
		grpc.NumStreamWorkers(streamWorkers),
		// Fixed windows: to find them out costs a ping for each message.
		grpc.InitialWindowSize(streamWindow), grpc.InitialConnWindowSize(connWindow),
		// A client that has vanished is noticed within 80 s. Clients may ping
		// as often as existing ones do.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)
	s.grpc.RegisterService(s.describe(), s)
	healthpb.RegisterHealthServer(s.grpc, &health{server: s})
	reflection.Register(s.grpc)
	return s
}

// describe is the service's description with the two inference calls replaced
// by those of this package, and with panics caught.
func (s *Server) describe() *grpc.ServiceDesc {
	d := pb.GRPCInferenceService_ServiceDesc
	d.Methods = append([]grpc.MethodDesc{}, d.Methods...)
	for i := range d.Methods {
		m := &d.Methods[i]
		handler := m.Handler
		if m.MethodName == "ModelInfer" {
			handler = s.modelInfer
		}
		name := m.MethodName
		m.Handler = func(srv any, ctx context.Context, dec func(any) error, i grpc.UnaryServerInterceptor) (out any, err error) {
			defer s.recover(name, &err)
			return handler(srv, ctx, dec, i)
		}
	}
	d.Streams = append([]grpc.StreamDesc{}, d.Streams...)
	for i := range d.Streams {
		d.Streams[i].Handler = func(_ any, stream grpc.ServerStream) error { return s.modelStreamInfer(stream) }
	}
	return &d
}

// recover makes an error of a panic; the server goes on.
func (s *Server) recover(method string, err *error) {
	if p := recover(); p != nil {
		s.log.Error("a call's handling panicked", "method", method, "panic", p, "stack", string(debug.Stack()))
		*err = status.Error(codes.Internal, "the server failed to handle this call; its log says more")
	}
}

// Serve answers calls on a listener until Drain.
func (s *Server) Serve(l net.Listener) error { return s.grpc.Serve(l) }

// Drain takes no more connections and calls, finishes those that have begun,
// and returns. Streams are told after their last answer. If ctx ends first,
// what is left is cut off and ctx's error returned.
func (s *Server) Drain(ctx context.Context) error {
	s.drain.Do(func() { close(s.draining) })
	done := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		s.grpc.Stop()
		<-done
		return ctx.Err()
	}
}
