// Package oip holds the messages of the Open Inference Protocol (KServe v2)
// with Triton's extensions: the gRPC service, its messages, and the model
// configuration that config.pbtxt is written in. The JSON forms of the HTTP API
// live with their handlers in internal/rest. The program itself links none of
// this: internal/grpcapi reads and writes the messages by hand, and its tests
// compare. oipgrpc has grpc-go's client and server of the service, for tests.
//
// The generated files are committed. To make them again, with protoc 3.21 or
// newer and the two plugins on the PATH:
//
//	go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
//	go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
//	go generate ./api/oip
//	go test ./internal/grpcapi -run ProtoSet -update
package oip

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=oipgrpc --go-grpc_opt=paths=source_relative inference.proto model_config.proto
//go:generate sed -i -e "s/^package oip$/package oipgrpc/" -e "s|^\tcontext \"context\"$|&\n\t. \"github.com/salver-ml/salver/api/oip\"|" oipgrpc/inference_grpc.pb.go
