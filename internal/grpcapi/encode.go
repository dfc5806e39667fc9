package grpcapi

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/grpcapi/rpc"
	"github.com/salver-ml/salver/internal/oip"
	"github.com/salver-ml/salver/internal/serve"
)

// encode writes a ModelInferResponse of at most size bytes. Outputs are always raw contents.
func encode(r *serve.Response, size int) *rpc.Buffer {
	return pack(size, func(b message) message { return appendResponse(b, r, false) })
}

// pack makes an answer of about size bytes.
func pack(size int, appendTo func(message) message) *rpc.Buffer {
	b := rpc.NewBuffer(size)
	b.Fill(func(to []byte) []byte { return appendTo(to) })
	return b
}

// maxAnswer is the most bytes of a message that all clients can take.
const maxAnswer = math.MaxInt32

// responseSize bounds the size of a response.
func responseSize(r *serve.Response) (int, error) {
	size := 128 + len(r.Model) + len(r.Version) + len(r.ID)
	for i := range r.Outputs {
		t := r.Outputs[i].Tensor
		if t.DType.OIP() == "" {
			return 0, serve.Errorf(serve.InvalidArgument, "output %q is %s, for which the protocol has no datatype; leave it out of the outputs", r.Outputs[i].Name, t.DType)
		}
		size += 64 + len(r.Outputs[i].Name) + 10*len(t.Shape) + oip.RawSize(t)
	}
	if size > maxAnswer {
		return 0, serve.Errorf(serve.InvalidArgument, "the outputs take %d bytes, a gRPC message at most %d: ask for fewer rows or outputs, or over HTTP", size, maxAnswer)
	}
	return size, nil
}

// appendResponse appends a ModelInferResponse; final adds the parameter that
// marks the last response to a request on a stream.
func appendResponse(b message, r *serve.Response, final bool) message {
	b = b.text(1, r.Model).text(2, r.Version).text(3, r.ID)
	if final {
		b = append(b, finalParameter...)
	}
	for i := range r.Outputs {
		b = appendOutput(b, &r.Outputs[i])
	}
	for i := range r.Outputs {
		t := r.Outputs[i].Tensor
		b = protowire.AppendTag(b, 6, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(oip.RawSize(t)))
		if t.DType == dtype.String {
			b = oip.AppendStrings(b, t.Strings)
		} else {
			b = append(b, t.Data...)
		}
	}
	return b
}

// finalParameter is the field parameters with {"triton_final_response": true}.
var finalParameter = message{}.inner(4, message{}.text(1, "triton_final_response").inner(2, message{}.bool(1, true)))

// appendOutput appends an InferOutputTensor.
func appendOutput(b message, o *serve.NamedTensor) message {
	dims := 0
	for _, d := range o.Tensor.Shape {
		dims += protowire.SizeVarint(uint64(d))
	}
	datatype := o.Tensor.DType.OIP()
	size := textSize(o.Name) + textSize(datatype)
	if dims > 0 {
		size += 1 + protowire.SizeBytes(dims)
	}
	b = protowire.AppendTag(b, 5, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	b = message(b).text(1, o.Name).text(2, datatype)
	if dims > 0 {
		b = protowire.AppendTag(b, 3, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(dims))
		for _, d := range o.Tensor.Shape {
			b = protowire.AppendVarint(b, uint64(d))
		}
	}
	return b
}

// textSize is the size of a string field whose number is below 16.
func textSize(s string) int {
	if s == "" {
		return 0
	}
	return 1 + protowire.SizeBytes(len(s))
}
