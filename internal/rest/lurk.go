package rest

import (
	"errors"
	"net"
	"os"
	"time"
)

// http.Server changes a connection's read deadline seven times for each
// request, and starts a read that notices whether the client goes away while
// its request is handled. Both cost system calls and locks of the runtime, a
// tenth of a small request in all. So here a deadline that is later than the
// one in force is only remembered, until that one has passed; and that read
// begins only when a request has been handled for a while, since most are answered by then.

// patience is how long a request is handled before its client's leaving is noticed.
const patience = 10 * time.Millisecond

// over reports whether a deadline is one of the distant past, by which
// http.Server ends its own read.
func over(t time.Time) bool { return !t.IsZero() && t.Unix() < 1<<30 }

// SetDeadline sets both deadlines.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline takes effect at t as that of net.Conn does.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wanted = t
	switch inForce := c.inForce; {
	case over(t) && c.lurks:
		c.timer.Stop()
		c.endLurk(false)
		return nil
	case over(t), over(inForce):
	case inForce.IsZero() && t.IsZero(), !inForce.IsZero() && (t.IsZero() || !t.Before(inForce)):
		return nil // renew looks when the one in force has passed
	}
	c.inForce = t
	return c.Conn.SetReadDeadline(t)
}

// renew puts the wanted deadline in force after another has passed; false if
// that one has passed too.
func (c *conn) renew() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.wanted.IsZero() && !time.Now().Before(c.wanted) {
		return false
	}
	c.inForce = c.wanted
	return c.Conn.SetReadDeadline(c.wanted) == nil
}

// Read notes that a request begins. Only http.Server's read for the client's
// leaving asks for a single byte.
func (c *conn) Read(p []byte) (int, error) {
	if len(p) == 1 && !c.lurk() {
		return 0, os.ErrDeadlineExceeded
	}
	for {
		n, err := c.Conn.Read(p)
		if n > 0 {
			if c.state.Load() == idle {
				c.since.Store(time.Now().UnixNano())
				c.state.CompareAndSwap(idle, begun)
			}
			return n, err
		}
		if timeout, ok := err.(net.Error); !ok || !timeout.Timeout() || !c.renew() {
			return n, err
		}
	}
}

// lurk waits before a read; false if the read is not wanted any more.
func (c *conn) lurk() bool {
	c.mu.Lock()
	if over(c.wanted) {
		c.mu.Unlock()
		return false
	}
	c.lurks = true
	if c.timer == nil {
		c.wake = make(chan bool, 1)
		c.timer = time.AfterFunc(patience, c.patienceOver)
	} else {
		c.timer.Reset(patience)
	}
	c.mu.Unlock()
	return <-c.wake
}

func (c *conn) patienceOver() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lurks {
		c.endLurk(true)
	}
}

// endLurk lets lurk return; c.mu is held.
func (c *conn) endLurk(read bool) {
	c.lurks = false
	c.wake <- read
}
