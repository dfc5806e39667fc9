package rpc

import (
	"runtime"
	"time"
)

// begin writes the headers of an answer, once.
func (c *conn) begin(s *Stream) {
	if s.begun {
		return
	}
	s.begun = true
	encoding := ""
	if s.coding != nil {
		encoding = s.coding.name
	}
	c.block = c.enc.response(c.block[:0], encoding)
	c.appendBlock(s.id, false)
}

// appendBlock writes the header block in c.block.
func (c *conn) appendBlock(id uint32, end bool) {
	flags, kind := byte(0), frameHeaders
	if end {
		flags = flagEndStream
	}
	b := c.block
	for {
		n := min(len(b), maxFrame)
		if n == len(b) {
			flags |= flagEndHeaders
		}
		c.out = append(appendFrame(c.out, n, kind, flags, id), b[:n]...)
		if b = b[n:]; len(b) == 0 {
			return
		}
		flags, kind = 0, frameContinuation
	}
}

// flush writes what waits, unless another goroutine does already. c.mu is held, and released while it writes.
func (c *conn) flush() {
	if c.writing || c.err != nil || len(c.out) == 0 && !c.closing {
		return
	}
	c.writing = true
	if c.running > 0 { // others may have answers too
		c.mu.Unlock()
		runtime.Gosched()
		c.mu.Lock()
	}
	for len(c.out) > 0 && c.err == nil {
		b := c.out
		c.out, c.spare = c.spare[:0], nil
		c.mu.Unlock()
		err := c.write(b)
		c.mu.Lock()
		if cap(b) <= maxPending {
			c.spare = b[:0]
		}
		if err != nil {
			c.fail(err)
		}
		c.wake()
	}
	c.writing = false
	if c.closing && c.err == nil {
		c.sayGoodbye()
	}
}

func (c *conn) write(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), maxWrite)
		c.nc.SetWriteDeadline(time.Now().Add(writeTime))
		if _, err := c.nc.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// wake wakes those who wait for windows or for the writer.
func (c *conn) wake() {
	if c.waiting > 0 {
		c.moved.Broadcast()
	}
}

func (c *conn) wakeWaiters() {
	c.mu.Lock()
	c.wake()
	c.mu.Unlock()
}
