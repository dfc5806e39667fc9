// Package rpc is a gRPC server over HTTP/2 with prior knowledge (RFC 9113),
// without TLS: framing, flow control, gRPC's messages and statuses. It knows
// nothing of services: a Handler answers a method.
//
// A connection has one goroutine that reads. It gathers a unary call's message
// and gives the call to a worker when it is whole; a stream's handler starts
// with its headers. Whoever writes first writes for all: frames are appended to
// the connection's buffer, and the goroutine that finds no writer sends what
// has come together.
package rpc

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// Handler answers a call. A unary one returns its answer, a stream nil.
type Handler func(s *Stream) (*Buffer, error)

// Method is what the server knows of a method.
type Method struct {
	Handler   Handler
	Streaming bool // its handler starts before the first message is there
}

// Options configure a Server.
type Options struct {
	Methods map[string]Method // by full name: /package.Service/Method

	// Admit refuses calls before anything of them is read; done, if not nil, is
	// called once, when the handler has returned or the call ended without it.
	Admit func(method string, h Header) (done func(), err error)

	MaxMessage int // bound of a request in bytes, as sent and decompressed
}

// Server answers calls. It is used once: Serve, then Drain.
type Server struct {
	opts Options
	work chan *Stream

	mu        sync.Mutex
	listeners map[net.Listener]bool
	conns     map[*conn]bool
	draining  bool
	alive     sync.WaitGroup // connections and the handlers of their calls
	once      sync.Once
	stop      chan struct{} // closed when the last connection has gone

	maxUseless int64 // the constant; fewer in tests, on machines that are too busy for a flood
}

const (
	// workers are goroutines whose stacks have grown already: enough for the
	// calls that wait for a batch together. Growing one's stack costs more than
	// all else that a small call does here.
	workers = 128

	maxStreams    = 1024     // of a connection; more wait at the client
	maxHeaderList = 32 << 10 // of a call's fields, as RFC 9113 counts

	// What a client may send before it is read, in bytes; fixed, as to find
	// them out costs a ping for each message.
	streamWindow = 4 << 20
	connWindow   = 16 << 20

	handshakeTime = 10 * time.Second
	writeTime     = 30 * time.Second // for maxWrite bytes
	// A client that has vanished is noticed within 80 s.
	pingAfter, dieAfter = 60, 80 // seconds
	// Clients may ping as often as existing ones do.
	pingEvery = 5 * time.Second
	drainPing = 5 // seconds that a client has to answer the ping of a drain
)

// NewServer makes a server.
func NewServer(o Options) *Server {
	return &Server{opts: o, work: make(chan *Stream), listeners: map[net.Listener]bool{}, conns: map[*conn]bool{}, stop: make(chan struct{}), maxUseless: maxUseless}
}

// Serve answers calls on a listener until Drain.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		return l.Close()
	}
	s.listeners[l] = true
	s.mu.Unlock()
	s.once.Do(s.start)
	for wait := time.Duration(0); ; {
		nc, err := l.Accept()
		switch {
		case err == nil:
			wait = 0
			s.accept(nc)
		case s.isDraining():
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default: // out of descriptors, or a client that left
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(wait):
			case <-s.stop:
				return nil
			}
		}
	}
}

func (s *Server) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

func (s *Server) start() {
	for range workers {
		go func() {
			for {
				select {
				case st := <-s.work:
					st.answer()
				case <-s.stop:
					return
				}
			}
		}()
	}
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				for _, c := range s.all() {
					c.tick()
				}
			case <-s.stop:
				return
			}
		}
	}()
}

func (s *Server) all() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		list = append(list, c)
	}
	return list
}

func (s *Server) accept(nc net.Conn) {
	c := newConn(s, nc)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		nc.Close()
		return
	}
	s.conns[c] = true
	s.alive.Add(1)
	go func() {
		defer s.alive.Done()
		c.serve()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
}

// handle has a call answered.
func (s *Server) handle(st *Stream) {
	select {
	case s.work <- st:
	default:
		go st.answer()
	}
}

// Drain takes no more connections and calls, finishes those that have begun,
// and returns. If ctx ends first, what is left is cut off and ctx's error returned.
func (s *Server) Drain(ctx context.Context) error {
	s.mu.Lock()
	first := !s.draining
	s.draining = true
	for l := range s.listeners {
		l.Close()
	}
	s.mu.Unlock()
	if first {
		for _, c := range s.all() {
			c.drain()
		}
		go func() {
			s.alive.Wait()
			close(s.stop)
		}()
	}
	select {
	case <-s.stop:
		return nil
	case <-ctx.Done():
		for _, c := range s.all() {
			c.kill(ctx.Err())
		}
		<-s.stop
		return ctx.Err()
	}
}
