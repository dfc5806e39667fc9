// Package oipgrpc is grpc-go's client and server of the Open Inference Protocol.
// Tests and benchmarks use it: it is the other side of the server in internal/grpcapi.
package oipgrpc
