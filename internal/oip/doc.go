// Package oip holds what the HTTP and gRPC forms of the Open Inference Protocol
// have in common: datatype names, raw tensor contents, request parameters and
// the classification extension.
package oip

// Extensions are those of the server metadata that both transports honour.
var Extensions = []string{
	"binary_tensor_data", "classification", "parameters", "schedule_policy",
	"model_repository", "model_configuration", "statistics",
}

// MaxRank bounds the dimensions of a tensor in a request.
const MaxRank = 32
