package serve

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/salver-ml/salver/internal/limit"
)

// Kind classifies an error; transports map it to their status codes.
type Kind uint8

// The kinds, with the HTTP status and gRPC code that transports answer.
const (
	Internal          Kind = iota // 500, INTERNAL: the server's fault
	InvalidArgument               // 400, INVALID_ARGUMENT: the request can't be served as it is
	NotFound                      // 404, NOT_FOUND: no such model, version or output
	Unavailable                   // 503, UNAVAILABLE: not ready, loading or draining; try elsewhere or later
	ResourceExhausted             // 429, RESOURCE_EXHAUSTED: a bound is reached; try again after RetryAfter
	DeadlineExceeded              // 504, DEADLINE_EXCEEDED: the request's time is over
	Canceled                      // 499, CANCELLED: the caller went away
)

var kindNames = [...]string{"internal", "invalid argument", "not found", "unavailable", "resource exhausted", "deadline exceeded", "canceled"}

// String is the kind in words.
func (k Kind) String() string { return kindNames[k] }

// Error is the error that every method of Core returns. Its text is meant for
// the client: what was expected, what was found; never a panic or an address.
type Error struct {
	Kind       Kind
	Message    string
	RetryAfter time.Duration // ResourceExhausted and Unavailable: when to try again; 0 if unknown
	Err        error         // the cause, if any; not part of the text
}

// Error is the message.
func (e *Error) Error() string { return e.Message }

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an error of a kind. A %w in the format becomes its cause.
func Errorf(k Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: k, Message: err.Error(), Err: errors.Unwrap(err)}
}

// AsError gives any error a kind: an *Error keeps its own, the errors of a
// context become DeadlineExceeded or Canceled, those of package limit
// ResourceExhausted, or InvalidArgument where trying again is of no use, and the rest are Internal.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	full, isFull := errors.AsType[*limit.FullError](err)
	switch {
	case isFull && full.Never():
		return &Error{Kind: InvalidArgument, Message: err.Error(), Err: err}
	case isFull:
		return &Error{Kind: ResourceExhausted, Message: err.Error(), RetryAfter: time.Second, Err: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Kind: DeadlineExceeded, Message: "the request's deadline passed before its answer was ready", Err: err}
	case errors.Is(err, context.Canceled):
		return &Error{Kind: Canceled, Message: "the request was canceled by its caller", Err: err}
	}
	return &Error{Kind: Internal, Message: err.Error(), Err: err}
}
