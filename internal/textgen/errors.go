package textgen

import (
	"errors"
	"fmt"
	"time"
)

// ErrClosed refuses a request to a model that is being unloaded.
var ErrClosed = errors.New("the model is being unloaded")

// RequestError refuses what can't be served as it is asked for. Field is the
// member of Request, such as "LogitBias"; "" if it is none in particular.
type RequestError struct {
	Field, Reason string
}

// Error is the reason.
func (e *RequestError) Error() string { return e.Reason }

// TooLongError refuses a prompt that the model's context, or the memory for
// it, can't hold. There is no way to serve it but a shorter prompt.
type TooLongError struct {
	Tokens, Limit int
}

// Error names both figures.
func (e *TooLongError) Error() string {
	return fmt.Sprintf("the prompt has %d tokens; this model takes at most %d with at least one token to answer", e.Tokens, e.Limit)
}

// FullError refuses a request for now, since too many others wait.
type FullError struct {
	Waiting    int
	RetryAfter time.Duration // 0 if unknown
}

// Error says how many wait.
func (e *FullError) Error() string {
	return fmt.Sprintf("%d requests are waiting for this model, its maximum; try again later", e.Waiting)
}
