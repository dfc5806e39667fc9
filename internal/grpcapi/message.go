package grpcapi

import (
	"context"
	"errors"
	"io"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/salver-ml/salver/internal/grpcapi/rpc"
)

// message is a protobuf message that is being written. As proto3 has it, a
// field with the zero value of its type is left out.
type message []byte

func (m message) text(n protowire.Number, s string) message {
	if s == "" {
		return m
	}
	return protowire.AppendString(protowire.AppendTag(m, n, protowire.BytesType), s)
}

func (m message) texts(n protowire.Number, list []string) message {
	for _, s := range list {
		m = protowire.AppendString(protowire.AppendTag(m, n, protowire.BytesType), s)
	}
	return m
}

// number writes any integer or enum but those of types sint and fixed.
func (m message) number(n protowire.Number, v int64) message {
	if v == 0 {
		return m
	}
	return protowire.AppendVarint(protowire.AppendTag(m, n, protowire.VarintType), uint64(v))
}

func (m message) bool(n protowire.Number, v bool) message {
	return m.number(n, int64(protowire.EncodeBool(v)))
}

// inner writes a message as a field, an empty one too.
func (m message) inner(n protowire.Number, x message) message {
	return protowire.AppendBytes(protowire.AppendTag(m, n, protowire.BytesType), x)
}

// numbers writes a repeated field of integers.
func numbers[T int | int64](m message, n protowire.Number, list []T) message {
	if len(list) == 0 {
		return m
	}
	var packed []byte
	for _, v := range list {
		packed = protowire.AppendVarint(packed, uint64(v))
	}
	return m.inner(n, packed)
}

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

// unary is a method with one small request. f reads it: it is gone afterwards.
func unary(f func(ctx context.Context, request []byte) (message, error)) rpc.Handler {
	return func(s *rpc.Stream) (*rpc.Buffer, error) {
		wire, err := recvOne(s)
		if err != nil {
			return nil, err
		}
		defer wire.Free()
		out, err := f(s.Context(), wire.Bytes())
		if err != nil {
			return nil, err
		}
		return out.buffer(), nil
	}
}

// recvOne reads a call's one message.
func recvOne(s *rpc.Stream) (*rpc.Buffer, error) {
	wire, err := s.Recv()
	if err != nil {
		return nil, errNoMessage(err)
	}
	return wire, nil
}

func errNoMessage(err error) error {
	if errors.Is(err, io.EOF) {
		return rpc.Errorf(rpc.Internal, "expected one message, found none")
	}
	return err
}

// buffer is a copy of the message that can be sent.
func (m message) buffer() *rpc.Buffer {
	return pack(len(m), func(b message) message { return append(b, m...) })
}

// eachField calls f with every field of a small request.
func eachField(request []byte, f func(field) error) (err error) {
	for b := request; len(b) > 0; {
		var x field
		if x, b, err = next(b); err != nil {
			return rpc.Errorf(rpc.Internal, "%s", err)
		}
		if err := f(x); err != nil {
			return err
		}
	}
	return nil
}

// text is the field's string.
func (f *field) text() (string, error) {
	if !utf8.Valid(f.bytes) {
		return "", rpc.Errorf(rpc.Internal, "field %d: expected UTF-8, found %q", f.number, f.bytes[:min(len(f.bytes), 40)])
	}
	return string(f.bytes), nil
}

// texts reads the fields of type string that a request has under the numbers from 1 on.
func texts(request []byte, into ...*string) error {
	return eachField(request, func(f field) (err error) {
		if f.kind == protowire.BytesType && int(f.number) <= len(into) {
			*into[f.number-1], err = f.text()
		}
		return err
	})
}
