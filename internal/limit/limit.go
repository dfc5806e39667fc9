// Package limit bounds what requests may cost before they are looked at: the
// size of bodies and the number of requests at once.
package limit

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// DefaultBodyBytes is the largest body that is read unless a server says
// otherwise: 64 MiB, after decompression, as Triton's.
const DefaultBodyBytes = 64 << 20

// TooLargeError refuses a body. Transports answer 413 or RESOURCE_EXHAUSTED.
type TooLargeError struct {
	Limit  int64
	Length int64 // as announced; -1 if it turned out while reading
}

func (e *TooLargeError) Error() string {
	if e.Length < 0 {
		return fmt.Sprintf("the body is larger than the limit of %d bytes", e.Limit)
	}
	return fmt.Sprintf("the body has %d bytes, which is larger than the limit of %d bytes", e.Length, e.Limit)
}

// Announced checks a body's announced length; -1 is an unknown one.
func Announced(length, limit int64) error {
	if length > limit {
		return &TooLargeError{limit, length}
	}
	return nil
}

// Reader passes on at most limit bytes of r; where there are more, reading
// fails with a TooLargeError. Put it after a decompressor.
func Reader(r io.Reader, limit int64) io.Reader { return &reader{r, limit, limit} }

type reader struct {
	r     io.Reader
	left  int64
	limit int64
}

func (l *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1] // one more tells whether there is more
	}
	n, err := l.r.Read(p)
	if int64(n) > l.left {
		n, l.left = int(l.left), 0
		return n, &TooLargeError{l.limit, -1}
	}
	l.left -= int64(n)
	return n, err
}

// Body bounds a request's body: it checks the announced length and replaces
// r.Body by one that stops at the limit.
func Body(r *http.Request, limit int64) error {
	if err := Announced(r.ContentLength, limit); err != nil {
		return err
	}
	if r.Body != nil {
		r.Body = struct {
			io.Reader
			io.Closer
		}{Reader(r.Body, limit), r.Body}
	}
	return nil
}

// IsTooLarge reports whether an error is about a body above its limit.
func IsTooLarge(err error) bool {
	_, ok := errors.AsType[*TooLargeError](err)
	return ok
}

// BusyError refuses a request because too many are being answered. Transports
// answer 429 or RESOURCE_EXHAUSTED.
type BusyError struct {
	Max        int64
	RetryAfter time.Duration
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("the server is answering its maximum of %d requests; try again later", e.Max)
}

// InFlight bounds the number of requests at once. The zero value has no bound.
type InFlight struct {
	Max int64 // 0: no bound

	now     atomic.Int64
	refused atomic.Uint64
}

// Enter takes a place, which Leave gives back, or fails with a BusyError.
func (f *InFlight) Enter() error {
	if n := f.now.Add(1); f.Max > 0 && n > f.Max {
		f.now.Add(-1)
		f.refused.Add(1)
		return &BusyError{Max: f.Max, RetryAfter: time.Second}
	}
	return nil
}

// Leave gives a place back.
func (f *InFlight) Leave() { f.now.Add(-1) }

// Now is the number of requests being answered.
func (f *InFlight) Now() int64 { return f.now.Load() }

// Refused is the number of requests that found no place.
func (f *InFlight) Refused() uint64 { return f.refused.Load() }

// Refusals counts the requests that a transport refused before they reached the
// server's core. The zero value is ready to use.
type Refusals struct{ counts [reasons]atomic.Uint64 }

// Reason says why a transport refused a request.
type Reason uint8

// The reasons.
const (
	BodyTooLarge Reason = iota
	TooManyInFlight
	Unauthorized
	Malformed
	reasons
)

// String is the value of the metric's label.
func (r Reason) String() string {
	return [...]string{"body_too_large", "too_many_in_flight", "unauthorized", "malformed"}[r]
}

// Add counts a refusal. A nil Refusals counts nothing.
func (r *Refusals) Add(why Reason) {
	if r != nil {
		r.counts[why].Add(1)
	}
}

// Counts are the numbers so far, with an entry for every reason.
func (r *Refusals) Counts() map[Reason]uint64 {
	m := make(map[Reason]uint64, reasons)
	for why := range reasons {
		m[why] = r.counts[why].Load()
	}
	return m
}
