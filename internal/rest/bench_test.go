//go:build unix

package rest

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/serve/servetest"
	"github.com/salver-ml/salver/internal/tensor"
)

// digits is an instant model with the shapes of a digit classifier.
func digits(side int) *servetest.Backend {
	out := []*tensor.Tensor{tensor.FromSlice([]float32{.01, .02, .9, .01, .01, .01, .01, .01, .01, .01}, 1, 10)}
	return &servetest.Backend{
		In:   []serve.TensorInfo{{Name: "image", DType: dtype.Float32, Shape: []int{-1, 1, side, side}}},
		Out:  []serve.TensorInfo{{Name: "scores", DType: dtype.Float32, Shape: []int{-1, 10}}},
		Func: fixed(out),
	}
}

// digitRequest is a request for digits, as JSON or in binary form.
func digitRequest(side int, binary bool) (header http.Header, body []byte) {
	n := side * side
	values := make([]float32, n)
	text := []byte{}
	for i := range values {
		values[i] = float32(i%255) / 255
		text = fmt.Appendf(text, ",%g", values[i])
	}
	if !binary {
		return http.Header{}, fmt.Appendf(nil, `{"inputs":[{"name":"image","shape":[1,1,%d,%d],"datatype":"FP32","data":[%s]}]}`, side, side, text[1:])
	}
	json := fmt.Appendf(nil, `{"inputs":[{"name":"image","shape":[1,1,%d,%d],"datatype":"FP32","parameters":{"binary_data_size":%d}}],"outputs":[{"name":"scores","parameters":{"binary_data":true}}]}`, side, side, 4*n)
	return http.Header{headerLength: {fmt.Sprint(len(json))}}, append(json, tensor.AsBytes(values)...)
}

// BenchmarkServe compares the handler with one that only reads the body and
// answers as many bytes, over real connections, with as many clients as
// b.RunParallel starts. The difference is the cost of the protocol.
func BenchmarkServe(b *testing.B) {
	for _, side := range []int{8, 28} {
		for _, binary := range []bool{true, false} {
			header, body := digitRequest(side, binary)
			core := serve.New(serve.Options{})
			if err := core.Register("digits", 1, digits(side), nil); err != nil {
				b.Fatal(err)
			}
			name := fmt.Sprintf("%dx%d binary=%v", side, side, binary)
			b.Run(name+"/salver", func(b *testing.B) { load(b, New(core, Options{}), header, body) })
			b.Run(name+"/echo", func(b *testing.B) {
				load(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					in, _ := io.ReadAll(r.Body)
					w.Write(in[:200])
				}), header, body)
			})
		}
	}
}

// load sends requests over raw connections, so that the client costs little.
func load(b *testing.B, h http.Handler, header http.Header, body []byte) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := newHTTP(h, slog.New(slog.DiscardHandler))
	go s.Serve(l)
	defer s.Close()
	var req bytes.Buffer
	fmt.Fprintf(&req, "POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n", len(body))
	header.Write(&req)
	req.WriteString("\r\n")
	req.Write(body)
	b.SetParallelism(16)
	b.ReportAllocs()
	cpu := cpuTime()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		buf := make([]byte, 4096)
		for pb.Next() {
			if _, err := c.Write(req.Bytes()); err != nil {
				b.Error(err)
				return
			}
			n, err := c.Read(buf) // answers are short: one write, one read
			if err != nil || !bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 200")) {
				b.Errorf("%v: %s", err, buf[:n])
				return
			}
		}
	})
	b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// BenchmarkHandler is the handler without the HTTP server.
func BenchmarkHandler(b *testing.B) {
	core := serve.New(serve.Options{})
	if err := core.Register("digits", 1, digits(8), nil); err != nil {
		b.Fatal(err)
	}
	h := New(core, Options{})
	for _, binary := range []bool{true, false} {
		header, body := digitRequest(8, binary)
		b.Run(fmt.Sprintf("binary=%v", binary), func(b *testing.B) {
			b.ReportAllocs()
			w := &sink{head: http.Header{}}
			reader := bytes.NewReader(body)
			r, _ := http.NewRequest("POST", "/v2/models/digits/infer", reader)
			r.Header = header
			for b.Loop() {
				reader.Reset(body)
				clear(w.head)
				h.ServeHTTP(w, r)
			}
		})
	}
}

type sink struct{ head http.Header }

func (s *sink) Header() http.Header              { return s.head }
func (s *sink) WriteHeader(int)                  {}
func (s *sink) Write(p []byte) (int, error)      { return len(p), nil }
func (s *sink) SetReadDeadline(time.Time) error  { return nil }
func (s *sink) SetWriteDeadline(time.Time) error { return nil }

// cpuTime is what this process has used: on a busy machine it says more than the clock.
func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
