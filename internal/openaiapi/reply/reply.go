// Package reply writes answers: JSON, server-sent events, and lines of JSON.
package reply

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// JSON answers with one value.
func JSON(w http.ResponseWriter, status int, v any) {
	b := encode(v)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	w.Write(b) // an error means that the client is gone
}

// encode writes a value without escapes for HTML, which no client of these APIs needs.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil { // only for values that the server itself made wrongly
		panic(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// ErrGone is what a stream gives when its client takes no more.
var ErrGone = errors.New("the client has gone")

// Stream is an answer in pieces, each of which is sent at once. The status is
// sent with the first one: until then the request can still be refused.
type Stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	events  bool // server-sent events, else lines of JSON

	mu    sync.Mutex
	began bool
	err   error // of the first write that failed
	beat  *time.Timer
	ended bool
}

// beatAfter is how long a stream of events may be silent: those between client
// and server take a longer silence for a dead connection.
const beatAfter = 15 * time.Second

// Events begins a stream of server-sent events. While nothing is sent, comments
// keep the connection alive. Close it before the request's handler returns.
func Events(w http.ResponseWriter) *Stream {
	s := &Stream{w: w, control: http.NewResponseController(w), events: true}
	s.mu.Lock() // the comment may come before beat is set, where the process is held up
	defer s.mu.Unlock()
	s.beat = time.AfterFunc(beatAfter, s.comment)
	return s
}

// Lines begins a stream of lines of JSON.
func Lines(w http.ResponseWriter) *Stream {
	return &Stream{w: w, control: http.NewResponseController(w)}
}

// Close ends the stream.
func (s *Stream) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	if s.beat != nil {
		s.beat.Stop()
	}
}

// Began reports whether the status has been sent.
func (s *Stream) Began() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.began
}

// Send sends a value as an event, or a line.
func (s *Stream) Send(v any) error { return s.SendAs("", v) }

// SendAs sends a value as an event of a name.
func (s *Stream) SendAs(event string, v any) error {
	b := encode(v)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.events {
		return s.write(append(b, '\n'))
	}
	return s.write(frame(event, b))
}

// SendText sends an event that is no JSON.
func (s *Stream) SendText(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.write(frame("", []byte(text)))
}

func frame(event string, data []byte) []byte {
	b := make([]byte, 0, len(event)+len(data)+20)
	if event != "" {
		b = append(append(append(b, "event: "...), event...), '\n')
	}
	b = append(append(b, "data: "...), data...)
	return append(b, "\n\n"...)
}

// write sends bytes; s.mu is held.
func (s *Stream) write(b []byte) error {
	if s.err != nil {
		return s.err
	}
	if !s.began {
		s.begin()
	}
	if s.beat != nil {
		s.beat.Reset(beatAfter)
	}
	_, err := s.w.Write(b)
	if err == nil {
		err = s.control.Flush()
	}
	if err != nil {
		s.err = fmt.Errorf("%w: %w", ErrGone, err)
	}
	return s.err
}

func (s *Stream) begin() {
	s.began = true
	h := s.w.Header()
	h.Set("Content-Type", "application/x-ndjson")
	if s.events {
		h.Set("Content-Type", "text/event-stream; charset=utf-8")
	}
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no") // proxies are to pass each piece on
	h.Set("X-Content-Type-Options", "nosniff")
}

// comment says that the answer still is to come.
func (s *Stream) comment() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.write([]byte(": waiting\n\n"))
	}
}
