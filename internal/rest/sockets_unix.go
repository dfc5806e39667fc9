//go:build unix

package rest

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// unread reports whether a connection has received what nobody has read yet.
func unread(c net.Conn) bool {
	n := 0
	control(c, func(fd int) {
		var b [1]byte
		n, _, _ = unix.Recvfrom(fd, b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	})
	return n > 0
}

// waiting takes the connections that wait to be accepted. To close their
// listener would reset them.
func waiting(l net.Listener) (list []net.Conn) {
	control(l, func(fd int) {
		for {
			accepted, _, err := unix.Accept(fd)
			if err == unix.EINTR || err == unix.ECONNABORTED {
				continue
			}
			if err != nil { // EAGAIN: there are no more
				return
			}
			unix.CloseOnExec(accepted)
			f := os.NewFile(uintptr(accepted), "connection")
			if c, err := net.FileConn(f); err == nil {
				list = append(list, c)
			}
			f.Close() // the connection has a copy
		}
	})
	return list
}

// control calls f with the socket of a connection or listener that has one.
func control(x any, f func(fd int)) {
	sc, ok := x.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	if err := raw.Control(func(fd uintptr) { f(int(fd)) }); err != nil {
		return // it is closed
	}
}
