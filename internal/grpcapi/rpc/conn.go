package rpc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"
)

const (
	readBuffer = 32 << 10
	maxWrite   = 64 << 10  // of one write
	maxPending = 256 << 10 // answers wait while more is to be written
	maxControl = 1 << 20   // reading waits while more is to be written

	// maxUseless bounds the frames of a second that bring nothing: resets,
	// settings, empty data, priorities, frames for streams that are gone.
	maxUseless = 10_000

	maxContinuations = 64
	maxPingStrikes   = 2
)

// conn is one client's connection.
type conn struct {
	server *Server
	nc     net.Conn

	// The reader's own.
	buf         []byte
	r, w        int // what is read and not handled: buf[r:w]
	hpack       *hpack.Decoder
	header      Header
	headerSize  int
	block0      []byte // of HEADERS and CONTINUATION
	blockStream uint32 // whose header block is not complete; 0: none
	blockFlags  byte
	blockFrames int
	received    int // bytes of data that the connection's window does not have back
	pingStrikes int
	lastPing    time.Time

	active  atomic.Bool  // something was read since the last tick
	useless atomic.Int64 // frames since the last tick

	mu       sync.Mutex
	moved    sync.Cond // windows, pending bytes, the end
	waiting  int       // for moved
	out      []byte    // to be written
	spare    []byte
	block    []byte // scratch for header blocks
	enc      encoder
	writing  bool
	err      error // the connection is dead
	streams  map[uint32]*Stream
	running  int // handlers, also of calls that are done
	maxID    uint32
	window   int // what the client takes
	initial  int // of its streams
	sent     bool
	idle     int // seconds
	draining int // seconds since; 0: not
	last     bool
	closing  bool // all is said, but for what is in out
	goodbye  bool // all is written; the client closes, or we after a second

	frameSize int // of the client
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{server: s, nc: nc, streams: map[uint32]*Stream{}, window: 65535, initial: 65535, frameSize: maxFrame}
	c.moved.L = &c.mu
	c.hpack = hpack.NewDecoder(defaultTable, c.field)
	c.hpack.SetMaxStringLength(maxHeaderList)
	c.out = appendSettings(nil, settingStreams, maxStreams, settingWindow, streamWindow, settingHeaderList, maxHeaderList)
	c.out = appendWindow(c.out, 0, connWindow-65535)
	return c
}

// serve reads until the connection ends.
func (c *conn) serve() {
	c.buf = make([]byte, readBuffer)
	err := c.handshake()
	for err == nil {
		var f frame
		if f, err = c.read(); err == nil {
			err = c.handleFrame(&f)
		}
	}
	var broken *connError
	if errors.As(err, &broken) {
		c.mu.Lock()
		c.out = appendGoAway(c.out, c.maxID, broken.code, broken.text)
		c.flush()
		c.mu.Unlock()
	}
	c.kill(err)
}

func (c *conn) handshake() error {
	c.nc.SetReadDeadline(time.Now().Add(handshakeTime))
	if err := c.fill(len(preface)); err != nil {
		return err
	}
	if string(c.buf[c.r:c.r+len(preface)]) != preface {
		return errors.New("expected HTTP/2's preface, found something else")
	}
	c.r += len(preface)
	f, err := c.read()
	if err != nil {
		return err
	}
	if f.kind != frameSettings || f.has(flagAck) {
		return &connError{codeProtocol, "expected SETTINGS first"}
	}
	c.mu.Lock()
	if !c.goodbye {
		c.nc.SetReadDeadline(time.Time{})
	}
	c.mu.Unlock()
	return c.settings(&f)
}

// fill reads until n bytes are there. What is to be written goes before it waits.
func (c *conn) fill(n int) error {
	if c.w-c.r >= n {
		return nil
	}
	copy(c.buf, c.buf[c.r:c.w])
	c.r, c.w = 0, c.w-c.r
	if err := c.ready(); err != nil {
		return err
	}
	for c.w < n {
		k, err := c.nc.Read(c.buf[c.w:])
		c.w += k
		if k > 0 {
			c.active.Store(true)
		}
		if err != nil && c.w < n {
			return err
		}
	}
	return nil
}

// ready writes what waits, and waits itself if a client does not read.
func (c *conn) ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flush()
	for len(c.out) > maxControl && c.err == nil {
		c.waiting++
		c.moved.Wait()
		c.waiting--
		c.flush()
	}
	return c.err
}

func (c *conn) read() (f frame, err error) {
	if err := c.fill(headerSize); err != nil {
		return f, err
	}
	h := c.buf[c.r:]
	n := int(h[0])<<16 | int(h[1])<<8 | int(h[2])
	if n > maxFrame {
		return f, &connError{codeFrameSize, fmt.Sprintf("expected frames of at most %d bytes, found %d", maxFrame, n)}
	}
	if err := c.fill(headerSize + n); err != nil {
		return f, err
	}
	h = c.buf[c.r:]
	f = frame{kind: h[3], flags: h[4], stream: binary.BigEndian.Uint32(h[5:]) & maxWindow, payload: h[headerSize : headerSize+n]}
	c.r += headerSize + n
	return f, nil
}

// waste counts frames that bring nothing.
func (c *conn) waste() error {
	if c.useless.Add(1) > c.server.maxUseless {
		return &connError{codeEnhanceCalm, "too many frames without use"}
	}
	return nil
}

func (c *conn) handleFrame(f *frame) error {
	if c.blockStream != 0 && (f.kind != frameContinuation || f.stream != c.blockStream) {
		return &connError{codeProtocol, "expected CONTINUATION"}
	}
	if needsStream := f.kind <= frameReset || f.kind == frameContinuation; needsStream && f.stream == 0 {
		return &connError{codeProtocol, "a frame of a stream without one"}
	}
	switch f.kind {
	case frameData:
		return c.data(f)
	case frameHeaders:
		b, err := f.unpad(true)
		if err != nil {
			return err
		}
		if f.has(flagEndHeaders) {
			return c.headers(f.stream, f.flags, b)
		}
		c.block0 = append(c.block0[:0], b...)
		c.blockStream, c.blockFlags, c.blockFrames = f.stream, f.flags, 0
		return nil
	case frameContinuation:
		return c.continuation(f)
	case frameReset:
		return c.reset(f)
	case frameSettings:
		if err := c.waste(); err != nil {
			return err
		}
		return c.settings(f)
	case framePing:
		return c.ping(f)
	case frameWindow:
		return c.windowUpdate(f)
	case framePush:
		return &connError{codeProtocol, "clients do not push"}
	case framePriority:
		if len(f.payload) != 5 {
			return &connError{codeFrameSize, "expected PRIORITY of 5 bytes"}
		}
	case frameGoAway: // it opens no more streams, and closes when it likes
	}
	return c.waste()
}

// kill ends the connection and its calls at once.
func (c *conn) kill(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail(err)
}

func (c *conn) fail(err error) {
	if c.err != nil {
		return
	}
	if err == nil {
		err = io.ErrClosedPipe
	}
	c.err = err
	c.nc.Close()
	for _, s := range c.streams {
		s.ended = true
		c.remove(s)
	}
	c.wake()
}

// tick is called each second.
func (c *conn) tick() {
	c.useless.Store(0)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.streams {
		if !s.dispatched && s.ctx.Err() != nil { // it is still being sent
			s.finish(statusOf(s.ctx.Err()))
		}
	}
	if c.draining > 0 {
		if c.draining++; c.draining > drainPing {
			c.lastCall()
		}
	}
	if c.idle++; c.active.Swap(false) {
		c.idle = 0
	}
	switch {
	case c.idle >= dieAfter:
		c.fail(errors.New("the client is gone"))
		return
	case c.idle == pingAfter:
		c.out = appendPing(c.out, 0, aliveData)
	}
	if len(c.out) > 0 && !c.writing {
		go c.flushLater() // this goroutine is all connections'
	}
}

func (c *conn) flushLater() {
	c.mu.Lock()
	c.flush()
	c.mu.Unlock()
}

var drainData, aliveData = [8]byte{'d', 'r', 'a', 'i', 'n'}, [8]byte{'a', 'l', 'i', 'v', 'e'}

// drain tells the client to open no more streams. Those that it opens before it knows are answered too.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining > 0 || c.err != nil {
		return
	}
	c.draining = 1
	c.out = appendGoAway(c.out, maxWindow, codeNone, "graceful_stop")
	c.out = appendPing(c.out, 0, drainData)
	go c.flushLater()
}

// lastCall tells the client which streams are answered.
func (c *conn) lastCall() {
	if c.last {
		return
	}
	c.last = true
	c.out = appendGoAway(c.out, c.maxID, codeNone, "graceful_stop")
	c.closeIfDone()
}

func (c *conn) closeIfDone() {
	if c.last && len(c.streams) == 0 {
		c.closing = true
	}
}

// sayGoodbye ends our side; the client has a second to end its own, so that
// what we have written is not lost to bytes that it still sends.
func (c *conn) sayGoodbye() {
	if c.goodbye {
		return
	}
	c.goodbye = true
	if half, ok := c.nc.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
	c.nc.SetReadDeadline(time.Now().Add(time.Second))
}
