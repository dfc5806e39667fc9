package rest

import (
	"io"
	"net/http"
	"time"
)

// setReadDeadline bounds the reading of a request's body. It is unsupported
// only by the recorders of tests.
func setReadDeadline(w http.ResponseWriter, t time.Time) {
	if d, ok := w.(interface{ SetReadDeadline(time.Time) error }); ok { // net/http's own: no allocation
		d.SetReadDeadline(t)
		return
	}
	http.NewResponseController(w).SetReadDeadline(t) // one that wraps it
}

// limitWrite bounds the time that a client may take to accept what is written
// next. Each answer sets it, so none is cut off by that of an earlier one.
func (h *Handler) limitWrite(w http.ResponseWriter) {
	t := time.Now().Add(h.opts.WriteTimeout)
	if d, ok := w.(interface{ SetWriteDeadline(time.Time) error }); ok {
		d.SetWriteDeadline(t)
		return
	}
	http.NewResponseController(w).SetWriteDeadline(t)
}

// timedReader gives each piece of a body its time; ServeHTTP has begun the first one's.
type timedReader struct {
	r       io.Reader
	of      http.ResponseWriter
	timeout time.Duration
	left    int  // of the current piece
	failed  bool // an error came from the connection, not from its contents
}

func (t *timedReader) Read(p []byte) (int, error) {
	if t.left <= 0 {
		setReadDeadline(t.of, time.Now().Add(t.timeout))
		t.left = bodyPiece
	}
	n, err := t.r.Read(p)
	t.left -= n
	if err != nil && err != io.EOF {
		t.failed = true
	}
	return n, err
}

// writeTimed writes p in pieces that each have their time.
func (h *Handler) writeTimed(w http.ResponseWriter, to io.Writer, p []byte) error {
	for len(p) > 0 {
		h.limitWrite(w)
		n, err := to.Write(p[:min(len(p), writePiece)])
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}
