package rest

import (
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"
)

// A connection is closed only if it is idle and nothing has arrived on it.
func TestCloseIdle(t *testing.T) {
	var cs conns
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := cs.track(inner)
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now().Add(-time.Hour)
	open := func(what string, start time.Time, long time.Duration) {
		t.Helper()
		if cs.closeIdle(start, long) != 1 {
			t.Fatal("closed: " + what)
		}
	}
	open("it is new", begin, time.Minute)
	open("the end has just begun", time.Now(), time.Minute)
	if _, err := client.Write([]byte("GET")); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" {
		for !unread(c.(*conn).Conn) {
			time.Sleep(time.Millisecond)
		}
		open("a request lies unread", begin, 0)
	}
	if _, err := c.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	open("the rest of its headers may come", begin, 0)
	c.(*conn).state.Store(busy)
	c.(*conn).since.Store(0)
	open("its request is being answered", begin, 0)
	cs.changed(c, http.StateIdle)
	open("it has just become idle", begin, time.Minute)
	if left := cs.closeIdle(begin, 0); left != 0 {
		t.Errorf("%d connections left, expected none", left)
	}
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("the idle connection is open")
	}
}

// Half of a request's headers does not hold up the end.
func TestCloseLateHeaders(t *testing.T) {
	var cs conns
	here, there := net.Pipe()
	defer there.Close()
	c := (&listener{conns: &cs}).add(here)
	go there.Write([]byte("GET"))
	if _, err := c.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	begin := time.Now().Add(-time.Hour)
	if cs.closeIdle(begin, 0) != 1 {
		t.Error("closed while the rest of its headers may come")
	}
	c.since.Store(begin.UnixNano())
	if left := cs.closeIdle(time.Now(), 0); left != 1 {
		t.Error("closed as soon as the server ends")
	}
	if left := cs.closeIdle(begin, 0); left != 0 {
		t.Errorf("%d connections left, expected none", left)
	}
}
