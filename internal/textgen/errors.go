package textgen

import (
	"errors"
	"fmt"
	"strconv"
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

// MostOf is how many tokens of a text are to be made for a model that takes so many:
// some more, so that the error can say how long a text is that is somewhat too long.
func MostOf(limit int) int { return 8 * limit }

// Count tells a number of tokens that was counted up to MostOf(limit).
func Count(tokens, limit int) string {
	if most := MostOf(limit); tokens > most {
		return fmt.Sprintf("more than %d", most)
	}
	return strconv.Itoa(tokens)
}

// TooLong refuses a text of more tokens than a model takes.
func TooLong(tokens, limit int) error {
	return &RequestError{TooLong: true, Message: fmt.Sprintf("the text has %s tokens, and this model takes at most %d", Count(tokens, limit), limit)}
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
