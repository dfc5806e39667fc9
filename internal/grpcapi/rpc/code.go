package rpc

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Code is a gRPC status code.
type Code uint32

// The status codes that a server gives.
const (
	OK                Code = 0
	Canceled          Code = 1
	Unknown           Code = 2
	InvalidArgument   Code = 3
	DeadlineExceeded  Code = 4
	NotFound          Code = 5
	PermissionDenied  Code = 7
	ResourceExhausted Code = 8
	Unimplemented     Code = 12
	Internal          Code = 13
	Unavailable       Code = 14
	Unauthenticated   Code = 16
)

// Error is the status that ends a call.
type Error struct {
	Code    Code
	Message string
	// RetryAfter, if not 0, goes to the client as google.rpc.RetryInfo and, for
	// gRPC's own retries, as the trailer grpc-retry-pushback-ms.
	RetryAfter time.Duration
}

func (e *Error) Error() string { return fmt.Sprintf("gRPC status %d: %s", e.Code, e.Message) }

// Errorf makes an *Error.
func Errorf(code Code, format string, args ...any) error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// statusOf is the status of a handler's error; nil is OK.
func statusOf(err error) *Error {
	var e *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Code: DeadlineExceeded, Message: "the call's deadline has passed"}
	case errors.Is(err, context.Canceled):
		return &Error{Code: Canceled, Message: "the call was canceled"}
	}
	return &Error{Code: Unknown, Message: err.Error()}
}

// details is the google.rpc.Status of an error with a RetryInfo, as grpc-status-details-bin has it.
func (e *Error) details() string {
	duration := protowire.AppendTag(nil, 1, protowire.VarintType)
	duration = protowire.AppendVarint(duration, uint64(e.RetryAfter/time.Second))
	duration = protowire.AppendTag(duration, 2, protowire.VarintType)
	duration = protowire.AppendVarint(duration, uint64(e.RetryAfter%time.Second))
	typed := appendField(nil, 1, []byte("type.googleapis.com/google.rpc.RetryInfo"))
	typed = appendField(typed, 2, appendField(nil, 1, duration))
	status := protowire.AppendTag(nil, 1, protowire.VarintType)
	status = protowire.AppendVarint(status, uint64(e.Code))
	status = appendField(status, 2, []byte(e.Message))
	return base64.RawStdEncoding.EncodeToString(appendField(status, 3, typed))
}

func appendField(b []byte, n protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
}
