package auth

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// CheckListen refuses to listen beyond this machine without API keys. addrs are
// HOST:PORT; an empty host is every address of the machine, and an empty
// address is none. Names other than localhost count as beyond.
func CheckListen(addrs []string, haveKeys bool) error {
	for _, a := range addrs {
		if a == "" {
			continue
		}
		host, _, err := net.SplitHostPort(a)
		if err != nil {
			return fmt.Errorf("listen address %q: expected HOST:PORT, such as 127.0.0.1:8000", a)
		}
		if !haveKeys && !Loopback(host) {
			return fmt.Errorf("listen address %q: without API keys everybody who reaches this machine could use the server: give --api-key-file FILE, or listen on 127.0.0.1", a)
		}
	}
	return nil
}

// Loopback reports whether a host is this machine only.
func Loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return strings.EqualFold(host, "localhost")
	}
	return ip.Unmap().IsLoopback()
}
