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
	conns   conns

	mu        sync.Mutex
	listeners []*listener
}

// NewServer makes a server whose timeouts end connections that send their
// headers slowly or stay idle. It sets no limit to a whole request, whose
// execution may take its time: the handler bounds the reading of bodies and the
// writing of answers.
func NewServer(h *Handler) *Server {
	s := &Server{handler: h}
	s.http = newHTTP(s.conns.handler(h), h.log)
	s.http.ConnState, s.http.ConnContext = s.conns.changed, s.conns.context
	return s
}

func newHTTP(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: time.Minute, // of ten thousand clients that come at once some send late
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // what clients do wrong
	}
}

// Serve answers requests on a listener until Drain; then it returns nil.
func (s *Server) Serve(l net.Listener) error {
	tracked := s.conns.track(l)
	s.mu.Lock()
	s.listeners = append(s.listeners, tracked)
	s.mu.Unlock()
	err := s.http.Serve(tracked)
	if errors.Is(err, http.ErrServerClosed) || s.handler.draining.Load() {
		return nil
	}
	return err
}

// lastCalls is how long a connection stays open in Drain after its last request.
const lastCalls = 500 * time.Millisecond

// Drain ends the server without losing a request: it takes no more connections,
// answers what still comes over those there are, telling clients not to use
// them again, and closes those over which nothing comes any more. If ctx ends
// first, what is left is cut off and ctx's error returned.
//
// http.Server.Shutdown alone would drop requests that have arrived on idle
// connections and that it has not read yet.
func (s *Server) Drain(ctx context.Context) error {
	s.handler.draining.Store(true)
	s.mu.Lock()
	for _, l := range s.listeners {
		l.end()
	}
	s.mu.Unlock()
	tick := time.NewTicker(lastCalls / 10)
	defer tick.Stop()
	for start := time.Now(); s.conns.closeIdle(start, lastCalls) > 0; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.http.Close()
			return ctx.Err()
		}
	}
	err := s.http.Shutdown(ctx) // of one that was accepted in the last moment
	if err != nil {
		s.http.Close()
	}
	return err
}
