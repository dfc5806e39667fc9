package grpcapi

import (
	"context"
	"errors"
	"io"

	"google.golang.org/protobuf/proto"

	"github.com/salver-ml/salver/internal/grpcapi/rpc"
)

// recv reads and decodes the next request. An error of decoding is kept in the
// call, for the answer; the error here is the stream's.
func (c *call) recv(s *rpc.Stream) error {
	wire, err := s.Recv()
	if err != nil {
		return err
	}
	c.wire = wire // its tensors alias it
	if c.err = c.room.Add(c.size()); c.err == nil {
		c.err = c.decode(wire.Bytes())
	}
	return nil
}

// message is a pointer to a generated message.
type message[T any] interface {
	*T
	proto.Message
}

// unary is a method whose messages go through the generated code.
func unary[In, Out any, InP message[In], OutP message[Out]](f func(context.Context, *In) (*Out, error)) rpc.Handler {
	return func(s *rpc.Stream) (*rpc.Buffer, error) {
		in := new(In)
		if err := recv(s, InP(in)); err != nil {
			return nil, err
		}
		out, err := f(s.Context(), in)
		if err != nil {
			return nil, err
		}
		return marshal(OutP(out))
	}
}

// recv reads a call's one message.
func recv(s *rpc.Stream, m proto.Message) error {
	wire, err := s.Recv()
	if err != nil {
		return errNoMessage(err)
	}
	defer wire.Free()
	if err := proto.Unmarshal(wire.Bytes(), m); err != nil {
		return rpc.Errorf(rpc.Internal, "the message is not valid protobuf: %v", err)
	}
	return nil
}

func errNoMessage(err error) error {
	if errors.Is(err, io.EOF) {
		return rpc.Errorf(rpc.Internal, "expected one message, found none")
	}
	return err
}

func marshal(m proto.Message) (*rpc.Buffer, error) {
	b := rpc.NewBuffer(proto.Size(m))
	var err error
	b.Fill(func(to []byte) []byte {
		to, err = proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(to, m)
		return to
	})
	if err != nil {
		b.Free()
		return nil, err
	}
	return b, nil
}
