package jinja

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/salver-ml/salver/internal/testkit"
)

// Any text parses and runs to an end: an output, or one of the two errors.
func FuzzTemplate(f *testing.F) {
	sources, vars := corpus(f)
	for _, s := range sources {
		f.Add(s)
	}
	if dir, err := testkit.Find(f, "chat-templates"); err == nil {
		files, _ := filepath.Glob(filepath.Join(dir, "*.jinja"))
		for _, file := range files {
			if b, err := os.ReadFile(file); err == nil {
				f.Add(string(b))
			}
		}
	}
	opt := Options{Steps: 20_000, Output: 100_000, Now: goldenTime}
	f.Fuzz(func(t *testing.T, source string) {
		tmpl, err := Parse(source)
		if err == nil {
			var text string
			text, err = tmpl.Render(vars, opt)
			if len(text) > opt.Output {
				t.Errorf("%d bytes of output, the limit is %d", len(text), opt.Output)
			}
		}
		var failed *Error
		var raised *Raised
		if err != nil && !errors.As(err, &failed) && !errors.As(err, &raised) {
			t.Errorf("an error of the type %T: %v", err, err)
		}
	})
}

// What DecodeJSON takes comes back from ToJSON as the same value.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a": [1, 2.5, null, true, "x\u00e9"]}`, `[]`, `1e400`, `"\ud83d\ude00"`, `{"a":{"a":{}}}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := DecodeJSON(text)
		if err != nil {
			return
		}
		once, err := ToJSON(v)
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeJSON(once)
		if err != nil {
			return // infinite numbers have no JSON
		}
		if twice, err := ToJSON(again); err != nil || twice != once {
			t.Errorf("%q became %q, %v", once, twice, err)
		}
	})
}
