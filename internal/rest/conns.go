package rest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// conns are the connections of a Server. http.Server knows which are idle too,
// but not whether a request lies unread in one of those, and its Shutdown
// closes them all the same.
type conns struct {
	mu  sync.Mutex
	all map[*conn]struct{}
}

// conn is a connection that knows whether it is idle: that its last request is
// answered, and nothing of a next one was read.
type conn struct {
	net.Conn
	of    *conns
	state atomic.Int32
	since atomic.Int64 // when it became idle or a request began, in nanoseconds of the epoch

	mu      sync.Mutex
	wanted  time.Time // read deadline that was asked for, and
	inForce time.Time // the one that the connection has: no later, but while it is past
	lurks   bool      // someone waits for wake
	wake    chan bool
	timer   *time.Timer
}

// The states of a conn.
const (
	idle  = iota
	begun // a part of a request's headers has come
	busy
	closed
)

// track makes l tell of its connections.
func (cs *conns) track(l net.Listener) *listener {
	return &listener{Listener: l, conns: cs, ended: make(chan struct{})}
}

type listener struct {
	net.Listener
	conns  *conns
	ending atomic.Bool
	ended  chan struct{} // closed when last is complete
	last   []*conn       // accepted by end
}

// Accept gives the next connection. After end those that were waiting come
// first, and then the error of a closed listener.
func (l *listener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil && !l.ending.Load() {
		return nil, err
	}
	if err != nil {
		<-l.ended
	}
	l.conns.mu.Lock()
	defer l.conns.mu.Unlock()
	if err == nil {
		return l.add(nc), nil
	}
	if len(l.last) == 0 {
		return nil, net.ErrClosed
	}
	c := l.last[0]
	l.last = l.last[1:]
	return c, nil
}

// Close is called by http.Server too, which takes a second end for an error.
func (l *listener) Close() error {
	if err := l.Listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// add notes a connection; conns.mu is held.
func (l *listener) add(nc net.Conn) *conn {
	c := &conn{Conn: nc, of: l.conns}
	c.since.Store(time.Now().UnixNano())
	if l.conns.all == nil {
		l.conns.all = map[*conn]struct{}{}
	}
	l.conns.all[c] = struct{}{}
	return c
}

// end closes the listener, but not before everyone who waits there is accepted.
func (l *listener) end() {
	if l.ending.Swap(true) {
		return
	}
	if d, ok := l.Listener.(interface{ SetDeadline(time.Time) error }); ok {
		_ = d.SetDeadline(time.Unix(1, 0)) // Accept takes nobody any more, so that takeAll does
	}
	queue, plug := takeAll(l.Listener)
	l.Listener.Close()
	if plug != nil {
		plug.Close()
	}
	l.conns.mu.Lock()
	for _, nc := range queue {
		l.last = append(l.last, l.add(nc))
	}
	l.conns.mu.Unlock()
	close(l.ended)
}

// CloseWrite lets http.Server end a connection without a reset.
func (c *conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

// Close ends the connection.
func (c *conn) Close() error {
	c.of.mu.Lock()
	delete(c.of.all, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// changed is a http.Server's ConnState.
func (cs *conns) changed(nc net.Conn, s http.ConnState) {
	if c, ok := nc.(*conn); ok && s == http.StateIdle {
		c.since.Store(time.Now().UnixNano())
		c.state.Store(idle)
	}
}

// lateHeaders is how long a client has for the rest of its headers while the server ends.
const lateHeaders = 5 * time.Second

type connKey struct{}

// context is a http.Server's ConnContext.
func (cs *conns) context(ctx context.Context, nc net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, nc)
}

// handler marks a request's connection as busy.
func (cs *conns) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(connKey{}).(*conn); ok {
			c.state.Store(busy)
		}
		next.ServeHTTP(w, r)
	})
}

// closeIdle closes the connections that have been idle for a time, counted from
// start at the earliest, and have nothing unread, and those whose headers haven't
// been complete for lateHeaders. It returns how many others there are. What
// arrives within the microseconds between the look and the end is lost: HTTP/1.1
// has no way to exclude that.
func (cs *conns) closeIdle(start time.Time, long time.Duration) (left int) {
	now := time.Now()
	cs.mu.Lock()
	var quiet, late []*conn
	for c := range cs.all {
		rested := min(now.Sub(start), now.Sub(time.Unix(0, c.since.Load())))
		switch s := c.state.Load(); {
		case s == idle && rested >= long:
			quiet = append(quiet, c)
		case s == begun && rested >= lateHeaders:
			late = append(late, c)
		}
	}
	left = len(cs.all)
	cs.mu.Unlock()
	for _, c := range quiet {
		if !unread(c.Conn) && c.state.CompareAndSwap(idle, closed) {
			c.Close()
			left--
		}
	}
	for _, c := range late {
		if c.state.CompareAndSwap(begun, closed) {
			c.Close()
			left--
		}
	}
	return left
}
