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

// setWriteDeadline bounds the writing of an answer.
func setWriteDeadline(w http.ResponseWriter, t time.Time) {
	if d, ok := w.(interface{ SetWriteDeadline(time.Time) error }); ok {
		d.SetWriteDeadline(t)
		return
	}
	http.NewResponseController(w).SetWriteDeadline(t)
}

// limitWrite bounds the time that a client may take to accept what another
// handler writes.
func (h *Handler) limitWrite(w http.ResponseWriter, r *http.Request, next http.Handler) {
	setWriteDeadline(w, time.Now().Add(h.opts.WriteTimeout))
	defer setWriteDeadline(w, time.Time{})
	next.ServeHTTP(w, r)
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

// writeTimed writes p in pieces that each have their time. A small p needs none:
// it goes into the connection's buffers, and a client that takes nothing out of
// them has no more of the server than one that sends nothing.
func (h *Handler) writeTimed(w http.ResponseWriter, to io.Writer, p []byte) error {
	if len(p) <= smallWrite {
		_, err := to.Write(p)
		return err
	}
	defer setWriteDeadline(w, time.Time{})
	for len(p) > 0 {
		setWriteDeadline(w, time.Now().Add(h.opts.WriteTimeout))
		n, err := to.Write(p[:min(len(p), writePiece)])
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}
