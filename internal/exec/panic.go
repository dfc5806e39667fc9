package exec

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pool"
)

// PanicError is the failure of one run, plan or model over which an operator or
// pass panicked: a defect of ours, not of the request. Everything else goes on.
type PanicError struct {
	Node  string // what was computed, empty where no single node was
	Value any    // what the operator panicked with
	Stack []byte // where
}

func (e *PanicError) Error() string {
	var large *op.TooLargeError
	if errors.As(e.Unwrap(), &large) { // not a defect: the way in which Call.Output refuses
		return e.Node + ": " + large.Error()
	}
	what := "the engine"
	if e.Node != "" {
		what = e.Node
	}
	return fmt.Sprintf("%s panicked: %v; this is a defect, please report it with the model", what, e.Value)
}

// Unwrap gives the error that the operator panicked with, such as a runtime.Error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Panicked makes an error of a recovered value; a task's panic on another thread
// comes with the stack of that thread.
func Panicked(node string, value any) *PanicError {
	var task *pool.Panic
	if err, ok := value.(error); ok && errors.As(err, &task) {
		return &PanicError{Node: node, Value: task.Value, Stack: task.Stack}
	}
	return &PanicError{Node: node, Value: value, Stack: debug.Stack()}
}
