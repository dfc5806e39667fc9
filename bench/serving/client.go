package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// client is one connection. ask sends the request and waits for the answer.
type client interface {
	ask() error
	close() error
}

type protocol struct {
	name string
	dial func(s *server) (client, error)
}

func protocols(only string) ([]protocol, error) {
	message, err := grpcRequest()
	if err != nil {
		return nil, err
	}
	all := []protocol{
		{"http-binary", dialHTTP(httpRequest(true))},
		{"http-json", dialHTTP(httpRequest(false))},
		{"grpc", dialGRPC(message)},
	}
	for _, p := range all {
		if p.name == only {
			return []protocol{p}, nil
		}
	}
	if only != "" {
		return nil, fmt.Errorf("-only %s: expected http-binary, http-json or grpc", only)
	}
	return all, nil
}

// httpClient costs as little as it can, since it shares the machine with the server.
type httpClient struct {
	conn    net.Conn
	request []byte
	buf     []byte
}

func dialHTTP(request []byte) func(*server) (client, error) {
	return func(s *server) (client, error) {
		c, err := net.Dial("tcp", s.http)
		return &httpClient{c, request, make([]byte, 8<<10)}, err
	}
}

func (c *httpClient) close() error { return c.conn.Close() }

func (c *httpClient) ask() error {
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	return c.answer()
}

var (
	ok       = []byte("HTTP/1.1 200 ")
	length   = []byte("Content-Length: ")
	headEnds = []byte("\r\n\r\n")
)

// answer reads a whole answer with a Content-Length.
func (c *httpClient) answer() error {
	n, need, last := 0, -1, false
	for need < 0 || n < need {
		m, err := c.conn.Read(c.buf[n:])
		if err != nil {
			return err
		}
		n += m
		if need >= 0 {
			continue
		}
		end := bytes.Index(c.buf[:n], headEnds)
		if end < 0 {
			continue
		}
		head := c.buf[:end+2]
		if !bytes.HasPrefix(head, ok) {
			return fmt.Errorf("answer: %s", c.buf[:n])
		}
		last = closes(head)
		_, rest, found := bytes.Cut(head, length)
		value, _, _ := bytes.Cut(rest, []byte("\r\n"))
		body, err := strconv.Atoi(string(value))
		if !found || err != nil {
			return errors.New("answer without Content-Length")
		}
		if need = end + 4 + body; need > len(c.buf) {
			return fmt.Errorf("answer of %d bytes", need)
		}
	}
	if last {
		return errClosing
	}
	return nil
}

type grpcClient struct {
	conn    *grpc.ClientConn
	request []byte
}

func dialGRPC(request []byte) func(*server) (client, error) {
	return func(s *server) (client, error) {
		conn, err := grpc.NewClient(s.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(bytesCodec{})))
		return &grpcClient{conn, request}, err
	}
}

func (c *grpcClient) close() error { return c.conn.Close() }

func (c *grpcClient) ask() error {
	var answer []byte
	err := c.conn.Invoke(context.Background(), "/inference.GRPCInferenceService/ModelInfer", c.request, &answer)
	if err == nil && len(answer) == 0 {
		return errors.New("empty answer")
	}
	return err
}
