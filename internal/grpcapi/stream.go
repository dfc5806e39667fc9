package grpcapi

import (
	"context"
	"errors"
	"io"

	"github.com/salver-ml/salver/internal/grpcapi/rpc"
	"github.com/salver-ml/salver/internal/serve"
)

// streamAhead is how many requests of one stream may be in work at once.
const streamAhead = 64

// modelStreamInfer answers the requests of a stream, many at a time, in their
// order. A request's failure is an answer with an error_message, and the stream goes on.
func (s *Server) modelStreamInfer(stream *rpc.Stream) (*rpc.Buffer, error) {
	ctx, stop := context.WithCancel(stream.Context())
	defer stop()
	// Each request gets a place in the queue when it is read; the answer comes
	// through its channel.
	queue := make(chan chan *rpc.Buffer, streamAhead)
	ended := make(chan error, 1)
	go func() {
		defer close(queue)
		ended <- s.readStream(ctx, stream, queue)
	}()
	for {
		select {
		case answer, open := <-queue:
			if !open {
				return nil, <-ended
			}
			if err := stream.Send(<-answer); err != nil {
				return nil, err
			}
		case <-s.draining:
			return nil, s.finishStream(stream, queue)
		}
	}
}

// readStream reads requests and starts their work until the stream ends. All
// requests in work have streamAhead places; a large one takes as many as its share of MaxMessage.
func (s *Server) readStream(ctx context.Context, stream *rpc.Stream, queue chan<- chan *rpc.Buffer) error {
	places := make(chan struct{}, streamAhead)
	for {
		c := s.newCall()
		if err := c.recv(stream); err != nil {
			s.release(c)
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		answer := make(chan *rpc.Buffer, 1)
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
func (s *Server) finishStream(stream *rpc.Stream, queue <-chan chan *rpc.Buffer) error {
	for {
		select {
		case answer, open := <-queue:
			if !open {
				return nil
			}
			if err := stream.Send(<-answer); err != nil {
				return err
			}
		default:
			return rpc.Errorf(rpc.Unavailable, "the server is shutting down")
		}
	}
}

// streamAnswer answers one request with a ModelStreamInferResponse.
func (s *Server) streamAnswer(ctx context.Context, c *call) *rpc.Buffer {
	defer s.release(c)
	out, err := s.streamInfer(ctx, c)
	if err == nil {
		return out
	}
	failed := &serve.Response{Model: c.req.Model, Version: c.req.Version, ID: c.req.ID}
	text := serve.AsError(err).Message
	return pack(len(text)+128, func(b message) message {
		return b.text(1, text).inner(2, appendResponse(nil, failed, c.finalMark))
	})
}

func (s *Server) streamInfer(ctx context.Context, c *call) (out *rpc.Buffer, err error) {
	defer s.recover("ModelStreamInfer", &err)
	if f := s.opts.InFlight; f != nil {
		if !f.Enter() {
			return nil, errBusy(f)
		}
		defer f.Leave()
	}
	return s.infer(ctx, c, func(r *serve.Response, size int) *rpc.Buffer {
		return pack(size+16, func(b message) message {
			return b.inner(2, appendResponse(make(message, 0, size), r, c.finalMark))
		})
	})
}
