package rest

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// connected is a tracked connection and its client's end.
func connected(t *testing.T) (server *conn, client net.Conn) {
	t.Helper()
	var cs conns
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	client, err = net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := cs.track(inner).Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); c.Close() })
	return c.(*conn), client
}

// A later deadline holds though the connection has still the earlier one.
func TestLaterDeadline(t *testing.T) {
	c, client := connected(t)
	start := time.Now()
	for _, d := range []time.Duration{20 * time.Millisecond, time.Hour, 60 * time.Millisecond} {
		if err := c.SetReadDeadline(start.Add(d)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Read(make([]byte, 9)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) < 60*time.Millisecond {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	c.SetReadDeadline(time.Time{})
	time.AfterFunc(40*time.Millisecond, func() { client.Write([]byte("x")) })
	if n, err := c.Read(make([]byte, 9)); n != 1 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// http.Server's read for the client's leaving begins late, ends at once when
// that is asked for, and still sees the end of the connection.
func TestLurk(t *testing.T) {
	c, client := connected(t)
	past := time.Unix(1, 0)
	ended := make(chan error)
	read := func() {
		_, err := c.Read(make([]byte, 1))
		ended <- err
	}
	for _, wait := range []time.Duration{0, patience / 2, 3 * patience} {
		go read()
		time.Sleep(wait)
		if err := c.SetReadDeadline(past); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("ended after %v with %v", wait, err)
		}
		if err := c.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	go read()
	client.Close()
	if err := <-ended; err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the client left: %v", err)
	}
}
