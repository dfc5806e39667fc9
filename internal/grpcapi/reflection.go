package grpcapi

import (
	"errors"
	"io"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	pb "github.com/salver-ml/salver/api/oip"
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

// descriptors are the files that reflection knows, with those that they import.
var descriptors = func() map[string]string {
	all := pb.Descriptors()
	all[healthFile] = string(healthDescriptor())
	return all
}()

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
		if err := st.Send(pack(len(answer), func(b []byte) []byte { return append(b, answer...) })); err != nil {
			return nil, err
		}
	}
}

// reflectOn answers one ServerReflectionRequest.
func reflectOn(request []byte) ([]byte, error) {
	var host, ask field
	for b := request; len(b) > 0; {
		f, rest, err := next(b)
		switch {
		case err != nil:
			return nil, rpc.Errorf(rpc.Internal, "%s", err)
		case f.is(1, protowire.BytesType):
			host = f
		case f.number >= askFile && f.number <= askServices && f.kind == protowire.BytesType:
			ask = f
		}
		b = rest
	}
	out := appendInner(appendText(nil, answerHost, string(host.bytes)), answerRequest, request)
	name := string(ask.bytes)
	switch ask.number {
	case askFile:
		return appendFiles(out, name), nil
	case askSymbol:
		return appendFiles(out, fileOf(name)), nil
	case askExtension, askExtensions:
		return appendNotFound(out, "no message has extensions"), nil
	case askServices:
		var list []byte
		for _, s := range append(reflectionNames[:], healthName, serviceName) {
			list = appendInner(list, 1, appendText(nil, 1, s))
		}
		return appendInner(out, answerServices, list), nil
	}
	return nil, rpc.Errorf(rpc.InvalidArgument, "expected a request of ServerReflectionRequest, found none that is known")
}

// fileOf is the file that defines a symbol; "" if none does.
func fileOf(symbol string) string {
	if slices.Contains(healthSymbols[:], symbol) {
		return healthFile
	}
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(symbol))
	if err != nil {
		return ""
	}
	return d.ParentFile().Path()
}

func appendFiles(out []byte, name string) []byte {
	file, ok := descriptors[name]
	if !ok {
		return appendNotFound(out, "no file or symbol has this name")
	}
	list := appendInner(nil, 1, []byte(file))
	if d, err := protoregistry.GlobalFiles.FindFileByPath(name); err == nil {
		for i := range d.Imports().Len() {
			list = appendInner(list, 1, []byte(descriptors[d.Imports().Get(i).Path()]))
		}
	}
	return appendInner(out, answerFiles, list)
}

func appendNotFound(out []byte, message string) []byte {
	e := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(rpc.NotFound))
	return appendInner(out, answerError, appendText(e, 2, message))
}

const healthFile = "grpc/health/v1/health.proto"

// healthSymbols are what the file defines that clients ask for.
var healthSymbols = [...]string{
	healthName, healthName + ".Check", healthName + ".Watch",
	healthPackage + ".HealthCheckRequest", healthPackage + ".HealthCheckResponse", healthPackage + ".HealthCheckResponse.ServingStatus",
}

const healthPackage = "grpc.health.v1"

// healthDescriptor is the FileDescriptorProto of grpc.health.v1 as far as this server speaks it.
func healthDescriptor() []byte {
	number := func(b []byte, n protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
	}
	const (
		typeString, typeEnum = 9, 14
		optional             = 1
	)
	request := appendText(nil, 1, "HealthCheckRequest")
	request = appendInner(request, 2, appendText(number(number(number(appendText(nil, 1, "service"), 3, 1), 4, optional), 5, typeString), 10, "service"))

	statuses := appendText(nil, 1, "ServingStatus")
	for i, name := range []string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"} {
		statuses = appendInner(statuses, 2, number(appendText(nil, 1, name), 2, uint64(i)))
	}
	status := number(number(number(appendText(nil, 1, "status"), 3, 1), 4, optional), 5, typeEnum)
	status = appendText(appendText(status, 6, ".grpc.health.v1.HealthCheckResponse.ServingStatus"), 10, "status")
	response := appendInner(appendInner(appendText(nil, 1, "HealthCheckResponse"), 2, status), 4, statuses)

	method := func(name string) []byte {
		m := appendText(appendText(nil, 1, name), 2, ".grpc.health.v1.HealthCheckRequest")
		return appendText(m, 3, ".grpc.health.v1.HealthCheckResponse")
	}
	health := appendInner(appendText(nil, 1, "Health"), 2, method("Check"))
	health = appendInner(health, 2, number(method("Watch"), 6, 1)) // server_streaming

	file := appendText(appendText(nil, 1, healthFile), 2, healthPackage)
	file = appendInner(appendInner(file, 4, request), 4, response)
	return appendText(appendInner(file, 6, health), 12, "proto3")
}
