package grpcapi

import (
	_ "embed"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
)

// protoSet is the FileDescriptorSet of the .proto files in api/oip, written by
// this package's tests with -update.
//
//go:embed oip.binpb
var protoSet []byte

// protoFile is a FileDescriptorProto, as far as reflection must know it.
type protoFile struct {
	bytes   []byte
	name    string
	imports []string
	symbols []string // full names of its types, services and methods
}

// protoFiles are the files that reflection knows.
var protoFiles = sync.OnceValue(func() []*protoFile {
	files := []*protoFile{readProtoFile(healthDescriptor())}
	eachField(protoSet, func(f field) error {
		files = append(files, readProtoFile(f.bytes))
		return nil
	})
	return files
})

// readProtoFile reads a FileDescriptorProto, one of ours.
func readProtoFile(b []byte) *protoFile {
	file := &protoFile{bytes: b}
	scope := ""
	eachField(b, func(f field) error {
		switch f.number {
		case 1:
			file.name = string(f.bytes)
		case 2:
			scope = string(f.bytes) // the package, which comes before its types
		case 3:
			file.imports = append(file.imports, string(f.bytes))
		case 4:
			file.addMessage(scope, f.bytes)
		case 5:
			file.add(scope, f.bytes)
		case 6:
			file.addService(scope, f.bytes)
		}
		return nil
	})
	return file
}

// add adds what a descriptor describes: field 1 of all of them is the name. It
// returns the full name.
func (f *protoFile) add(scope string, b []byte) string {
	var name string
	texts(b, &name)
	name = scope + "." + name
	f.symbols = append(f.symbols, name)
	return name
}

func (f *protoFile) addMessage(scope string, b []byte) {
	scope = f.add(scope, b)
	eachField(b, func(x field) error {
		switch x.number {
		case 3:
			f.addMessage(scope, x.bytes)
		case 4:
			f.add(scope, x.bytes) // an enum
		}
		return nil
	})
}

func (f *protoFile) addService(scope string, b []byte) {
	scope = f.add(scope, b)
	eachField(b, func(x field) error {
		if x.number == 2 {
			f.add(scope, x.bytes) // a method
		}
		return nil
	})
}

const (
	healthFile    = "grpc/health/v1/health.proto"
	healthPackage = "grpc.health.v1"
)

// healthDescriptor is the FileDescriptorProto of grpc.health.v1 as far as this server speaks it.
func healthDescriptor() message {
	const (
		typeString, typeEnum = 9, 14
		optional             = 1
	)
	field := func(name string) message { return message{}.text(1, name).number(3, 1).number(4, optional) }
	request := message{}.text(1, "HealthCheckRequest").inner(2, field("service").number(5, typeString).text(10, "service"))

	statuses := message{}.text(1, "ServingStatus")
	for i, name := range []string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"} {
		number := protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), uint64(i)) // 0 too: proto2
		statuses = statuses.inner(2, append(message{}.text(1, name), number...))
	}
	status := field("status").number(5, typeEnum).text(6, "."+healthPackage+".HealthCheckResponse.ServingStatus").text(10, "status")
	response := message{}.text(1, "HealthCheckResponse").inner(2, status).inner(4, statuses)

	method := func(name string) message {
		return message{}.text(1, name).text(2, "."+healthPackage+".HealthCheckRequest").text(3, "."+healthPackage+".HealthCheckResponse")
	}
	health := message{}.text(1, "Health").inner(2, method("Check")).inner(2, method("Watch").bool(6, true)) // server_streaming

	file := message{}.text(1, healthFile).text(2, healthPackage).inner(4, request).inner(4, response)
	return file.inner(6, health).text(12, "proto3")
}
