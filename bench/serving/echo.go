package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
)

// answerBytes is how much the echo servers send back of what they get: about
// as much as salver's answer to the same request.
const answerBytes = 200

// echo serves HTTP and gRPC on two addresses, doing as little as the libraries
// allow: the request is read, and its first bytes are the answer.
func echo(addresses []string) error {
	if len(addresses) != 2 {
		return errors.New("echo: expected two addresses, for HTTP and for gRPC")
	}
	h, err := net.Listen("tcp", addresses[0])
	if err != nil {
		return err
	}
	g, err := net.Listen("tcp", addresses[1])
	if err != nil {
		return err
	}
	go http.Serve(h, http.HandlerFunc(echoHTTP))
	s := grpc.NewServer(grpc.ForceServerCodecV2(bytesCodec{}), grpc.NumStreamWorkers(8), grpc.MaxConcurrentStreams(1024))
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "inference.GRPCInferenceService",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "ModelInfer", Handler: echoGRPC}},
	}, struct{}{})
	return s.Serve(g)
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

func echoHTTP(w http.ResponseWriter, r *http.Request) {
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	n, err := io.ReadFull(r.Body, *b)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header()["Content-Type"] = []string{"application/octet-stream"}
	w.Write((*b)[:min(n, answerBytes)])
}

func echoGRPC(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var in []byte
	if err := decode(&in); err != nil {
		return nil, err
	}
	return in[:min(len(in), answerBytes)], nil
}

// bytesCodec sends and gives messages as they are on the wire.
type bytesCodec struct{}

var _ encoding.CodecV2 = bytesCodec{}

func (bytesCodec) Name() string { return "proto" }

func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}
