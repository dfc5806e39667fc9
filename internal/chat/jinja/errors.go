package jinja

import "fmt"

// An Error is a mistake in a template or in what it does with its variables.
type Error struct {
	Line int    // in the template's source, from 1
	Kind string // as Python names it: TemplateSyntaxError, UndefinedError, TypeError, …, or LimitError
	Text string
}

func (e *Error) Error() string {
	return fmt.Sprintf("chat template, line %d: %s: %s", e.Line, e.Kind, e.Text)
}

// Raised is the error of a template that called raise_exception: its author
// refuses these messages.
type Raised struct {
	Line    int
	Message string
}

func (e *Raised) Error() string {
	return fmt.Sprintf("chat template, line %d: %s", e.Line, e.Message)
}

// catch turns the panics of this package into an error.
func catch(err *error) {
	switch p := recover().(type) {
	case nil:
	case *Error:
		*err = p
	case *Raised:
		*err = p
	default:
		panic(p)
	}
}

func syntaxError(line int, format string, args ...any) {
	panic(&Error{Line: line, Kind: "TemplateSyntaxError", Text: fmt.Sprintf(format, args...)})
}
