package grpcapi

import (
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that all other messages use
	"google.golang.org/grpc/mem"
)

var proto = encoding.GetCodecV2("proto")

// codec reads and writes inference messages itself and leaves the others to protobuf's.
type codec struct{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	if e, ok := v.(*encoded); ok {
		return mem.BufferSlice{e.buffer}, nil
	}
	return proto.Marshal(v)
}

// Unmarshal keeps the bytes of an inference request until its call is closed.
// An error in them is kept in the call, so that the client gets
// INVALID_ARGUMENT; an error from here would be INTERNAL.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	c, ok := v.(*call)
	if !ok {
		return proto.Unmarshal(data, v)
	}
	if data.Len() == 0 {
		c.err = c.decode(nil)
		return nil
	}
	if c.err = c.room.Add(data.Len()); c.err != nil {
		return nil
	}
	if len(data) == 1 {
		data[0].Ref()
		c.wire = data[0]
	} else {
		c.wire = data.MaterializeToBuffer(mem.DefaultBufferPool())
	}
	c.err = c.decode(c.wire.ReadOnlyData())
	return nil
}

// encoded is an answer that has been encoded.
type encoded struct{ buffer mem.Buffer }
