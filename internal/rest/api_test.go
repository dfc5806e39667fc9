package rest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/limit"
	"github.com/salver-ml/salver/internal/oip"
)

// echoAPI answers POST /v9/{model} with what it got.
func echoAPI(serve func(w http.ResponseWriter, r *http.Request, body []byte)) []API {
	if serve == nil {
		serve = func(w http.ResponseWriter, r *http.Request, body []byte) {
			fmt.Fprintf(w, "%s %s %s", r.PathValue("model"), oip.Tenant(r.Context()), body)
		}
	}
	return []API{{
		Roots:  []string{"v9"},
		Routes: []Route{{"POST", "/v9/{model}", oip.Use, serve}},
		Fail:   func(w http.ResponseWriter, status int, message string) { http.Error(w, "v9: "+message, status) },
	}}
}

func TestMountedAPI(t *testing.T) {
	flight := &limit.InFlight{Max: 1}
	h := New(testCore(t), Options{
		MaxBody: 40, APIs: echoAPI(nil), InFlight: flight, Pages: http.NotFoundHandler(), Hosts: []string{"here"},
		Authorize: oneKey, Tenant: func(key string) string { return "owner of " + key },
	})
	get := func(method, path, key, body string, header ...string) string {
		hd := http.Header{}
		for i := 0; i < len(header); i += 2 {
			hd.Set(header[i], header[i+1])
		}
		if key != "" {
			hd.Set("Authorization", "Bearer "+key)
		}
		w := send(t, h, method, "http://here"+path, hd, body)
		return fmt.Sprint(w.Code, " ", strings.TrimSpace(w.Body.String()))
	}
	for _, c := range []struct{ got, want string }{
		{get("POST", "/v9/m", "k", "hello"), "200 m owner of k hello"},
		{get("POST", "/v9/m", "k", compressed(t, "gzip", strings.Repeat("x", 99)), "Content-Encoding", "gzip"), "…v9: expected a body of at most 40 bytes…"},
		{get("POST", "/v9/m", "", "hello"), "401 v9: …"},
		{get("GET", "/v9/m", "k", ""), "405 v9: expected POST…"},
		{get("POST", "/v9/m/n", "k", ""), "404 v9: …"},
		{get("POST", "/v9/m", "k", strings.Repeat("x", 41)), "413 v9: expected a body of at most 40 bytes, found 41"},
		{get("GET", "/v2", "", ""), `401 {"error":…`},
		{get("POST", "/v9/m", "k", "", "Sec-Fetch-Site", "cross-site"), "403 v9: …"},
	} {
		if !like(c.got, c.want) {
			t.Errorf("%s\nexpected %s", c.got, c.want)
		}
	}
	flight.Enter()
	if got := get("POST", "/v9/m", "k", ""); !like(got, "429 v9: …") {
		t.Error(got)
	}
}

func oneKey(key string, _ oip.Access) error {
	if key == "k" {
		return nil
	}
	return oip.ErrUnauthenticated
}

// What is flushed arrives at once, a client that goes ends the context, and a
// stream that panics is not ended as if it were whole.
func TestMountedStream(t *testing.T) {
	canceled := make(chan error, 1)
	h := New(testCore(t), Options{APIs: echoAPI(func(w http.ResponseWriter, r *http.Request, body []byte) {
		io.WriteString(w, "first\n")
		http.NewResponseController(w).Flush()
		if string(body) == "panic" {
			panic("midway")
		}
		<-r.Context().Done()
		canceled <- context.Cause(r.Context())
	})})
	addr := serveOn(t, h)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	post := func(body string) *bufio.Reader {
		q, _ := http.NewRequestWithContext(ctx, "POST", "http://"+addr+"/v9/m", strings.NewReader(body))
		a, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { a.Body.Close() })
		return bufio.NewReader(a.Body)
	}
	if line, err := post("").ReadString('\n'); line != "first\n" || err != nil {
		t.Errorf("%q, %v", line, err)
	}
	cancel()
	select {
	case <-canceled:
	case <-time.After(10 * time.Second):
		t.Error("the context goes on without its client")
	}
	ctx = context.Background()
	r := post("panic")
	r.ReadString('\n')
	if rest, err := io.ReadAll(r); err == nil {
		t.Errorf("after a panic the stream ended in order with %q", rest)
	}
}

// A client that takes nothing can't keep a stream's resources.
func TestMountedSlowReader(t *testing.T) {
	failed := make(chan error, 1)
	h := New(testCore(t), Options{WriteTimeout: 50 * time.Millisecond, APIs: echoAPI(func(w http.ResponseWriter, r *http.Request, _ []byte) {
		var err error
		for err == nil {
			_, err = w.Write(make([]byte, 64<<10))
		}
		failed <- err
	})})
	dial(t, serveOn(t, h), "POST /v9/m HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	select {
	case err := <-failed:
		if timeout, ok := errors.AsType[interface {
			error
			Timeout() bool
		}](err); !ok || !timeout.Timeout() {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the writer waits for ever")
	}
}
