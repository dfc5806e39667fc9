package rest

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Server is an HTTP server of a Handler. It is used once: Serve, then Drain.
type Server struct {
	handler *Handler
	http    *http.Server

	mu        sync.Mutex
	listeners []net.Listener
}

// NewServer makes a server whose timeouts end connections that send their
// headers slowly or stay idle. It sets no limit to a whole request, whose
// execution may take its time: the handler bounds the reading of bodies and the
// writing of answers.
func NewServer(h *Handler) *Server {
	return &Server{handler: h, http: newHTTP(h, h.log)}
}

func newHTTP(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // what clients do wrong
	}
}

// Serve answers requests on a listener until Drain; then it returns nil.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	s.listeners = append(s.listeners, l)
	s.mu.Unlock()
	err := s.http.Serve(l)
	if errors.Is(err, http.ErrServerClosed) || s.handler.draining.Load() {
		return nil
	}
	return err
}

// lastCalls is how long no request has to begin before Drain closes idle connections.
const lastCalls = 200 * time.Millisecond

// Drain ends the server without losing a request: it takes no more connections,
// answers what still comes over those there are, telling clients not to use
// them again, and once nothing comes any more closes the idle ones and waits for
// the rest. If ctx ends first, what is left is cut off and ctx's error returned.
//
// http.Server.Shutdown alone would drop a request whose bytes arrive while it
// begins.
func (s *Server) Drain(ctx context.Context) error {
	s.handler.draining.Store(true)
	s.mu.Lock()
	for _, l := range s.listeners {
		l.Close()
	}
	s.mu.Unlock()
	for begun := int64(-1); begun != s.handler.begun.Load() && ctx.Err() == nil; {
		begun = s.handler.begun.Load()
		select {
		case <-time.After(lastCalls):
		case <-ctx.Done():
		}
	}
	err := s.http.Shutdown(ctx)
	if err != nil {
		s.http.Close()
	}
	return err
}
