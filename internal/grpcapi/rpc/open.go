package rpc

import (
	"context"
	"fmt"

	"golang.org/x/net/http2/hpack"
)

func (c *conn) continuation(f *frame) error {
	if c.blockStream == 0 {
		return &connError{codeProtocol, "CONTINUATION without HEADERS"}
	}
	c.blockFrames++
	if len(c.block0)+len(f.payload) > maxHeaderList || c.blockFrames > maxContinuations {
		return &connError{codeEnhanceCalm, "a header block without end"}
	}
	c.block0 = append(c.block0, f.payload...)
	if !f.has(flagEndHeaders) {
		return nil
	}
	id := c.blockStream
	c.blockStream = 0
	return c.headers(id, c.blockFlags, c.block0)
}

// field takes a header field from the decoder; fields beyond maxHeaderList are counted and left out.
func (c *conn) field(f hpack.HeaderField) {
	c.headerSize += int(f.Size())
	if c.headerSize <= maxHeaderList {
		c.header = append(c.header, f)
	}
}

// headers handles a complete header block.
func (c *conn) headers(id uint32, flags byte, block []byte) error {
	c.header, c.headerSize = c.header[:0], 0
	if _, err := c.hpack.Write(block); err != nil {
		return &connError{codeCompression, "a header block is not HPACK"}
	}
	if err := c.hpack.Close(); err != nil {
		return &connError{codeCompression, "a header block is not complete"}
	}
	ended := flags&flagEndStream != 0
	if id <= c.maxID {
		return c.trailers(id, ended)
	}
	if id%2 == 0 {
		return &connError{codeProtocol, "expected an odd stream"}
	}
	return c.open(id, ended)
}

// trailers handles a second header block of a stream, which ends it.
func (c *conn) trailers(id uint32, ended bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[id]
	switch {
	case s == nil:
		return c.waste()
	case !ended || s.ended:
		return &connError{codeProtocol, "headers within a stream that do not end it"}
	}
	c.end(s)
	return nil
}

// open begins a call.
func (c *conn) open(id uint32, ended bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last { // it comes too late; the client has been told so
		return nil
	}
	c.maxID = id
	if len(c.streams) >= maxStreams || c.running >= maxStreams {
		c.out = appendReset(c.out, id, codeRefused)
		return c.waste()
	}
	s := &Stream{conn: c, id: id, window: c.initial, ended: ended}
	h := c.header
	switch {
	case c.headerSize > maxHeaderList:
		c.refuse(s, &Error{Code: ResourceExhausted, Message: fmt.Sprintf("expected at most %d bytes of metadata, found %d", maxHeaderList, c.headerSize)})
		return c.waste()
	case !h.wellFormed():
		c.out = appendReset(c.out, id, codeProtocol)
		return c.waste()
	case h.first(":method") != "POST":
		return c.refuseHTTP(s, "405", "expected the method POST")
	case !isGRPC(h.first("content-type")):
		return c.refuseHTTP(s, "415", "expected the content-type application/grpc with protobuf messages")
	}
	if err := c.admit(s, h); err != nil {
		c.refuse(s, statusOf(err))
		return nil
	}
	c.streams[id] = s
	if s.method.Streaming {
		s.wake = make(chan struct{}, 1)
		c.dispatch(s)
	} else if ended {
		c.end(s)
	}
	return nil
}

// admit finds the method and what the headers ask for.
func (c *conn) admit(s *Stream, h Header) (err error) {
	path := h.first(":path")
	if a := c.server.opts.Admit; a != nil {
		if s.leave, err = a(path, h); err != nil {
			return err
		}
	}
	refuse := func(err error) error {
		if s.leave != nil {
			s.leave()
		}
		return err
	}
	var ok bool
	if s.method, ok = c.server.opts.Methods[path]; !ok {
		return refuse(Errorf(Unimplemented, "no method is called %.100q", path))
	}
	if s.coding, ok = codingOf(h.first("grpc-encoding")); !ok {
		return refuse(Errorf(Unimplemented, "grpc-encoding: expected one of %s, found %.40q", acceptEncoding, h.first("grpc-encoding")))
	}
	t := h.first("grpc-timeout")
	if t == "" {
		s.ctx, s.cancel = context.WithCancel(context.Background())
		return nil
	}
	d, ok := timeout(t)
	if !ok {
		return refuse(Errorf(Internal, "grpc-timeout: expected up to 8 digits and one of HMSmun, found %.40q", t))
	}
	s.ctx, s.cancel = context.WithTimeout(context.Background(), d)
	return nil
}

// refuse answers a call that has not begun.
func (c *conn) refuse(s *Stream, status *Error) {
	c.block = c.enc.only(c.block[:0], status)
	c.endRefused(s)
}

func (c *conn) refuseHTTP(s *Stream, status, text string) error {
	c.block = c.enc.refusal(c.block[:0], status, text)
	c.endRefused(s)
	return c.waste()
}

func (c *conn) endRefused(s *Stream) {
	c.appendBlock(s.id, true)
	if !s.ended {
		c.out = appendReset(c.out, s.id, codeNone)
	}
}

// dispatch gives a call to its handler.
func (c *conn) dispatch(s *Stream) {
	s.dispatched = true
	c.running++
	c.server.alive.Add(1)
	c.server.handle(s)
}

// end notes that the client has sent all of a call.
func (c *conn) end(s *Stream) {
	s.ended = true
	switch {
	case s.dispatched:
		s.signal()
	case s.ctx.Err() != nil:
		s.finish(statusOf(s.ctx.Err()))
	default:
		c.dispatch(s)
	}
}
