package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// progress is a bar on stderr for work that takes long, if stderr is a terminal.
type progress struct {
	out   io.Writer // nil shows nothing
	all   int
	what  string
	start time.Time
	last  time.Time
}

func newProgress(e *env, all int, what string) *progress {
	return &progress{out: e.bar, all: all, what: what, start: time.Now()}
}

// at shows that n are done.
func (p *progress) at(n int) {
	if p.out == nil || time.Since(p.last) < 100*time.Millisecond {
		return
	}
	p.last = time.Now()
	const width = 30
	filled := width * n / max(p.all, 1)
	left := time.Duration(float64(time.Since(p.start)) * float64(p.all-n) / float64(max(n, 1)))
	fmt.Fprintf(p.out, "\r[%s%s] %d of %d %s, %v left \x1b[K", strings.Repeat("#", filled), strings.Repeat(".", width-filled), n, p.all, p.what, left.Round(time.Second))
}

// done takes the bar away.
func (p *progress) done() {
	if p.out != nil && !p.last.IsZero() {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.last = time.Time{}
	}
}
