package rpc

import (
	"context"
	"encoding/binary"
	"io"
)

// Stream is one call. Its handler alone uses it.
type Stream struct {
	conn   *conn
	id     uint32
	method Method
	ctx    context.Context
	cancel context.CancelFunc
	leave  func() // Admit's done
	coding *coding
	wake   chan struct{} // of a streaming handler that waits for bytes

	// These belong to conn.mu.
	in         *Buffer // what has come and was not taken
	uncredited int     // bytes that came and that the client's window does not have back
	window     int     // what the client takes
	ended      bool    // by the client
	begun      bool    // the answer's headers are written
	dispatched bool    // a handler has it
	done       bool    // it is out of conn.streams; nothing more is written
}

// Context ends when the client cancels the call or is gone, at its deadline, and with the call.
func (s *Stream) Context() context.Context { return s.ctx }

// prefixSize is the size of what stands before a message: a flag and the length.
const prefixSize = 5

// prefix reads what stands before the next message; ok is false if it is not there yet.
func (s *Stream) prefix() (compressed bool, n int, ok bool, err error) {
	if s.in == nil || len(s.in.Bytes()) < prefixSize {
		return false, 0, false, nil
	}
	b := s.in.Bytes()
	size := binary.BigEndian.Uint32(b[1:])
	switch limit := s.conn.server.opts.MaxMessage; {
	case b[0] > 1:
		return false, 0, false, Errorf(Internal, "expected 0 or 1 before a message, found %d", b[0])
	case int64(size) > int64(limit):
		return false, 0, false, Errorf(ResourceExhausted, "expected a message of at most %d bytes, found one of %d, which is larger than max", limit, size)
	case b[0] == 1 && s.coding == nil:
		return false, 0, false, Errorf(Internal, "a message is marked as compressed, but grpc-encoding names no compression")
	}
	return b[0] == 1, int(size), true, nil
}

// Recv gives the next message; io.EOF after the last.
func (s *Stream) Recv() (*Buffer, error) {
	b, compressed, err := s.next()
	if err != nil || !compressed {
		return b, err
	}
	defer b.Free()
	return s.coding.decompress(b.Bytes(), s.conn.server.opts.MaxMessage)
}

func (s *Stream) next() (*Buffer, bool, error) {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if s.done {
			return nil, false, s.gone()
		}
		compressed, n, ok, err := s.prefix()
		if err != nil {
			return nil, false, err
		}
		if ok && len(s.in.Bytes()) >= prefixSize+n {
			b := s.take(n)
			s.credit()
			return b, compressed, nil
		}
		if s.ended {
			if s.in != nil && len(s.in.Bytes()) > 0 {
				return nil, false, Errorf(Internal, "the client's stream ends within a message")
			}
			return nil, false, io.EOF
		}
		s.credit() // the handler waits for all of it
		c.mu.Unlock()
		select {
		case <-s.wake:
		case <-s.ctx.Done():
		}
		c.mu.Lock()
		if err := s.ctx.Err(); err != nil {
			return nil, false, err
		}
	}
}

// gone is why a call that is done is so.
func (s *Stream) gone() error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	return context.Canceled
}

// take cuts the first message, of n bytes, off what has come.
func (s *Stream) take(n int) *Buffer {
	in := s.in
	if len(in.Bytes()) == prefixSize+n {
		s.in = nil
		in.skip += prefixSize
		return in
	}
	b := NewBuffer(n)
	b.data = append(b.data, in.Bytes()[prefixSize:prefixSize+n]...)
	in.skip += prefixSize + n
	return b
}

// credit gives the client its window back, once it is worth a frame.
func (s *Stream) credit() {
	if s.uncredited < streamWindow/4 || s.ended || s.done {
		return
	}
	s.conn.out = appendWindow(s.conn.out, s.id, s.uncredited)
	s.uncredited = 0
	s.conn.flush()
}

// receive takes bytes from the client. The reader calls it.
func (s *Stream) receive(b []byte) {
	want := 0
	if s.in != nil {
		_, want, _, _ = s.prefix()
	} else if len(b) >= prefixSize {
		want = int(binary.BigEndian.Uint32(b[1:]))
	}
	// A length that a client states is believed in steps.
	have := len(b)
	if s.in != nil {
		have += len(s.in.Bytes())
	}
	want = min(prefixSize+want, 4*max(have, 4096))
	if s.in == nil {
		s.in = NewBuffer(max(have, want))
	}
	s.in = s.in.grow(len(b), want)
	s.in.data = append(s.in.data, b...)
}

// signal wakes the handler.
func (s *Stream) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// answer runs the handler and ends the call.
func (s *Stream) answer() {
	reply, err := s.method.Handler(s)
	if s.leave != nil {
		s.leave()
	}
	c := s.conn
	c.mu.Lock()
	if err == nil && reply != nil {
		err = s.send(reply)
	} else {
		reply.Free()
	}
	s.finish(statusOf(err))
	c.running--
	c.flush()
	c.mu.Unlock()
	c.server.alive.Done()
}

// Send sends a message and frees it. It waits while the client's windows are full.
func (s *Stream) Send(b *Buffer) error {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	err := s.send(b)
	c.flush()
	return err
}

func (s *Stream) send(b *Buffer) error {
	var prefix [prefixSize]byte
	if s.coding != nil && len(b.Bytes()) > 0 {
		s.conn.mu.Unlock()
		small, err := s.coding.compress(b.Bytes())
		s.conn.mu.Lock()
		b.Free()
		if err != nil {
			return err
		}
		b, prefix[0] = small, 1
	}
	defer b.Free()
	binary.BigEndian.PutUint32(prefix[1:], uint32(len(b.Bytes())))
	head, rest := prefix[:], b.Bytes()
	for len(head)+len(rest) > 0 {
		n, err := s.reserve(len(head) + len(rest))
		if err != nil {
			return err
		}
		c := s.conn
		c.begin(s)
		c.out = appendFrame(c.out, n, frameData, 0, s.id)
		k := min(n, len(head))
		c.out = append(append(c.out, head[:k]...), rest[:n-k]...)
		head, rest = head[k:], rest[n-k:]
		c.sent = true
	}
	return nil
}

// reserve waits until at least one of n bytes may be sent, and takes what may be.
func (s *Stream) reserve(n int) (int, error) {
	c := s.conn
	for {
		if s.done {
			return 0, s.gone()
		}
		if err := s.ctx.Err(); err != nil {
			return 0, err
		}
		full := len(c.out) >= maxPending
		if k := min(n, s.window, c.window, c.frameSize); k > 0 && !full {
			s.window -= k
			c.window -= k
			return k, nil
		}
		if len(c.out) > 0 && !c.writing {
			c.flush()
			continue
		}
		stop := context.AfterFunc(s.ctx, c.wakeWaiters)
		c.waiting++
		c.moved.Wait()
		c.waiting--
		stop()
	}
}

// finish writes the end of a call and forgets it.
func (s *Stream) finish(status *Error) {
	c := s.conn
	if s.done {
		return
	}
	c.sent = true
	if s.begun || status == nil {
		c.begin(s)
		c.block = c.enc.trailers(c.block[:0], status)
	} else {
		c.block = c.enc.only(c.block[:0], status)
	}
	c.appendBlock(s.id, true)
	c.remove(s)
}
