package repo

import (
	"fmt"
	"strings"
)

// Problem is one thing wrong with a model in a repository.
type Problem struct {
	Model       string // its name
	File        string // "" if it is not about a file's text
	Line, Col   int    // 0 if unknown
	Field       string // path of the field, e.g. optimization.cuda.graphs
	Message     string
	Unsupported bool // the field is Triton's and right, but has no effect here
}

// String is "FILE:LINE:COL: FIELD: MESSAGE".
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		fmt.Fprintf(&b, "%s:", p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, "%d:%d:", p.Line, p.Col)
		}
		b.WriteByte(' ')
	} else if p.Model != "" {
		fmt.Fprintf(&b, "model %s: ", p.Model)
	}
	if p.Field != "" {
		fmt.Fprintf(&b, "%s: ", p.Field)
	}
	b.WriteString(p.Message)
	return b.String()
}

// Problems is a list of problems as an error.
type Problems []Problem

// Error has a problem per line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// err is nil if there is no problem.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}
