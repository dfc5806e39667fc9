package cli

import (
	"bytes"
	"testing"
)

func TestForTerminal(t *testing.T) {
	if got, want := forTerminal("a\x1b[2J\u009b\x80é\n\tb"), "a\ufffd[2J\ufffd\ufffdé\n\tb"; got != want {
		t.Errorf("got %q, expected %q", got, want)
	}
}

// A terminal obeys nothing of what comes, however it is cut.
func TestTerminal(t *testing.T) {
	text := "label \x1b]0;title\a \u009b2J é日本👩 \xff\n"
	for cut := range len(text) {
		var b bytes.Buffer
		w := &terminal{w: &b}
		for _, piece := range []string{text[:cut], text[cut:]} {
			if n, err := w.Write([]byte(piece)); n != len(piece) || err != nil {
				t.Fatal(n, err)
			}
		}
		if b.String() != forTerminal(text) {
			t.Errorf("cut at %d: got %q, expected %q", cut, b.String(), forTerminal(text))
		}
	}
}
