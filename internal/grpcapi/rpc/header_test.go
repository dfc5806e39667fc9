package rpc

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"
)

// Blocks are what HPACK's decoder reads, with the client's table and without.
func TestEncoder(t *testing.T) {
	var got []string
	dec := hpack.NewDecoder(defaultTable, func(f hpack.HeaderField) { got = append(got, f.Name+"="+f.Value) })
	read := func(b []byte) string {
		got = nil
		if _, err := dec.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := dec.Close(); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(got)
	}
	var e encoder
	failed := &Error{Code: Unimplemented, Message: "100%\n", RetryAfter: 1500 * time.Millisecond}
	for i := range 6 {
		if i == 4 { // the client gives up its table
			e.setTable(0)
		}
		if i == 2 {
			if s := read(e.only(nil, failed)); !strings.HasPrefix(s, "[:status=200 content-type=application/grpc grpc-status=12 grpc-message=100%25%0A") {
				t.Error(s)
			}
		}
		if s := read(e.response(nil, "gzip")); s != "[:status=200 content-type=application/grpc grpc-encoding=gzip]" {
			t.Error(i, s)
		}
		b := e.trailers(nil, nil)
		if s := read(b); s != "[grpc-status=0]" || (i > 0 && i < 4) != (len(b) == 1) {
			t.Error(i, s, len(b))
		}
	}
}

func TestTimeout(t *testing.T) {
	for s, want := range map[string]time.Duration{"1n": 1, "20u": 20 * time.Microsecond, "300m": 300 * time.Millisecond, "4S": 4 * time.Second, "5M": 5 * time.Minute, "99999999H": 1<<63 - 1} {
		if d, ok := timeout(s); !ok || d != want {
			t.Errorf("%q: %v %v", s, d, ok)
		}
	}
	for _, s := range []string{"", "S", "5", "-1S", "1s", "+1S", "123456789S", "1.5S"} {
		if d, ok := timeout(s); ok {
			t.Errorf("%q: %v", s, d)
		}
	}
}
