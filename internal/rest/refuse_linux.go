package rest

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// takeAll takes the connections that wait to be accepted and lets in no more:
// the listener's queue is cut to one place, which a connection of our own takes. A
// client that comes now tries again after a second, and finds the listener
// closed. plug is our connection; it is nil if others were always faster.
func takeAll(l net.Listener) (list []net.Conn, plug net.Conn) {
	control(l, func(fd int) { _ = unix.Listen(fd, 0) })
	for range 50 {
		list = append(list, waiting(l)...)
		if c, err := net.DialTimeout(l.Addr().Network(), l.Addr().String(), 10*time.Millisecond); err == nil {
			return list, c
		}
	}
	return append(list, waiting(l)...), nil
}
