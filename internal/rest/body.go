package rest

import (
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/salver-ml/salver/internal/limit"
	"github.com/salver-ml/salver/internal/tensor"
)

const (
	// keepBuffer is the largest buffer that is kept for the next request.
	keepBuffer = 4 << 20
	// trustedBody is how much memory a request gets for what it only announces.
	trustedBody = 1 << 20
	// bodyPiece is what has to come within Options.BodyTimeout.
	bodyPiece = 256 << 10
)

// readError is an error of a body, with the status that answers it.
type readError struct {
	status  int
	message string
}

func (e *readError) Error() string { return e.message }

// failRead answers an error of call.read.
func (h *Handler) failRead(w http.ResponseWriter, r *http.Request, err error) {
	// The rest of the body is not read, so the connection is of no more use.
	w.Header().Set("Connection", "close")
	if e, ok := errors.AsType[*readError](err); ok {
		h.replyError(w, e.status, e.message)
		return
	}
	h.fail(w, r, err)
}

func errTooLarge(most int64, found string) error {
	return &readError{http.StatusRequestEntityTooLarge, fmt.Sprintf("expected a body of at most %d bytes, found %s", most, found)}
}

// read reads a request's body, decompressed, of at most so many bytes. The result
// is valid until the call is used again; its byte at index header, where binary
// tensors begin, is aligned as tensors are.
func (c *call) read(h *Handler, w http.ResponseWriter, r *http.Request, header int, most int64) ([]byte, error) {
	if r.ContentLength > most {
		return nil, errTooLarge(most, fmt.Sprint(r.ContentLength))
	}
	c.Room = h.opts.InFlight.Room()
	c.timed = timedReader{r: r.Body, of: w, timeout: h.opts.BodyTimeout, left: bodyPiece}
	src, announced, err := c.decompress(r)
	if err != nil {
		return nil, err
	}
	b, err := c.readAll(src, announced, -header&(tensor.Align-1), most)
	if err == nil {
		setReadDeadline(w, time.Time{}) // the execution may take longer
		return b, nil
	}
	switch err.(type) {
	case *readError, *limit.FullError:
		return nil, err
	}
	switch ctx := r.Context().Err(); {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, c.tooSlow(r.ContentLength, h.opts.BodyTimeout)
	case ctx != nil:
		return nil, context.Cause(r.Context())
	case errors.Is(err, io.ErrUnexpectedEOF) && c.timed.failed:
		return nil, &readError{http.StatusBadRequest, "the body ended before its Content-Length"}
	case c.timed.failed:
		return nil, &readError{http.StatusBadRequest, "reading the body: " + err.Error()}
	}
	return nil, &readError{http.StatusBadRequest, fmt.Sprintf("the body is not valid %s data: %v", r.Header.Get("Content-Encoding"), err)}
}

// tooSlow is the error of a body, of so many bytes or -1, that didn't come in time.
func (c *call) tooSlow(size int64, timeout time.Duration) error {
	expected := fmt.Sprintf("%d bytes, or its end, every %s", bodyPiece, timeout)
	if 0 <= size && size <= bodyPiece {
		expected = fmt.Sprintf("its %d bytes in %s", size, timeout)
	}
	return &readError{http.StatusRequestTimeout, fmt.Sprintf("the body came too slowly: expected %s, found %d bytes", expected, bodyPiece-c.timed.left)}
}

// decompress gives the body's reader and its size, -1 if unknown.
func (c *call) decompress(r *http.Request) (src io.Reader, size int64, err error) {
	encoding := r.Header.Get("Content-Encoding")
	if encoding == "" {
		return &c.timed, r.ContentLength, nil
	}
	switch strings.ToLower(encoding) {
	case "identity":
		return &c.timed, r.ContentLength, nil
	case "gzip", "x-gzip":
		if c.gzip == nil {
			c.gzip = new(gzip.Reader)
		}
		src, err = c.gzip, c.gzip.Reset(&c.timed)
	case "deflate":
		src, err = zlib.NewReader(&c.timed)
	default:
		return nil, 0, &readError{http.StatusUnsupportedMediaType, fmt.Sprintf("expected Content-Encoding gzip, deflate or identity, found %q", encoding)}
	}
	if err != nil {
		return nil, 0, &readError{http.StatusBadRequest, fmt.Sprintf("the body is not valid %s data: %v", encoding, err)}
	}
	return src, -1, nil
}

// readAll reads src into the call's buffer, lead bytes behind its start.
func (c *call) readAll(src io.Reader, size int64, lead int, most int64) ([]byte, error) {
	if size == 0 {
		return nil, nil
	}
	want := max(4096, len(c.buffer)-lead)
	if size > 0 {
		want = int(min(size, max(trustedBody, int64(len(c.buffer)-lead))))
	}
	b, err := c.grow(nil, lead, want)
	if err != nil {
		return nil, err
	}
	for n := 0; ; {
		if n == len(b) {
			want = int(size)
			if size < 0 {
				want = int(min(2*int64(n), most+1))
			}
			if b, err = c.grow(b, lead, want); err != nil {
				return nil, err
			}
		}
		m, err := src.Read(b[n:])
		n += m
		switch {
		case int64(n) > most:
			return nil, errTooLarge(most, "more")
		case err == io.EOF && int64(n) < size:
			return nil, io.ErrUnexpectedEOF
		case err == io.EOF || int64(n) == size:
			return b[:n], nil
		case err != nil:
			return nil, err
		}
	}
}

// grow gives what has been read, b, a capacity of want, if there is room for it.
func (c *call) grow(b []byte, lead, want int) ([]byte, error) {
	if err := c.Room.Add(want - len(b)); err != nil {
		return nil, err
	}
	if len(c.buffer)-lead < want {
		next := tensor.Bytes(lead + want)
		copy(next[lead:], b)
		c.buffer = next
	}
	return c.buffer[lead : lead+want], nil
}
