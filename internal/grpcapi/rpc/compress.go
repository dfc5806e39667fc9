package rpc

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"sync"
)

const acceptEncoding = "identity,gzip,deflate"

// coding compresses messages.
type coding struct {
	name    string
	open    func(io.Reader) (io.ReadCloser, error)
	writers sync.Pool
}

type resetWriter interface {
	io.WriteCloser
	Reset(io.Writer)
}

var codings = [...]*coding{
	{
		name:    "gzip",
		open:    func(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) },
		writers: sync.Pool{New: func() any { w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed); return w }},
	},
	{ // gRPC's libraries in other languages offer it beside gzip
		name:    "deflate",
		open:    zlib.NewReader,
		writers: sync.Pool{New: func() any { w, _ := zlib.NewWriterLevel(nil, zlib.BestSpeed); return w }},
	},
}

// codingOf finds a grpc-encoding; nil is identity.
func codingOf(name string) (*coding, bool) {
	if name == "" || name == "identity" {
		return nil, true
	}
	for _, c := range codings {
		if c.name == name {
			return c, true
		}
	}
	return nil, false
}

// compress gives a message compressed.
func (c *coding) compress(b []byte) (*Buffer, error) {
	out := bytes.NewBuffer(NewBuffer(len(b)/2 + 64).data)
	w := c.writers.Get().(resetWriter)
	defer c.writers.Put(w)
	w.Reset(out)
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return &Buffer{data: out.Bytes()}, nil
}

// decompress gives a message of at most limit bytes; its memory grows as the bytes come.
func (c *coding) decompress(b []byte, limit int) (*Buffer, error) {
	r, err := c.open(bytes.NewReader(b))
	if err != nil {
		return nil, Errorf(Internal, "the message is not %s: %v", c.name, err)
	}
	out := NewBuffer(2 * min(len(b), limit/2))
	for {
		out = out.grow(1, 4*len(out.data))
		n, err := r.Read(out.data[len(out.data):cap(out.data)])
		out.data = out.data[:len(out.data)+n]
		switch {
		case len(out.data) > limit:
			out.Free()
			return nil, Errorf(ResourceExhausted, "expected a message of at most %d bytes, found one that decompressed is larger than max", limit)
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			out.Free()
			return nil, Errorf(Internal, "the message is not %s: %v", c.name, err)
		}
	}
}
