// Package grpcapi is the gRPC transport: inference.GRPCInferenceService over a
// serve.Core, grpc.health.v1 and reflection. Package rpc speaks gRPC itself.
//
// Messages do not go through generated code, whose runtime would be a tenth of
// the program: decode.go reads an inference request from the bytes that came,
// and its tensors alias them; encode.go writes an answer in one pass; models.go
// and config.go write the small messages field by field. They are those of
// api/oip, and tests compare both ways with the generated code.
package grpcapi

import (
	"context"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"

	"github.com/salver-ml/salver/internal/grpcapi/rpc"
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
	core *serve.Core
	opts Options
	log  *slog.Logger
	rpc  *rpc.Server

	leave    func()    // gives a place among those in flight back
	calls    sync.Pool // of *call
	draining chan struct{}
	drain    sync.Once
}

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
	if o.InFlight != nil {
		s.leave = o.InFlight.Leave
	}
	s.rpc = rpc.NewServer(rpc.Options{Methods: s.methods(), Admit: s.admit, MaxMessage: o.MaxMessage})
	return s
}

// recover makes an error of a panic; the server goes on.
func (s *Server) recover(method string, err *error) {
	if p := recover(); p != nil {
		s.log.Error("a call's handling panicked", "method", method, "panic", p, "stack", string(debug.Stack()))
		*err = rpc.Errorf(rpc.Internal, "the server failed to handle this call; its log says more")
	}
}

// Serve answers calls on a listener until Drain.
func (s *Server) Serve(l net.Listener) error { return s.rpc.Serve(l) }

// Drain takes no more connections and calls, finishes those that have begun,
// and returns. Streams are told after their last answer. If ctx ends first,
// what is left is cut off and ctx's error returned.
func (s *Server) Drain(ctx context.Context) error {
	s.drain.Do(func() { close(s.draining) })
	return s.rpc.Drain(ctx)
}
