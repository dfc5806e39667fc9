package rpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Each breaks the protocol, and the connection ends.
func TestProtocolErrors(t *testing.T) {
	call := func(b []byte, id uint32) []byte { return appendHeaders(b, id, flagEndHeaders, request("/t.T/Echo")) }
	for name, c := range map[string]struct {
		frames []byte
		code   uint32
	}{
		"data of stream 0":       {appendData(nil, 0, 0, nil), codeProtocol},
		"data before headers":    {appendData(nil, 1, 0, nil), codeProtocol},
		"even stream":            {call(nil, 2), codeProtocol},
		"large frame":            {appendFrame(nil, maxFrame+1, frameData, 0, 1), codeFrameSize},
		"push":                   {appendFrame(nil, 0, framePush, 0, 1), codeProtocol},
		"continuation alone":     {appendFrame(nil, 0, frameContinuation, 0, 1), codeProtocol},
		"data within headers":    {appendData(appendHeaders(nil, 1, 0, request("/t.T/Echo")), 1, 0, nil), codeProtocol},
		"headers without end":    {appendHeaders(call(nil, 1), 1, flagEndHeaders, nil), codeProtocol},
		"not HPACK":              {appendHeaders(nil, 1, flagEndHeaders, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), codeCompression},
		"half a field":           {appendHeaders(nil, 1, flagEndHeaders, []byte{0x00, 0x05, 'a'}), codeCompression},
		"padding":                {append(appendFrame(call(nil, 1), 2, frameData, flagPadded, 1), 9, 0), codeProtocol},
		"empty padded":           {appendFrame(call(nil, 1), 0, frameData, flagPadded, 1), codeFrameSize},
		"short ping":             {appendFrame(nil, 0, framePing, 0, 0), codeFrameSize},
		"short reset":            {appendFrame(call(nil, 1), 0, frameReset, 0, 1), codeFrameSize},
		"reset of an idle one":   {appendReset(nil, 7, 0), codeProtocol},
		"settings of five bytes": {append(appendFrame(nil, 5, frameSettings, 0, 0), 0, 0, 0, 0, 0), codeFrameSize},
		"window setting":         {appendSettings(nil, settingWindow, 1<<31), codeFlowControl},
		"frame setting":          {appendSettings(nil, settingFrame, 1), codeProtocol},
		"push setting":           {appendSettings(nil, settingPush, 2), codeProtocol},
		"window of nothing":      {appendWindow(nil, 0, 0), codeProtocol},
		"window overflow":        {appendWindow(nil, 0, maxWindow), codeFlowControl},
		"setting overflow":       {appendSettings(appendWindow(call(nil, 1), 1, maxWindow-65535), settingWindow, 65536), codeFlowControl},
	} {
		t.Run(name, func(t *testing.T) {
			r := dialRaw(t, listen(t, testServer()))
			r.Write(c.frames)
			r.goAway(c.code, false)
		})
	}
}

// Floods of what costs the client little end the connection.
func TestFloods(t *testing.T) {
	const few = 1000 // useless frames in a second, which a busy machine reads too
	flood := func(f func(i uint32, b []byte) []byte) []byte {
		var b []byte
		for i := range uint32(40 * few) {
			b = f(i, b)
		}
		return b
	}
	opened := appendHeaders(nil, 1, flagEndHeaders, request("/t.T/HangStream"))
	hang := request("/t.T/Hang")
	for name, frames := range map[string][]byte{
		"rapid reset": flood(func(i uint32, b []byte) []byte {
			return appendReset(appendHeaders(b, 2*i+1, flagEndHeaders|flagEndStream, hang), 2*i+1, 8)
		}),
		"settings":      flood(func(_ uint32, b []byte) []byte { return appendSettings(b) }),
		"empty data":    append(opened[:len(opened):len(opened)], flood(func(_ uint32, b []byte) []byte { return appendData(b, 1, 0, nil) })...),
		"pings":         flood(func(_ uint32, b []byte) []byte { return appendPing(b, 0, [8]byte{}) }),
		"priorities":    flood(func(_ uint32, b []byte) []byte { return append(appendFrame(b, 5, framePriority, 0, 1), 0, 0, 0, 0, 0) }),
		"continuations": append(appendHeaders(nil, 1, 0, nil), flood(func(_ uint32, b []byte) []byte { return appendFrame(b, 0, frameContinuation, 0, 1) })...),
		"a long block": append(appendHeaders(nil, 1, 0, nil), flood(func(_ uint32, b []byte) []byte {
			return append(appendFrame(b, 1000, frameContinuation, 0, 1), make([]byte, 1000)...)
		})[:1<<20]...),
	} {
		t.Run(name, func(t *testing.T) {
			server := testServer()
			server.maxUseless = few
			r := dialRaw(t, listen(t, server))
			go r.Write(frames)
			r.goAway(codeEnhanceCalm, true)
		})
	}
}

// Calls that are no gRPC calls are refused, and the connection goes on.
func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		block []byte
		field string
		want  string
	}{
		"unknown":   {request("/t.T/Nope"), "grpc-status", "12"},
		"encoding":  {request("/t.T/Echo", "grpc-encoding", "br"), "grpc-accept-encoding", acceptEncoding},
		"timeout":   {request("/t.T/Echo", "grpc-timeout", "5"), "grpc-status", "13"},
		"content":   {block(":method", "POST", ":scheme", "http", ":path", "/t.T/Echo", "content-type", "application/json"), ":status", "415"},
		"method":    {block(":method", "GET", ":scheme", "http", ":path", "/t.T/Echo"), ":status", "405"},
		"too large": {request("/t.T/Echo", "x", strings.Repeat("x", maxHeaderList)), "grpc-status", "8"},
	} {
		r := dialRaw(t, listen(t, testServer()))
		var b []byte
		block, kind, flags := c.block, frameHeaders, byte(flagEndStream)
		for first := true; first || len(block) > 0; first = false {
			n := min(len(block), maxFrame)
			if n == len(block) {
				flags |= flagEndHeaders
			}
			b = append(appendFrame(b, n, kind, flags, 1), block[:n]...)
			block, kind, flags = block[n:], frameContinuation, 0
		}
		r.Write(b)
		if f := r.until(frameHeaders); f.stream != 1 || !f.has(flagEndStream) || r.fields[c.field] != c.want {
			t.Errorf("%s: %v", name, r.fields)
		}
		r.Write(appendData(appendHeaders(nil, 3, flagEndHeaders, request("/t.T/Echo")), 3, flagEndStream, message("x")))
		if f := r.until(frameData); string(f.payload) != "\x00\x00\x00\x00\x01x" {
			t.Errorf("%s: the connection does not go on: %q", name, f.payload)
		}
	}
}

// What is wrong with one message ends its call only.
func TestMessages(t *testing.T) {
	long := binary.BigEndian.AppendUint32([]byte{0}, testMax+1)
	for name, c := range map[string]struct {
		body []byte
		want string // grpc-status
	}{
		"none":             {nil, "13"},
		"half a prefix":    {[]byte{0, 0}, "13"},
		"half a message":   {message("abc")[:6], "13"},
		"two":              {append(message("a"), message("b")...), "13"},
		"flag":             {[]byte{2, 0, 0, 0, 0}, "13"},
		"compressed":       {[]byte{1, 0, 0, 0, 0}, "13"},
		"too large":        {long, "8"},
		"empty is fine":    {message(""), "0"},
		"and any other is": {message("abc"), "0"},
	} {
		r := dialRaw(t, listen(t, NewServer(Options{MaxMessage: testMax, Methods: map[string]Method{"/t.T/Echo": {Handler: func(s *Stream) (*Buffer, error) {
			b, err := s.Recv()
			if err != nil {
				return nil, Errorf(Internal, "%v", err)
			}
			return b, nil
		}}}})))
		r.Write(appendData(appendHeaders(nil, 1, flagEndHeaders, request("/t.T/Echo")), 1, flagEndStream, c.body))
		for f := r.until(frameHeaders); !f.has(flagEndStream); f = r.until(frameHeaders) {
		}
		if r.fields["grpc-status"] != c.want {
			t.Errorf("%s: %v, want %s", name, r.fields, c.want)
		}
	}
}

// A client may take an answer byte by byte.
func TestTinyWindows(t *testing.T) {
	r := dialRaw(t, listen(t, testServer()), settingWindow, 0, settingTable, 0)
	text := "a message of some bytes"
	for i, path := range []string{"/t.T/Echo", "/t.T/Stream"} {
		id := uint32(2*i + 1)
		r.Write(appendData(appendHeaders(nil, id, flagEndHeaders, request(path)), id, flagEndStream, message(text)))
		var got []byte
		for len(got) < len(message(text)) {
			r.Write(appendWindow(nil, id, 1))
			f := r.until(frameData)
			if len(f.payload) != 1 || f.stream != id {
				t.Fatalf("%d bytes of data of stream %d, expected 1 of %d", len(f.payload), f.stream, id)
			}
			got = append(got, f.payload...)
		}
		if !bytes.Equal(got, message(text)) {
			t.Errorf("%q", got)
		}
		if f := r.until(frameHeaders); !f.has(flagEndStream) || r.fields["grpc-status"] != "0" {
			t.Error(r.fields)
		}
	}
}

// A client that stops reading holds little of ours, and its other calls are not lost.
func TestSlowReader(t *testing.T) {
	s := testServer()
	r := dialRaw(t, listen(t, s), settingWindow, maxWindow)
	r.Write(appendWindow(nil, 0, maxWindow-65535))
	big := message(strings.Repeat("x", 4<<20))
	const n = 8
	go func() {
		for i := range uint32(n) {
			b := appendHeaders(nil, 2*i+1, flagEndHeaders, request("/t.T/Echo"))
			for rest := big; len(rest) > 0; {
				k := min(len(rest), maxFrame)
				flags := byte(0)
				if k == len(rest) {
					flags = flagEndStream
				}
				b = appendData(b, 2*i+1, flags, rest[:k])
				rest = rest[k:]
			}
			if _, err := r.Write(b); err != nil {
				return
			}
		}
	}()
	time.Sleep(300 * time.Millisecond)
	for _, c := range s.all() {
		c.mu.Lock()
		if len(c.out)+cap(c.spare) > 2*(maxPending+maxWrite) {
			t.Errorf("%d bytes wait for a client that does not read", len(c.out))
		}
		c.mu.Unlock()
	}
	got := 0
	for ends := 0; ends < n; {
		f, ok := r.next()
		if !ok {
			t.Fatal("the connection ended")
		}
		if f.kind == frameData {
			got += len(f.payload)
		}
		if f.kind == frameHeaders && f.has(flagEndStream) {
			ends++
		}
	}
	if got != n*len(big) {
		t.Errorf("%d bytes, want %d", got, n*len(big))
	}
}

// A stream whose handler does not read stops its client at the window.
func TestStreamWindow(t *testing.T) {
	r := dialRaw(t, listen(t, testServer()))
	b := appendHeaders(nil, 1, flagEndHeaders, request("/t.T/HangStream"))
	for range streamWindow/maxFrame + 1 {
		b = appendData(b, 1, 0, make([]byte, maxFrame))
	}
	go r.Write(b)
	if f := r.until(frameReset); binary.BigEndian.Uint32(f.payload) != codeFlowControl {
		t.Errorf("reset with %x", f.payload)
	}
}

// The deadline of a call whose message never comes ends it.
func TestDeadlineOfPart(t *testing.T) {
	r := dialRaw(t, listen(t, testServer()))
	r.Write(appendData(appendHeaders(nil, 1, flagEndHeaders, request("/t.T/Echo", "grpc-timeout", "10m")), 1, 0, message("abc")[:4]))
	if r.until(frameHeaders); r.fields["grpc-status"] != "4" {
		t.Error(r.fields)
	}
}

// Canceled calls leave: their handlers and their places.
func TestCancel(t *testing.T) {
	places := make(chan struct{}, 1)
	s := NewServer(Options{MaxMessage: testMax, Methods: testServer().opts.Methods, Admit: func(string, Header) (func(), error) {
		return func() { places <- struct{}{} }, nil
	}})
	r := dialRaw(t, listen(t, s))
	for i, path := range []string{"/t.T/Hang", "/t.T/HangStream", "/t.T/Echo"} {
		id := uint32(2*i + 1)
		b := appendHeaders(nil, id, flagEndHeaders, request(path))
		if path == "/t.T/Hang" {
			b = appendData(b, id, flagEndStream, message("x"))
		}
		r.Write(b)
		time.Sleep(20 * time.Millisecond)
		if len(places) > 0 {
			t.Errorf("%s: its place is free before its end", path)
		}
		r.Write(appendReset(nil, id, 8))
		select {
		case <-places:
		case <-time.After(30 * time.Second):
			t.Errorf("%s: its place is not free", path)
		}
	}
}

// What was sent before the client knew of the drain is answered.
func TestDrainRace(t *testing.T) {
	s := testServer()
	r := dialRaw(t, listen(t, s))
	r.until(frameSettings)
	r.Write(appendFrame(nil, 0, frameSettings, flagAck, 0))
	done := make(chan error, 1)
	go func() { done <- s.Drain(context.Background()) }()
	if f := r.until(frameGoAway); binary.BigEndian.Uint32(f.payload) != maxWindow {
		t.Errorf("the first GOAWAY: %x", f.payload)
	}
	ping := r.until(framePing)
	b := appendData(appendHeaders(nil, 1, flagEndHeaders, request("/t.T/Echo")), 1, flagEndStream, message("late"))
	r.Write(append(b, appendPing(nil, flagAck, [8]byte(ping.payload))...))
	if f := r.until(frameData); string(f.payload[prefixSize:]) != "late" {
		t.Errorf("%q", f.payload)
	}
	for { // the second GOAWAY stands before or after the answer
		if _, ok := r.next(); !ok {
			break
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Whatever bytes come, the server does not panic, all handlers end, and little memory is taken.
func FuzzConn(f *testing.F) {
	head := appendHeaders(nil, 1, flagEndHeaders, request("/t.T/Echo"))
	f.Add(appendData(head, 1, flagEndStream, message("hello")))
	f.Add(appendHeaders(nil, 1, flagEndHeaders|flagEndStream, request("/t.T/Stream", "grpc-encoding", "gzip", "grpc-timeout", "1S")))
	f.Add(appendReset(appendHeaders(nil, 1, flagEndHeaders, request("/t.T/Hang")), 1, 8))
	f.Add(appendPing(appendSettings(nil, settingWindow, 0, settingTable, 0, settingFrame, maxFrame), 0, [8]byte{}))
	f.Add(appendWindow(appendWindow(head, 1, 5), 0, 5))
	f.Add(append(appendFrame(appendHeaders(nil, 1, 0, nil), 0, frameContinuation, flagEndHeaders, 1), appendGoAway(nil, 0, 0, "x")...))
	f.Add(appendData(head, 1, 0, []byte{0, 0, 0x7f, 0xff, 0xff}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s := testServer()
		here, there := net.Pipe()
		s.accept(there)
		go func() {
			buf := make([]byte, 1<<16)
			for {
				if _, err := here.Read(buf); err != nil {
					return
				}
			}
		}()
		here.SetWriteDeadline(time.Now().Add(30 * time.Second))
		here.Write(append(appendSettings([]byte(preface)), b...))
		here.Close()
		ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
		defer stop()
		if err := s.Drain(ctx); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20+uint64(64*len(b)) {
			t.Errorf("%d bytes of input took %d", len(b), n)
		}
	})
}
