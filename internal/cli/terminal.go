package cli

import (
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"
)

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	null, _ := os.Stat(os.DevNull)
	return err == nil && st.Mode()&os.ModeCharDevice != 0 && !os.SameFile(st, null)
}

// forTerminal replaces what a terminal would obey: the names in a model's file
// are whatever its author wrote.
func forTerminal(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// harmless gives a writer for names, labels and answers of models: a terminal gets them
// by forTerminal, anything else as they are.
func harmless(w io.Writer) io.Writer {
	if !isTerminal(w) {
		return w
	}
	return &terminal{w: w}
}

type terminal struct {
	w    io.Writer
	part []byte // the beginning of a character whose rest comes with the next piece
}

func (t *terminal) Write(p []byte) (int, error) {
	text := append(t.part, p...)
	whole := len(text)
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if b := text[len(text)-n]; utf8.RuneStart(b) {
			if !utf8.FullRune(text[len(text)-n:]) {
				whole -= n
			}
			break
		}
	}
	t.part = append([]byte(nil), text[whole:]...)
	if _, err := io.WriteString(t.w, forTerminal(string(text[:whole]))); err != nil {
		return 0, err
	}
	return len(p), nil
}
