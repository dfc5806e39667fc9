package cli

import "testing"

func TestForTerminal(t *testing.T) {
	if got, want := forTerminal("a\x1b[2J\u009b\x80é\n\tb"), "a\ufffd[2J\ufffd\ufffdé\n\tb"; got != want {
		t.Errorf("got %q, expected %q", got, want)
	}
}
