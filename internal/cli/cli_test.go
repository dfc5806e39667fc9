package cli

import (
	"bytes"
	"strings"
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

func TestFlagErrors(t *testing.T) {
	for args, want := range map[string]string{
		"run m --max-tokens many":                        "--max-tokens many: expected a whole number",
		"run m --seed -1":                                "--seed -1: expected a whole number, 0 or more",
		"run m --max-tokens 1" + strings.Repeat("0", 30): "too large",
		"run m --temperature hot":                        "--temperature hot: expected a number",
		"run m --json=perhaps":                           "--json perhaps: expected true or false",
		"serve m --drain-timeout 3":                      "--drain-timeout 3: expected a time with its unit",
		"bench m --concurrency 1,a":                      "--concurrency 1,a: expected whole",
	} {
		var out bytes.Buffer
		if status := Main(strings.Fields(args), nil, &out, &out); status != exitMisuse || !strings.Contains(out.String(), want) {
			t.Errorf("%s: status %d, %q, expected %q", args, status, out.String(), want)
		}
	}
}
