package grpcapi

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/salver-ml/salver/internal/serve"
)

// streamAhead is how many requests of one stream may be in work at once.
const streamAhead = 64

// modelStreamInfer answers the requests of a stream, many at a time, in their
// order. A request's failure is an answer with an error_message, and the stream goes on.
func (s *Server) modelStreamInfer(stream grpc.ServerStream) (err error) {
	defer s.recover("ModelStreamInfer", &err)
	ctx, stop := context.WithCancel(stream.Context())
	defer stop()
	// Each request gets a place in the queue when it is read; the answer comes
	// through its channel.
	queue := make(chan chan *encoded, streamAhead)
	ended := make(chan error, 1)
	go func() {
		defer close(queue)
		ended <- s.readStream(ctx, stream, queue)
	}()
	for {
		select {
		case answer, open := <-queue:
			if !open {
				return <-ended
			}
			if err := stream.SendMsg(<-answer); err != nil {
				return err
			}
		case <-s.draining:
			return s.finishStream(stream, queue)
		}
	}
}

// readStream reads requests and starts their work until the stream ends. All
// requests in work have streamAhead places; a large one takes as many as its share of MaxMessage.
func (s *Server) readStream(ctx context.Context, stream grpc.ServerStream, queue chan<- chan *encoded) error {
	places := make(chan struct{}, streamAhead)
	for {
		c := s.newCall()
		if err := stream.RecvMsg(c); err != nil {
			s.release(c)
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		answer := make(chan *encoded, 1)
		select {
		case queue <- answer:
		case <-ctx.Done():
			s.release(c)
			return ctx.Err()
		}
		n := c.size()*(streamAhead-1)/s.opts.MaxMessage + 1
		for range n {
			places <- struct{}{} // those in work end, also when ctx does
		}
		go func() {
			answer <- s.streamAnswer(ctx, c)
			for range n {
				<-places
			}
		}()
	}
}

// finishStream sends the answers of requests that have been read when the
// server begins to stop, and ends the stream.
func (s *Server) finishStream(stream grpc.ServerStream, queue <-chan chan *encoded) error {
	for {
		select {
		case answer, open := <-queue:
			if !open {
				return nil
			}
			if err := stream.SendMsg(<-answer); err != nil {
				return err
			}
		default:
			return status.Error(codes.Unavailable, "the server is shutting down")
		}
	}
}

// streamAnswer answers one request with a ModelStreamInferResponse.
func (s *Server) streamAnswer(ctx context.Context, c *call) *encoded {
	defer s.release(c)
	out, err := s.streamInfer(ctx, c)
	if err == nil {
		return out
	}
	failed := &serve.Response{Model: c.req.Model, Version: c.req.Version, ID: c.req.ID}
	message := serve.AsError(err).Message
	return pack(len(message)+128, func(b []byte) []byte {
		return appendInner(appendText(b, 1, message), 2, appendResponse(nil, failed, c.finalMark))
	})
}

func (s *Server) streamInfer(ctx context.Context, c *call) (out *encoded, err error) {
	defer s.recover("ModelStreamInfer", &err)
	if f := s.opts.InFlight; f != nil {
		if !f.Enter() {
			return nil, errBusy(f)
		}
		defer f.Leave()
	}
	return s.infer(ctx, c, func(r *serve.Response, size int) *encoded {
		return pack(size+16, func(b []byte) []byte {
			return appendInner(b, 2, appendResponse(make([]byte, 0, size), r, c.finalMark))
		})
	})
}

// appendInner appends a message as a field.
func appendInner(b []byte, field protowire.Number, message []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), message)
}
