package rest

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/limit"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/serve/servetest"
	"github.com/salver-ml/salver/internal/tensor"
)

// serveOn starts a real server and gives its address.
func serveOn(t *testing.T, h http.Handler) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newHTTP(h, slog.New(slog.DiscardHandler))
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

func dial(t *testing.T, addr, text string) net.Conn {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, text)
	return c
}

// What is announced is not believed: no memory is taken and nothing is read for it.
func TestHugeContentLength(t *testing.T) {
	addr := serveOn(t, New(testCore(t), Options{}))
	c := dial(t, addr, "POST /v2/models/identity/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000000\r\n\r\n")
	answer, _ := io.ReadAll(c)
	if !strings.HasPrefix(string(answer), "HTTP/1.1 413 ") || !strings.Contains(string(answer), "expected a body of at most 67108864 bytes, found 10000000000") {
		t.Errorf("%s", answer)
	}
}

// What a request holds is bounded: its body, the tensors in JSON, and its answer.
func TestRoom(t *testing.T) {
	const kib = 1 << 10
	f := &limit.InFlight{MaxBytes: 512 * kib}
	h := New(testCore(t), Options{InFlight: f})
	zeros := func(n int) string {
		return fmt.Sprintf(`{"inputs":[{"name":"x","shape":[%d],"datatype":"FP32","data":[%s0]}]}`, n, strings.Repeat("0,", n-1))
	}
	binary := func(n int) (http.Header, string) {
		head := fmt.Sprintf(`{"inputs":[{"name":"x","shape":[%d],"datatype":"FP32","parameters":{"binary_data_size":%d}}],"outputs":[{"name":"y","parameters":{"binary_data":true}}]}`, n, 4*n)
		return http.Header{headerLength: {fmt.Sprint(len(head))}}, head + strings.Repeat("\x00", 4*n)
	}
	zipped := func(text string) (http.Header, string) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		io.WriteString(z, text)
		z.Close()
		return http.Header{"Content-Encoding": {"gzip"}}, b.String()
	}
	plain := func(text string) (http.Header, string) { return http.Header{}, text }
	try := func(name string, want int, header http.Header, body string) *httptest.ResponseRecorder {
		held := f.Bytes()
		w := send(t, h, "POST", "/v2/models/FP32/infer", header, body)
		if w.Code != want || want == 400 && !strings.Contains(w.Body.String(), "bytes of memory, the server allows 524288") {
			t.Errorf("%s: %d %.200s", name, w.Code, w.Body)
		}
		if f.Bytes() != held {
			t.Errorf("%s: %d bytes are held afterwards, %d before", name, f.Bytes(), held)
		}
		return w
	}
	run := func(name string, want int, make func() (http.Header, string)) {
		header, body := make()
		try(name, want, header, body)
	}
	run("binary", 200, func() (http.Header, string) { return binary(120 * kib) })
	run("binary too large", 400, func() (http.Header, string) { return binary(130 * kib) })
	run("JSON", 200, func() (http.Header, string) { return plain(zeros(20 * kib)) })
	run("JSON answer too large", 400, func() (http.Header, string) { return plain(zeros(30 * kib)) })
	run("tensor too large", 400, func() (http.Header, string) { return plain(zeros(90 * kib)) })
	run("inflated too large", 400, func() (http.Header, string) { return zipped(strings.Repeat(" ", 600*kib) + zeros(1)) })

	other := f.Room()
	if err := other.Add(400 * kib); err != nil {
		t.Fatal(err)
	}
	header, body := binary(50 * kib)
	if w := try("no room now", 429, header, body); w.Header().Get("Retry-After") != "1" || w.Header().Get("Connection") != "close" {
		t.Errorf("%v", w.Header())
	}
	header, body = binary(kib) // small ones are served all the same
	try("small", 200, header, body)
}

func TestSlowBody(t *testing.T) {
	addr := serveOn(t, New(testCore(t), Options{BodyTimeout: 50 * time.Millisecond}))
	for request, says := range map[string]string{
		"POST /v2/models/identity/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{":             "expected its 100 bytes in 50ms, found 1 bytes",
		"POST /v2/models/identity/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n{":          "expected 262144 bytes, or its end, every 50ms, found 1 bytes",
		"POST /v2/models/identity/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{": "expected 262144 bytes, or its end, every 50ms, found ",
		"POST /v2/unknown HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{":                           "", // net/http reads it
	} {
		start := time.Now()
		answer, _ := io.ReadAll(dial(t, addr, request))
		if time.Since(start) > 30*time.Second || strings.HasPrefix(string(answer), "HTTP/1.1 2") || !strings.Contains(string(answer), says) {
			t.Errorf("%s after %s: %s, expected %q", request, time.Since(start), answer, says)
		}
	}
}

// The time for the body does not end a long execution.
func TestLongInference(t *testing.T) {
	core := serve.New(serve.Options{})
	slow := servetest.Identity(4)
	slow.Delay = 300 * time.Millisecond
	if err := core.Register("slow", 1, slow, nil); err != nil {
		t.Fatal(err)
	}
	addr := serveOn(t, New(core, Options{BodyTimeout: 50 * time.Millisecond, WriteTimeout: 50 * time.Millisecond}))
	for range 2 {
		resp, err := http.Post("http://"+addr+"/v2/models/slow/infer", "application/json", strings.NewReader(x))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 {
			t.Errorf("%d %s %v", resp.StatusCode, b, err)
		}
	}
}

func TestDisconnectCancels(t *testing.T) {
	core := serve.New(serve.Options{})
	started, canceled := make(chan bool, 1), make(chan bool, 1)
	b := servetest.Identity(4)
	b.Func = func(ctx context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
		started <- true
		select {
		case <-ctx.Done():
			canceled <- true
			return nil, ctx.Err()
		case <-time.After(10 * time.Second):
			return in, nil
		}
	}
	if err := core.Register("m", 1, b, nil); err != nil {
		t.Fatal(err)
	}
	addr := serveOn(t, New(core, Options{}))
	c := dial(t, addr, fmt.Sprintf("POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(x), x))
	<-started
	c.Close()
	select {
	case <-canceled:
	case <-time.After(30 * time.Second):
		t.Error("the execution goes on after its client has gone")
	}
}

// A client that reads nothing does not keep its request for ever.
func TestSlowReader(t *testing.T) {
	core := serve.New(serve.Options{})
	b := servetest.Identity(4)
	b.Out[0].Shape = []int{-1}
	b.Func = fixed([]*tensor.Tensor{tensor.New(dtype.Float32, 16<<20)})
	if err := core.Register("identity", 1, b, nil); err != nil {
		t.Fatal(err)
	}
	addr := serveOn(t, New(core, Options{WriteTimeout: 100 * time.Millisecond}))
	body := `{"parameters":{"binary_data_output":true},` + x[1:]
	dial(t, addr, fmt.Sprintf("POST /v2/models/identity/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	deadline := time.Now().Add(30 * time.Second)
	for b.Released.Load() == 0 {
		if time.Now().After(deadline) {
			t.Fatal("the answer is still being written")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Clients that call without a pause lose no request when the server ends: each
// is answered or its connection is refused.
func TestDrain(t *testing.T) {
	s := NewServer(New(testCore(t), Options{}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			// Without retries, which the client makes for connections that it finds closed.
			client := &http.Client{Transport: &http.Transport{}}
			for {
				req, _ := http.NewRequest("POST", "http://"+l.Addr().String()+"/v2/models/identity/infer", io.NopCloser(strings.NewReader(x)))
				req.ContentLength = int64(len(x))
				resp, err := client.Do(req)
				if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
					return // no request was sent
				}
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
					t.Error(resp.StatusCode, err)
				}
				resp.Body.Close()
			}
		})
	}
	time.Sleep(50 * time.Millisecond)
	if err := s.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestCompressed(t *testing.T) {
	h := New(testCore(t), Options{MaxBody: 1 << 16})
	for _, encoding := range []string{"gzip", "deflate"} {
		head := http.Header{"Content-Encoding": {encoding}, "Accept-Encoding": {encoding}}
		if w := send(t, h, "POST", "/v2/models/identity/infer", head, compressed(t, encoding, x)); w.Code != 200 {
			t.Errorf("%s: %d %s", encoding, w.Code, w.Body)
		}
		// A bomb: 16 MiB of spaces in 16 KiB.
		bomb := compressed(t, encoding, strings.Repeat(" ", 16<<20))
		if w := send(t, h, "POST", "/v2/models/identity/infer", head, bomb); w.Code != 413 {
			t.Errorf("%s bomb: %d %s", encoding, w.Code, w.Body)
		}
		cut := compressed(t, encoding, x)
		if w := send(t, h, "POST", "/v2/models/identity/infer", head, cut[:len(cut)-3]); w.Code != 400 {
			t.Errorf("cut %s: %d %s", encoding, w.Code, w.Body)
		}
		// A large answer comes back compressed, a small one doesn't.
		body := `{"inputs":[{"name":"x","shape":[1000],"datatype":"FP32","data":[1` + strings.Repeat(",1", 999) + `]}]}`
		w := send(t, h, "POST", "/v2/models/FP32/infer", head, compressed(t, encoding, body))
		if w.Header().Get("Content-Encoding") != encoding {
			t.Fatalf("%s: %v", encoding, w.Header())
		}
		var r io.Reader
		if encoding == "gzip" {
			r, _ = gzip.NewReader(w.Body)
		} else {
			r, _ = zlib.NewReader(w.Body)
		}
		if b, err := io.ReadAll(r); err != nil || !strings.Contains(string(b), `"shape":[1000],"data":[1.0,1.0`) {
			t.Errorf("%s: %v %.100s", encoding, err, b)
		}
	}
	for header, want := range map[string]string{"": "", "gzip": "gzip", "br, gzip;q=0.5": "gzip", "gzip;q=0, deflate": "deflate", "gzip; q=0.0": "", "identity": "", "*": "", "DEFLATE": "deflate"} {
		if got := accepted(header); got != want {
			t.Errorf("Accept-Encoding %q: %q, want %q", header, got, want)
		}
	}
}

func compressed(t *testing.T, encoding, body string) string {
	var b bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&b)
	if encoding == "deflate" {
		w = zlib.NewWriter(&b)
	}
	io.WriteString(w, body)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
