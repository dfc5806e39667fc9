//go:build !unix

package rest

import "net"

// unread can't be told on this system.
func unread(net.Conn) bool { return false }

// waiting can't be told on this system.
func waiting(net.Listener) []net.Conn { return nil }
