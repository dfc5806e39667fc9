package rest

import (
	"net"

	"golang.org/x/sys/unix"
)

// refuseNew makes a listener deaf for new connections, while those whose
// handshake has begun complete it. It reports whether that was possible. A client
// that comes now tries again after a second, and finds the listener closed.
func refuseNew(l net.Listener) (ok bool) {
	const synAt, syn = 13, 0x02 // flags of a TCP header, where the filter begins
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: synAt},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jt: 0, Jf: 1, K: syn},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0xffffffff},
	}
	control(l, func(fd int) {
		ok = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}) == nil
	})
	return ok
}
