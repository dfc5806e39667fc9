//go:build unix

package cli

import (
	"fmt"
	"net"
	"os"
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

// A second signal ends the server though a request is unfinished.
func TestServeSecondSignal(t *testing.T) {
	r := startServe(t, "--demo")
	r.wait("(ready after)")
	conn, err := net.Dial("tcp", r.http)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v2/models/digits/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
	time.Sleep(50 * time.Millisecond)
	r.stop()
	r.wait("(stopping)")
	time.Sleep(2 * secondSignal)
	start := time.Now()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-r.ended:
		if err == nil || !strings.Contains(err.Error(), "second signal") {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it does not end")
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
}

// A drain timeout that is too short is told, and the status is 1.
func TestServeDrainTimeout(t *testing.T) {
	r := startServe(t, "--demo", "--drain-timeout", "300ms")
	r.wait("(ready after)")
	conn, err := net.Dial("tcp", r.http)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v2/models/digits/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
	time.Sleep(50 * time.Millisecond)
	if err := r.end(); err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("it ended with %v", err)
	}
}
