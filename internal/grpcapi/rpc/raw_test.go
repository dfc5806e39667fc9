package rpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"
)

// echo answers with the message, and a stream with each.
func echo(s *Stream) (*Buffer, error) { return s.Recv() }

func echoStream(s *Stream) (*Buffer, error) {
	for {
		b, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if err := s.Send(b); err != nil {
			return nil, err
		}
	}
}

// hang answers when the call's context ends.
func hang(s *Stream) (*Buffer, error) {
	<-s.Context().Done()
	return nil, s.Context().Err()
}

const testMax = 8 << 20

func testServer() *Server {
	return NewServer(Options{MaxMessage: testMax, Methods: map[string]Method{
		"/t.T/Echo": {Handler: echo}, "/t.T/Stream": {Handler: echoStream, Streaming: true},
		"/t.T/Hang": {Handler: hang}, "/t.T/HangStream": {Handler: hang, Streaming: true},
	}})
}

func listen(t testing.TB, s *Server) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	t.Cleanup(func() {
		ctx, stop := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer stop()
		s.Drain(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.conns) > 0 {
			t.Errorf("%d connections are left", len(s.conns))
		}
	})
	return l
}

// raw is a client that writes frames.
type raw struct {
	t testing.TB
	net.Conn
	dec    *hpack.Decoder
	fields map[string]string
}

// dialRaw connects and sends the preface with the settings.
func dialRaw(t testing.TB, l net.Listener, settings ...uint32) *raw {
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	r := &raw{t: t, Conn: nc, fields: map[string]string{}}
	r.dec = hpack.NewDecoder(defaultTable, func(f hpack.HeaderField) { r.fields[f.Name] = f.Value })
	r.Write(appendSettings([]byte(preface), settings...))
	return r
}

// request is the header block of a call.
func request(path string, more ...string) []byte {
	return block(append([]string{":method", "POST", ":scheme", "http", ":path", path, ":authority", "t", "content-type", "application/grpc", "te", "trailers"}, more...)...)
}

func block(fields ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := 0; i < len(fields); i += 2 {
		e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1], Sensitive: true})
	}
	return b.Bytes()
}

func appendHeaders(b []byte, id uint32, flags byte, block []byte) []byte {
	return append(appendFrame(b, len(block), frameHeaders, flags, id), block...)
}

func appendData(b []byte, id uint32, flags byte, data []byte) []byte {
	return append(appendFrame(b, len(data), frameData, flags, id), data...)
}

func message(s string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(s))), s...)
}

// next reads a frame; ok is false at the connection's end.
func (r *raw) next() (f frame, ok bool) {
	var h [headerSize]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		if timeout, is := errors.AsType[net.Error](err); is && timeout.Timeout() {
			r.t.Error("the server is silent")
		}
		return f, false
	}
	f = frame{kind: h[3], flags: h[4], stream: binary.BigEndian.Uint32(h[5:]), payload: make([]byte, int(h[0])<<16|int(h[1])<<8|int(h[2]))}
	if _, err := io.ReadFull(r, f.payload); err != nil {
		return f, false
	}
	if f.kind == frameHeaders && f.has(flagEndHeaders) {
		if _, err := r.dec.Write(f.payload); err != nil {
			r.t.Error(err)
		}
	}
	return f, true
}

// until reads to a frame of a kind.
func (r *raw) until(kind byte) frame {
	for {
		f, ok := r.next()
		if !ok {
			r.t.Fatalf("the connection ended before a frame of kind %d", kind)
		}
		if f.kind == kind {
			return f
		}
	}
}

// goAway reads to the end, which has a GOAWAY with the code. A reset of TCP's
// may overtake that of a client that still sends.
func (r *raw) goAway(code uint32, sends bool) {
	r.t.Helper()
	found := -1
	for {
		f, ok := r.next()
		if !ok {
			break
		}
		if f.kind == frameGoAway {
			found = int(binary.BigEndian.Uint32(f.payload[4:]))
		}
	}
	if found != int(code) && !(sends && found < 0) {
		r.t.Errorf("GOAWAY with code %d, want %d", found, code)
	}
}
