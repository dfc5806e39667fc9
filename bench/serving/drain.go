package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// drain ends salver with SIGTERM under load, again and again, and counts the
// requests that were sent and not answered.
func drain(o *options) error {
	list, err := protocols(o.only)
	if err != nil {
		return err
	}
	for i := range list {
		var answered, lost int64
		for range o.runs {
			a, l, err := drainOnce(o, &list[i])
			if err != nil {
				return err
			}
			answered, lost = answered+a, lost+l
		}
		fmt.Printf("%s: %d ends under load of %d connections, %d requests answered, %d lost\n", list[i].name, o.runs, o.connections, answered, lost)
	}
	return nil
}

func drainOnce(o *options, p *protocol) (answered, lost int64, err error) {
	s, err := start("salver", o.serverCPUs, o.salver, func(h, g string) []string { return append(o.salverFlags(), "--http", h, "--grpc", g) })
	if err != nil {
		return 0, 0, err
	}
	if err := s.wait("/v2/health/ready"); err != nil {
		return 0, 0, err
	}
	var done, failed atomic.Int64
	var wg sync.WaitGroup
	for range o.connections {
		wg.Go(func() { askUntilRefused(p, s, &done, &failed) })
	}
	time.Sleep(time.Duration(o.seconds * float64(time.Second) / 2))
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, 0, err
	}
	wg.Wait()
	return done.Load(), failed.Load(), s.process.Wait()
}

// askUntilRefused asks over one connection, and over a new one when the server
// said that it closes that, until it takes no more.
func askUntilRefused(p *protocol, s *server, done, lost *atomic.Int64) {
	for {
		c, err := p.dial(s)
		if err != nil {
			return // no request was sent
		}
		for err == nil {
			if err = c.ask(); err == nil || errors.Is(err, errClosing) {
				done.Add(1)
			}
		}
		c.close()
		switch {
		case errors.Is(err, errClosing):
		case status.Code(err) == codes.Unavailable && strings.Contains(err.Error(), "dialing"):
			return
		default:
			fmt.Println("  lost:", err)
			lost.Add(1)
			return
		}
	}
}

// errClosing comes with the last answer that a server gives over a connection.
var errClosing = errors.New("the server closes this connection")

// closes reports whether an answer is the last one of its connection.
func closes(head []byte) bool { return bytes.Contains(head, []byte("Connection: close\r\n")) }
