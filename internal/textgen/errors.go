package textgen

import (
	"errors"
	"fmt"
	"time"
)

// ErrClosed refuses a request to a model that is being unloaded.
var ErrClosed = errors.New("the model is being unloaded")

// RequestError refuses what can't be served as it is asked for.
type RequestError struct {
	Field   string // as OpenAI's API and vLLM's extensions name it: "logit_bias"; "" if it is none in particular
	TooLong bool   // it does not fit into the model's context
	Message string
}

// Error is the message.
func (e *RequestError) Error() string { return e.Message }

// TooLong refuses a text of more tokens than a model takes.
func TooLong(tokens, limit int) error {
	return &RequestError{TooLong: true, Message: fmt.Sprintf("the text has %d tokens, and this model takes at most %d", tokens, limit)}
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
