package rpc

import (
	"encoding/binary"
	"time"
)

func (c *conn) data(f *frame) error {
	b, err := f.unpad(false)
	if err != nil {
		return err
	}
	ended := f.has(flagEndStream)
	if len(b) == 0 && !ended {
		if err := c.waste(); err != nil {
			return err
		}
	}
	n := len(f.payload)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.received += n; c.received >= connWindow/4 {
		c.out = appendWindow(c.out, 0, c.received)
		c.received = 0
	}
	s := c.streams[f.stream]
	switch {
	case f.stream > c.maxID && !c.last:
		return &connError{codeProtocol, "data of a stream that has not begun"}
	case s == nil:
		if n >= 1024 {
			return nil // sent before the client knew of the end
		}
		return c.waste()
	case s.ended:
		c.drop(s, codeStreamClosed)
		return nil
	}
	if s.uncredited += n; s.uncredited > streamWindow {
		c.drop(s, codeFlowControl)
		return nil
	}
	s.receive(b)
	if !s.dispatched {
		if refused := c.gather(s); refused {
			return nil
		}
	}
	if ended {
		c.end(s)
	} else if s.dispatched {
		s.signal()
	}
	return nil
}

// gather checks what has come of a unary call, and reports whether it was refused.
func (c *conn) gather(s *Stream) bool {
	_, n, ok, err := s.prefix()
	if ok && len(s.in.Bytes()) > prefixSize+n {
		err = Errorf(Internal, "expected one message, found more")
	}
	if err != nil {
		s.finish(statusOf(err))
		return true
	}
	if s.uncredited >= streamWindow/4 {
		c.out = appendWindow(c.out, s.id, s.uncredited)
		s.uncredited = 0
	}
	return false
}

func (c *conn) reset(f *frame) error {
	if len(f.payload) != 4 {
		return &connError{codeFrameSize, "expected RST_STREAM of 4 bytes"}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.stream > c.maxID && !c.last {
		return &connError{codeProtocol, "the reset of a stream that has not begun"}
	}
	if s := c.streams[f.stream]; s != nil {
		s.ended = true // no reset in answer
		c.remove(s)
	}
	return c.waste()
}

// drop resets a stream.
func (c *conn) drop(s *Stream, code uint32) {
	c.out = appendReset(c.out, s.id, code)
	s.ended = true
	c.remove(s)
}

// remove forgets a stream. The client is told to send no more of it.
func (c *conn) remove(s *Stream) {
	if !s.ended {
		c.out = appendReset(c.out, s.id, codeNone)
	}
	s.done = true
	delete(c.streams, s.id)
	s.cancel()
	s.in.Free()
	s.in = nil
	if !s.dispatched && s.leave != nil {
		s.leave()
	}
	c.wake()
	c.closeIfDone()
}

func (c *conn) settings(f *frame) error {
	b := f.payload
	switch {
	case f.stream != 0:
		return &connError{codeProtocol, "SETTINGS of a stream"}
	case f.has(flagAck) && len(b) == 0:
		return nil
	case f.has(flagAck) || len(b)%6 != 0:
		return &connError{codeFrameSize, "expected SETTINGS of six bytes each"}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for ; len(b) > 0; b = b[6:] {
		if err := c.setting(binary.BigEndian.Uint16(b), binary.BigEndian.Uint32(b[2:])); err != nil {
			return err
		}
	}
	c.out = appendFrame(c.out, 0, frameSettings, flagAck, 0)
	return nil
}

func (c *conn) setting(id uint16, v uint32) error {
	switch id {
	case settingTable:
		c.enc.setTable(v)
	case settingPush:
		if v > 1 {
			return &connError{codeProtocol, "ENABLE_PUSH is neither 0 nor 1"}
		}
	case settingWindow:
		if v > maxWindow {
			return &connError{codeFlowControl, "INITIAL_WINDOW_SIZE is too large"}
		}
		for _, s := range c.streams {
			if s.window += int(v) - c.initial; s.window > maxWindow {
				return &connError{codeFlowControl, "INITIAL_WINDOW_SIZE makes a window too large"}
			}
		}
		c.initial = int(v)
		c.wake()
	case settingFrame:
		if v < maxFrame || v > 1<<24-1 {
			return &connError{codeProtocol, "MAX_FRAME_SIZE is out of range"}
		}
		c.frameSize = min(int(v), maxWrite)
	}
	return nil
}

func (c *conn) ping(f *frame) error {
	if f.stream != 0 {
		return &connError{codeProtocol, "PING of a stream"}
	}
	if len(f.payload) != 8 {
		return &connError{codeFrameSize, "expected PING of 8 bytes"}
	}
	data := [8]byte(f.payload)
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.has(flagAck) {
		if data == drainData && c.draining > 0 {
			c.lastCall()
		}
		return nil
	}
	c.out = appendPing(c.out, flagAck, data)
	now := time.Now()
	if c.sent { // clients measure with pings what they have just got
		c.sent, c.pingStrikes = false, 0
	} else if now.Sub(c.lastPing) < pingEvery {
		c.pingStrikes++
	}
	c.lastPing = now
	if c.pingStrikes > maxPingStrikes {
		return &connError{codeEnhanceCalm, "too_many_pings"}
	}
	return nil
}

func (c *conn) windowUpdate(f *frame) error {
	if len(f.payload) != 4 {
		return &connError{codeFrameSize, "expected WINDOW_UPDATE of 4 bytes"}
	}
	n := int(binary.BigEndian.Uint32(f.payload) & maxWindow)
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.stream == 0 {
		if n == 0 {
			return &connError{codeProtocol, "a WINDOW_UPDATE of nothing"}
		}
		if c.window += n; c.window > maxWindow {
			return &connError{codeFlowControl, "the connection's window is too large"}
		}
		c.wake()
		return nil
	}
	s := c.streams[f.stream]
	switch {
	case f.stream > c.maxID && !c.last:
		return &connError{codeProtocol, "the window of a stream that has not begun"}
	case s == nil:
		return nil // often sent with the end of an answer
	case n == 0:
		c.drop(s, codeProtocol)
		return c.waste()
	}
	if s.window += n; s.window > maxWindow {
		c.drop(s, codeFlowControl)
	}
	c.wake()
	return nil
}
