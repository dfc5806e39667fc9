//go:build unix

package cli

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestServeReloadsKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first:aaaaaaaaaaaaaaaaaaaa\n")
	r := startServe(t, "--demo", "--api-key-file", file)
	r.wait("(ready after)")
	status := func(key string, want int) {
		t.Helper()
		if code, text := r.ask("/v2/models/digits", "", key); code != want {
			t.Errorf("key %q: %d %s, expected %d", key, code, text, want)
		}
	}
	status("", 401)
	status("aaaaaaaaaaaaaaaaaaaa", 200)
	if code, _ := r.ask("/v2/health/ready", "", ""); code != 200 {
		t.Errorf("readiness without a key: %d", code)
	}
	for _, c := range []struct{ keys, says string }{{"", "(old API keys stay)"}, {"second:bbbbbbbbbbbbbbbbbbbb\n", "(keys read again)"}} {
		write(c.keys)
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		r.wait(c.says)
	}
	status("aaaaaaaaaaaaaaaaaaaa", 401)
	status("bbbbbbbbbbbbbbbbbbbb", 200)
	if err := r.end(); err != nil {
		t.Error(err)
	}
}

// half sends a request whose body does not end, and waits until the server reads that.
func half(t *testing.T, r *running) {
	t.Helper()
	conn, err := net.Dial("tcp", r.http)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprint(conn, "POST /v2/models/digits/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n")
	conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	answer := make([]byte, 64)
	if n, err := conn.Read(answer); !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 100 Continue") {
		t.Fatalf("expected the server to ask for the body, found %q, %v", answer[:n], err)
	}
	fmt.Fprint(conn, "{")
}

// A second signal ends the server though a request is unfinished.
func TestServeSecondSignal(t *testing.T) {
	caught := make(chan os.Signal, 1) // else one that comes too early would end the tests
	signal.Notify(caught, syscall.SIGTERM)
	r := startServe(t, "--demo")
	r.wait("(ready after)")
	half(t, r)
	defer signal.Stop(caught)
	r.stop()
	r.wait("(stopping)")
	for range 100 { // those before the server listens for a second one are nothing to it
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-r.ended:
			if err == nil || !strings.Contains(err.Error(), "second signal") {
				t.Errorf("it ended with %v", err)
			}
			return
		case <-time.After(secondSignal):
		}
	}
	t.Error("it does not end")
}

// A drain timeout that is too short is told, and the status is 1.
func TestServeDrainTimeout(t *testing.T) {
	r := startServe(t, "--demo", "--drain-timeout", "300ms")
	r.wait("(ready after)")
	half(t, r)
	if err := r.end(); err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("it ended with %v", err)
	}
}
