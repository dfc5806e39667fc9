package grpcapi

import (
	"errors"
	"io"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/salver-ml/salver/internal/grpcapi/rpc"
)

// reflectionNames are the two names of the reflection service, whose messages are the same.
var reflectionNames = [...]string{"grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}

// The fields of ServerReflectionRequest and ServerReflectionResponse.
const (
	askFile       protowire.Number = 3
	askSymbol     protowire.Number = 4
	askExtension  protowire.Number = 5
	askExtensions protowire.Number = 6
	askServices   protowire.Number = 7

	answerHost     protowire.Number = 1
	answerRequest  protowire.Number = 2
	answerFiles    protowire.Number = 4
	answerServices protowire.Number = 6
	answerError    protowire.Number = 7
)

// reflect answers ServerReflectionInfo.
func (s *Server) reflect(st *rpc.Stream) (*rpc.Buffer, error) {
	for {
		wire, err := st.Recv()
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		answer, err := reflectOn(wire.Bytes())
		wire.Free()
		if err != nil {
			return nil, err
		}
		if err := st.Send(answer.buffer()); err != nil {
			return nil, err
		}
	}
}

// reflectOn answers one ServerReflectionRequest.
func reflectOn(request []byte) (message, error) {
	var host, ask field
	err := eachField(request, func(f field) error {
		switch {
		case f.is(1, protowire.BytesType):
			host = f
		case f.number >= askFile && f.number <= askServices && f.kind == protowire.BytesType:
			ask = f
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := message{}.text(answerHost, string(host.bytes)).inner(answerRequest, request)
	name := string(ask.bytes)
	switch ask.number {
	case askFile:
		return appendFiles(out, func(f *protoFile) bool { return f.name == name }), nil
	case askSymbol:
		return appendFiles(out, func(f *protoFile) bool { return slices.Contains(f.symbols, name) }), nil
	case askExtension, askExtensions:
		return appendNotFound(out, "no message has extensions"), nil
	case askServices:
		var list message
		for _, s := range append(reflectionNames[:], healthName, serviceName) {
			list = list.inner(1, message{}.text(1, s))
		}
		return out.inner(answerServices, list), nil
	}
	return nil, rpc.Errorf(rpc.InvalidArgument, "expected a request of ServerReflectionRequest, found none that is known")
}

// appendFiles appends the first file that is sought, and those that it imports.
func appendFiles(out message, sought func(*protoFile) bool) message {
	files := protoFiles()
	i := slices.IndexFunc(files, sought)
	if i < 0 {
		return appendNotFound(out, "no file or symbol has this name")
	}
	list := message{}.inner(1, files[i].bytes)
	for _, f := range files {
		if slices.Contains(files[i].imports, f.name) {
			list = list.inner(1, f.bytes)
		}
	}
	return out.inner(answerFiles, list)
}

func appendNotFound(out message, text string) message {
	return out.inner(answerError, message{}.number(1, int64(rpc.NotFound)).text(2, text))
}
